"""What the legacy did otherwise than the ledger, when it was told."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from cutover import lots, mismatches
from cutover.mirroring.decided import Decided
from cutover.models import Difference, FoundBy
from legacy_bridge.records import Decision


def compare(told: Sequence[tuple[Decided, Decision, bool]]) -> None:
    """Record where the legacy moved other lots, or made a row that is another operation's already; with each
    whether its row became its own."""
    ids = lots.ids_of(
        {share.lot_id for _, decision, _ in told for share in decision.shares or ()}, is_exact=True
    )
    for found, decision, is_tied in told:
        if not is_tied and found.counterpart_id is None:
            why = f"Row {decision.row_id} of the legacy is another operation's already."
            note(found, Difference.REAL, legacy=decision.row_id, ledger=None, why=why)
        if decision.shares is None:
            continue
        theirs: dict[UUID, int] = {}
        for share in decision.shares:
            lot = ids[share.lot_id]
            theirs[lot] = theirs.get(lot, 0) + share.points
        if theirs != found.points_by_lot:
            note(
                found,
                Difference.ORDER,
                legacy={str(lot): points for lot, points in theirs.items()},
                ledger={str(lot): points for lot, points in found.points_by_lot.items()},
                why="Both sides moved the same points, over other lots.",
            )


def note(found: Decided, difference: Difference, *, legacy: Any, ledger: Any, why: str) -> None:
    """Record a difference between both sides in one operation."""
    mismatches.record(
        account_number=found.account_number,
        subject=f"operation:{found.id}",
        difference=difference,
        found_by=FoundBy.MIRROR,
        legacy=legacy,
        ledger=ledger,
        why=why,
    )
