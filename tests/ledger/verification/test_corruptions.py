# ruff: noqa: E501 - statements read better on one line.
"""A checker that has never failed is not a checker: each kind of harm is done, and must be named."""

from typing import NamedTuple

import pytest

from ledger.verification import CHECKS
from tests.ledger.verification.story import Story

ACCOUNT = "(SELECT id FROM ledger_account WHERE account_number = {%s})"
ANNA, BEN, CLEO, DORA, EVE = (ACCOUNT % name for name in ("anna", "ben", "cleo", "dora", "eve"))
#: Lots of Anna: 100 points until day 10, 50 for ever, 7 until day 20.
DATED = f"(SELECT id FROM ledger_lot WHERE account_id = {ANNA} AND points = 100)"
EVER = f"(SELECT id FROM ledger_lot WHERE account_id = {ANNA} AND points = 50)"
SEVEN = f"(SELECT id FROM ledger_lot WHERE account_id = {ANNA} AND points = 7)"
EVES_FIRST = f"(SELECT id FROM ledger_lot WHERE account_id = {EVE} AND expires_at IS NOT NULL)"


def entry(account: str, kind: str) -> str:
    return f"(SELECT id FROM ledger_entry WHERE account_id = {account} AND kind = '{kind}' LIMIT 1)"


def operation(account_number: str, kind: str, state: str = "completed") -> str:
    return (
        f"(SELECT id FROM ledger_operation WHERE account_number = {{{account_number}}}"
        f" AND kind = '{kind}' AND state = '{state}' LIMIT 1)"
    )


SPEND = entry(ANNA, "spend")


class Corruption(NamedTuple):
    name: str
    statements: list[str]
    #: Exactly these are reported.
    checks: set[str]


