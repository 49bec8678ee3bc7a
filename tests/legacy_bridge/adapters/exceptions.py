"""PostgreSQL; RAISE EXCEPTION with SQLSTATEs of its own, P0001 with a detail, or a broken constraint;
composite results; functions, which never commit.

It keeps lots and nothing else: no history, no references, and a spend cannot be cancelled.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from legacy_bridge import marker
from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.calling import Typed, call_function, key, not_negative, one, select_function, text, whole
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import NotRepresentable, Refused, RefusedFact
from legacy_bridge.records import (
    BY_LEGACY,
    CancelRequest,
    Decision,
    EarnRequest,
    LegacyBalance,
    LegacyLot,
    SpendRequest,
)
from legacy_bridge.sessions import Session
from tests.legacy_bridge.adapters import scripts


def install(session: Session) -> None:
    scripts.run(session, Path(__file__).with_suffix(".sql"))
    marker.create(session)


@contextmanager
def refusals() -> Iterator[None]:
    """What the functions raise, as facts of the API."""
    try:
        yield
    except RaisedError as error:
        if error.sqlstate == "LY001":
            raise Refused(RefusedFact.INSUFFICIENT_POINTS, error.message) from error
        if error.sqlstate == "LY002":
            raise Refused(RefusedFact.NOT_CANCELLABLE, error.message) from error
        if error.constraint == "remaining_is_not_negative":
            raise Refused(RefusedFact.EARN_ALREADY_SPENT, error.message) from error
        if error.sqlstate == "P0001" and error.detail == "CLOSED":
            raise Refused(RefusedFact.ACCOUNT_BLOCKED, error.message) from error
        raise


class Adapter(LegacyAdapter):
    settling = Settling.BY_MARKER
    features = frozenset(
        {
            Feature.EARN,
            Feature.SPEND,
            Feature.CANCEL_EARN,
            Feature.CANCEL_PART,
            Feature.LOTS,
            Feature.ALL_LOTS,
        }
    )
    takes_expires_at = True
    tells_balance_after = True
    reason_codes = {
        name: name.lower()
        for name in (
            "ORDER_REWARD",
            "REVIEW",
            "EVENT",
            "GIFT_CARD",
            "COMPENSATION",
            "ORDER_PAYMENT",
            "ORDER_CANCELLED",
            "CORRECTION",
        )
    }

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        arguments: list[Any] = [
            key(request.account_number, length=100),
            request.points,
            self.code_of(request.reason),
        ]
        # Its own rule has a function of its own, and NULL says never: of which type must be said.
        if request.expires_at is not BY_LEGACY:
            arguments.append(Typed(request.expires_at, "timestamptz"))
        return self._decision(session, "loyalty.earn", arguments)

    def spend(self, session: Session, request: SpendRequest) -> Decision:
        arguments = [request.account_number, request.points, self.code_of(request.reason)]
        return self._decision(session, "loyalty.spend", arguments)

    def cancel(self, session: Session, request: CancelRequest) -> Decision:
        if request.is_of_spend:
            raise NotRepresentable("A spend cannot be cancelled.")
        return self._decision(session, "loyalty.withdraw", [int(request.cancelled_row_id), request.points])

    def _decision(self, session: Session, name: str, arguments: list[Any]) -> Decision:
        with refusals():
            row = one(select_function(session, name, arguments))
        _, lot_no, member_no, points, balance, made_at = row
        return Decision(
            # Only what is granted leaves a row that can be named again.
            row_id=None if lot_no is None else str(lot_no),
            account_number=text(member_no),
            points=whole(points),
            recorded_at=made_at,
            balance_after=not_negative(balance),
        )

    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        available = call_function(session, "loyalty.available", [account_number])
        return LegacyBalance(available=not_negative(available))

    def lots(self, session: Session, *, account_number: str, with_ended: bool) -> Sequence[LegacyLot]:
        live = "" if with_ended else " AND remaining > 0 AND expires_at > clock_timestamp()"
        rows = session.query(
            "SELECT lot_no, points, remaining, earned_at, nullif(expires_at, 'infinity'), reason"
            f" FROM loyalty.lot WHERE member_no = %s{live} ORDER BY loyalty.lot.expires_at, lot_no",
            [account_number],
        )
        return [
            LegacyLot(
                lot_id=str(lot_no),
                points=points,
                remaining=remaining,
                earned_at=earned_at,
                expires_at=expires_at,
                reason=self.reason_of(reason),
            )
            for lot_no, points, remaining, earned_at, expires_at, reason in rows
        ]
