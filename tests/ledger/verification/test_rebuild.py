"""Rebuilding repairs what was derived, and only that: a wrong history stays visible."""

from ledger import projections
from ledger.models import Allocation
from tests.ledger.verification.story import Story


def test_every_corrupted_projection_is_clean_after_a_rebuild(story: Story) -> None:
    story.run(
        "UPDATE ledger_open_lot SET remaining = 1, expires_at = NULL, earned_at = now()",
        "DELETE FROM ledger_open_lot WHERE account_id ="
        " (SELECT id FROM ledger_account WHERE account_number = {eve})",
        "UPDATE ledger_account"
        " SET balance = 1, outstanding_debt = 1, next_expiry_at = NULL, status = 'closed', sequence = 0",
        unguarded=["ledger_account"],
    )
    assert len(story.verify().breaches) >= 8

    run = projections.rebuild()

    assert (run.impossible, story.verify().breaches) == (0, [])


def test_a_wrong_history_is_not_painted_over(story: Story) -> None:
    """More was taken from a lot than it granted: no projection can say that, so it is left and named."""
    story.run(
        "UPDATE ledger_allocation SET points = -111 WHERE points = -100 AND lot_id IN"
        " (SELECT id FROM ledger_lot WHERE account_id ="
        f" (SELECT id FROM ledger_account WHERE account_number = '{story.anna.number}'))",
        unguarded=["ledger_allocation"],
    )
    before = list(Allocation.objects.order_by("entry_id", "position").values())
    told: list[str] = []

    run = projections.rebuild(on_difference=lambda difference: told.append(difference.sentence()))

    assert run.impossible == 1
    assert any("the history itself is wrong" in sentence for sentence in told)
    assert list(Allocation.objects.order_by("entry_id", "position").values()) == before
    assert "lot_never_overdrawn" in {breach.check for breach in story.verify().breaches}