CORRUPTIONS = [
    Corruption(
        "an allocation takes one point more",
        [f"UPDATE ledger_allocation SET points = points - 1 WHERE entry_id = {SPEND} AND position = 1"],
        {
            "points_conserved_in_total",
            "account_points_conserved",
            "entry_sum_matches_allocations",
            "given_back_in_reverse_order",
            "open_lot_is_what_remains",
        },
    ),
    Corruption(
        "an allocation came a second time",
        [
            (
                "INSERT INTO ledger_allocation (entry_id, position, lot_id, points)"
                f" SELECT entry_id, 7, {EVER}, -120 FROM ledger_allocation WHERE entry_id = {SPEND} AND position = 0"
            )
        ],
        {
            "points_conserved_in_total",
            "account_points_conserved",
            "entry_sum_matches_allocations",
            "given_back_in_reverse_order",
            "lot_never_overdrawn",
            "open_lot_is_what_remains",
        },
    ),
    Corruption(
        "an entry lost its allocations",
        [f"DELETE FROM ledger_allocation WHERE entry_id = {entry(BEN, 'transfer_in')}"],
        {
            "points_conserved_in_total",
            "account_points_conserved",
            "entry_has_allocations",
            "lot_has_its_grant",
            "open_lot_is_what_remains",
        },
    ),
    Corruption(
        "points went from one lot to another",
        [
            f"UPDATE ledger_allocation SET points = points + 5 WHERE entry_id = {SPEND} AND lot_id = {DATED}",
            f"UPDATE ledger_allocation SET points = points - 5 WHERE entry_id = {SPEND} AND lot_id = {EVER}",
        ],
        {"taken_in_spending_order", "given_back_in_reverse_order", "open_lot_is_what_remains"},
    ),
    Corruption(
        "an entry touches the lot of another account",
        [
            (
                "UPDATE ledger_allocation SET lot_id ="
                f" (SELECT id FROM ledger_lot WHERE account_id = {BEN} LIMIT 1)"
                f" WHERE entry_id = {entry(ANNA, 'transfer_out')}"
            )
        ],
        {"allocation_lot_of_same_account", "account_points_conserved", "open_lot_is_what_remains"},
    ),
    Corruption(
        "an allocation lost its entry",
        [
            f"DELETE FROM ledger_entry WHERE id = {entry(DORA, 'expire')}",
        ],
        {
            "points_conserved_in_total",
            "account_balance_is_the_sum_of_its_entries",
            "account_sequence_is_its_last_entry",
            "allocation_of_no_entry",
            "balance_after_continues",
            "completed_operation_posted_what_its_kind_demands",
            "lapsed_points_settled_first",
            "sequence_has_no_gap",
        },
    ),
    Corruption(
        "a lot was never filled",
        [
            (
                "INSERT INTO ledger_lot (id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id)"
                " SELECT gen_random_uuid(), account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id"
                f" FROM ledger_lot WHERE id = {SEVEN}"
            )
        ],
        {"lot_has_its_grant"},
    ),
    Corruption(
        "a lot became smaller than what was in it",
        [f"UPDATE ledger_lot SET points = 90 WHERE id = {DATED}"],
        {"lot_granted_in_full", "lot_never_overfilled"},
    ),
    Corruption(
        "a lot names an entry that granted none",
        [f"UPDATE ledger_lot SET entry_id = {SPEND} WHERE id = {SEVEN}"],
        {
            "lot_has_its_grant",
            "lot_is_of_its_entry",
            "entry_sign_matches_kind",
            "cancelled_earn_takes_its_own_lots",
        },
    ),
    Corruption(
        "a given lot forgot its origin",
        [f"UPDATE ledger_lot SET origin_id = NULL WHERE account_id = {BEN}"],
        {"lot_names_its_origin"},
    ),
    Corruption(
        "a given lot lives longer than its origin",
        [
            f"UPDATE ledger_lot SET expires_at = expires_at + interval '1 day' WHERE account_id = {BEN}",
            f"UPDATE ledger_open_lot SET expires_at = expires_at + interval '1 day' WHERE account_id = {BEN}",
        ],
        {"lot_keeps_what_its_origin_was"},
    ),
    Corruption(
        "a lot has the policy of another reason",
        [
            (
                "UPDATE ledger_lot SET policy_id ="
                " (SELECT max(policy.id) FROM ledger_reason_policy AS policy JOIN ledger_reason AS reason"
                f" ON reason.id = policy.reason_id WHERE reason.code = 'REVIEW') WHERE id = {SEVEN}"
            )
        ],
        {"lot_policy_is_of_its_reason"},
    ),
    Corruption(
        "an entry has other points than its allocations",
        [f"UPDATE ledger_entry SET points = points - 4 WHERE id = {SPEND}"],
        {
            "points_conserved_in_total",
            "account_points_conserved",
            "account_balance_is_the_sum_of_its_entries",
            "balance_after_continues",
            "completed_operation_posted_what_its_kind_demands",
            "entry_sum_matches_allocations",
        },
    ),
    Corruption(
        "a balance_after was made up",
        [f"UPDATE ledger_entry SET balance_after = balance_after + 4 WHERE id = {SPEND}"],
        {"balance_after_continues", "operation_tells_the_balance_after_it"},
    ),
    Corruption(
        "an entry is out of its place",
        [f"UPDATE ledger_entry SET sequence = 99 WHERE id = {entry(BEN, 'transfer_in')}"],
        {"sequence_has_no_gap", "account_sequence_is_its_last_entry"},
    ),
    Corruption(
        "an entry was recorded before the one before it",
        [
            f"UPDATE ledger_entry SET recorded_at = recorded_at - interval '1 hour' WHERE id = {entry(ANNA, 'spend_cancel')}"
        ],
        {"recorded_at_never_goes_back", "operation_and_entries_recorded_at_once"},
    ),
    Corruption(
        "an entry has the wrong sign",
        [
            "ALTER TABLE ledger_entry DROP CONSTRAINT entry_sign_matches_kind",
            f"UPDATE ledger_entry SET kind = 'spend' WHERE id = {entry(BEN, 'transfer_in')}",
        ],
        {
            "entry_sign_matches_kind",
            "completed_operation_posted_what_its_kind_demands",
            "entries_on_the_accounts_of_the_operation",
            "lot_is_of_its_entry",
            "lot_names_its_origin",
            "operation_tells_the_balance_after_it",
        },
    ),
    Corruption(
        "a lot was spent after it had lapsed",
        [
            f"UPDATE ledger_lot SET expires_at = earned_at + interval '1 hour' WHERE id = {DATED}",
            f"UPDATE ledger_open_lot SET expires_at = earned_at + interval '1 hour' WHERE lot_id = {DATED}",
        ],
        {
            "lapsed_lot_is_not_taken",
            "lapsed_points_settled_first",
            "lot_keeps_what_its_origin_was",
        },
    ),
    Corruption(
        "a lot expired before its time",
        [
            (
                "UPDATE ledger_lot SET expires_at = expires_at + interval '5 days'"
                f" WHERE account_id = {DORA} AND expires_at IS NOT NULL"
            ),
        ],
        {"live_lot_is_not_expired"},
    ),
    Corruption(
        "lots were taken in the wrong order",
        [
            f"UPDATE ledger_lot SET expires_at = '2026-03-09 00:00+00' WHERE id = {EVER}",
            f"UPDATE ledger_open_lot SET expires_at = '2026-03-09 00:00+00' WHERE lot_id = {EVER}",
        ],
        {
            "taken_in_spending_order",
            "lot_keeps_what_its_origin_was",
            "account_next_expiry_bounds_its_lots",
        },
    ),
    Corruption(
        "an open lot says more than remains",
        [f"UPDATE ledger_open_lot SET remaining = remaining + 1 WHERE lot_id = {EVER}"],
        {"open_lot_is_what_remains", "points_conserved_in_total"},
    ),
    Corruption(
        "an open lot is missing",
        [f"DELETE FROM ledger_open_lot WHERE account_id = {BEN}"],
        {"open_lot_is_what_remains", "points_conserved_in_total"},
    ),
    Corruption(
        "an open lot lapses later than its lot",
        [f"UPDATE ledger_open_lot SET expires_at = expires_at + interval '9 days' WHERE account_id = {BEN}"],
        {"open_lot_repeats_its_lot"},
    ),
    Corruption(
        "an account has points from nowhere",
        ["UPDATE ledger_account SET balance = balance + 5 WHERE account_number = {ben}"],
        {"account_balance_is_the_sum_of_its_entries", "points_conserved_in_total"},
    ),
    Corruption(
        "an account counts an entry too many",
        ["UPDATE ledger_account SET sequence = sequence + 1 WHERE account_number = {ben}"],
        {"account_sequence_is_its_last_entry"},
    ),
    Corruption(
        "an account forgot its debt",
        ["UPDATE ledger_account SET outstanding_debt = 0 WHERE account_number = {cleo}"],
        {"account_debt_is_the_sum_of_its_debts"},
    ),
    Corruption(
        "an account looks for lapsed lots too late",
        ["UPDATE ledger_account SET next_expiry_at = NULL WHERE account_number = {ben}"],
        {"account_next_expiry_bounds_its_lots"},
    ),
    Corruption(
        "an account was unblocked without a status row",
        ["UPDATE ledger_account SET status = 'open' WHERE account_number = {dora}"],
        {"account_status_is_its_last_status_row"},
    ),
    Corruption(
        "a debt was settled twice",
        [
            (
                "INSERT INTO ledger_debt (id, account_id, operation_id, entry_id, points, recorded_at)"
                " SELECT gen_random_uuid(), account_id, operation_id, entry_id, points, recorded_at"
                f" FROM ledger_debt WHERE account_id = {CLEO} AND points < 0"
            ),
            "UPDATE ledger_account SET outstanding_debt = 0 WHERE account_number = {cleo}",
        ],
        {"account_debt_is_the_sum_of_its_debts", "debt_never_settled_before_incurred"},
    ),
    Corruption(
        "a debt is more than was not collected",
        [
            f"UPDATE ledger_debt SET points = points + 5 WHERE account_id = {CLEO} AND points > 0",
            "UPDATE ledger_account SET outstanding_debt = outstanding_debt + 5 WHERE account_number = {cleo}",
        ],
        {"debt_is_what_was_not_collected"},
    ),
    Corruption(
        "a clawback settled nothing",
        [
            f"DELETE FROM ledger_debt WHERE account_id = {CLEO} AND points < 0",
            "UPDATE ledger_account SET outstanding_debt = outstanding_debt + 25 WHERE account_number = {cleo}",
        ],
        {"clawback_of_an_earn_settles_a_debt"},
    ),
    Corruption(
        "a refused operation has entries",
        [
            (
                "UPDATE ledger_operation SET state = 'failed', refusal = '{{}}'"
                f" WHERE id = {operation('cleo', 'spend')}"
            )
        ],
        {"unfinished_operation_posted_nothing"},
    ),
    Corruption(
        "an acknowledged spend never happened",
        [
            (
                "INSERT INTO ledger_operation (id, client_id, idempotency_key, fingerprint, kind, state,"
                " account_number, points, recorded_at, balance_after)"
                " SELECT gen_random_uuid(), client_id, 'made up', fingerprint, kind, state, account_number, points,"
                f" recorded_at, balance_after FROM ledger_operation WHERE id = {operation('cleo', 'spend')}"
            )
        ],
        {"completed_operation_posted_what_its_kind_demands"},
    ),
    Corruption(
        "an operation says other points than were posted",
        [f"UPDATE ledger_operation SET points = points + 1 WHERE id = {operation('cleo', 'spend')}"],
        {"completed_operation_posted_what_its_kind_demands"},
    ),
    Corruption(
        "an operation tells another balance",
        [
            (
                f"UPDATE ledger_operation SET balance_after = 77 WHERE id = {operation('ben', 'none')} OR"
                f" id = {operation('cleo', 'spend')}"
            )
        ],
        {"operation_tells_the_balance_after_it"},
    ),
    Corruption(
        "an operation moved to another account",
        [f"UPDATE ledger_operation SET account_number = {{ben}} WHERE id = {operation('cleo', 'spend')}"],
        {"entries_on_the_accounts_of_the_operation"},
    ),
    Corruption(
        "an operation names no client that there is",
        [f"UPDATE ledger_operation SET client_id = 2147483647 WHERE id = {operation('cleo', 'spend')}"],
        {"operation_names_a_client_and_a_reason"},
    ),
    Corruption(
        "more was cancelled than was spent",
        [f"UPDATE ledger_operation SET points = 29 WHERE id = {operation('anna', 'spend')}"],
        {"cancelled_within_points", "completed_operation_posted_what_its_kind_demands"},
    ),
    Corruption(
        "a cancel cancels nothing",
        [f"UPDATE ledger_operation SET cancels_id = NULL WHERE id = {operation('anna', 'spend_cancel')}"],
        {"cancel_fits_what_it_cancels", "given_back_in_reverse_order"},
    ),
    Corruption(
        "a key stands for two operations",
        [
            "ALTER TABLE ledger_operation DROP CONSTRAINT operation_key_is_unique_per_client",
            (
                "UPDATE ledger_operation SET idempotency_key = 'twice'"
                f" WHERE id IN ({operation('cleo', 'spend')}, {operation('anna', 'spend')})"
            ),
        ],
        {"key_stands_for_one_operation"},
    ),
    Corruption(
        "a cancelled earn took the lot of another earn",
        [
            f"UPDATE ledger_allocation SET lot_id = {EVER} WHERE entry_id = {entry(ANNA, 'earn_cancel')}",
            f"UPDATE ledger_open_lot SET remaining = remaining - 3 WHERE lot_id = {EVER}",
            f"UPDATE ledger_open_lot SET remaining = remaining + 3 WHERE lot_id = {SEVEN}",
        ],
        {"cancelled_earn_takes_its_own_lots"},
    ),
    Corruption(
        "a cancelled spend gave back to the wrong lot",
        [
            f"UPDATE ledger_allocation SET lot_id = {EVES_FIRST} WHERE entry_id = {entry(EVE, 'spend_cancel')}",
            f"UPDATE ledger_open_lot SET remaining = 5 WHERE account_id = {EVE}",
            (
                "INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)"
                f" SELECT id, account_id, 5, points, earned_at, expires_at FROM ledger_lot WHERE id = {EVES_FIRST}"
            ),
            "UPDATE ledger_account SET next_expiry_at = opened_at WHERE account_number = {eve}",
        ],
        {"given_back_in_reverse_order"},
    ),
    Corruption(
        "what was accepted got lost",
        ["DELETE FROM ledger_inbox WHERE account_number = {dora}"],
        {"accepted_operation_waits_in_the_inbox"},
    ),
    Corruption(
        "what has ended waits again",
        [
            (
                "INSERT INTO ledger_inbox (operation_id, account_number, command, accepted_at, attempts, last_error)"
                f" SELECT {operation('cleo', 'spend')}, {{cleo}}, '{{{{}}}}', now(), 0, ''"
            )
        ],
        {"inbox_holds_only_accepted_operations"},
    ),
    Corruption(
        "a stale mark is ahead of its account",
        [f"UPDATE ledger_stale_balance SET sequence = sequence + 1 WHERE account_id = {BEN}"],
        {"stale_mark_is_not_ahead"},
    ),
]

TABLES = [
    "ledger_account",
    "ledger_operation",
    "ledger_entry",
    "ledger_lot",
    "ledger_allocation",
    "ledger_debt",
]


def test_the_story_as_it_happened_is_clean(story: Story) -> None:
    report = story.verify()

    assert report.breaches == []
    assert report.skipped == []
    assert set(report.checked) == {check for check in CHECKS if not check.startswith("cached_")}
    # Anna 45 and 4, Ben 15, Dora's second 10, Eve 10; all else was spent, cancelled, clawed back or lapsed.
    new = {name: count - story.figures_before[name] for name, count in report.figures.items()}
    assert (new["points"], new["accounts"], new["lots"]) == (49 + 15 + 10 + 10, 6, 12)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_each_corruption_is_named(story: Story, corruption: Corruption) -> None:
    story.run(*corruption.statements, unguarded=TABLES)

    report = story.verify(guards=False)

    assert {breach.check for breach in report.breaches} == corruption.checks
    assert all(breach.count >= 1 and breach.examples for breach in report.breaches)
