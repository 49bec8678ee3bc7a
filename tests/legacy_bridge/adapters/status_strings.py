"""MariaDB; OUT parameters with a status string; keys CHAR(36); the procedures do not commit.

It lists no lots, cancels nothing in parts, finds nothing by reference, and takes no expiry.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from legacy_bridge import marker
from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.calling import Out, call_procedure, key, moment, not_negative, text
from legacy_bridge.errors import AnswerInvalid, Refused, RefusedFact
from legacy_bridge.records import (
    CancelRequest,
    Decision,
    EarnRequest,
    HistoryRow,
    LegacyBalance,
    RowKind,
    SpendRequest,
)
from legacy_bridge.sessions import Session
from tests.legacy_bridge.adapters import scripts

REFUSALS = {
    "ERROR: NOT ENOUGH POINTS": RefusedFact.INSUFFICIENT_POINTS,
    "ERROR: MEMBER IS BLOCKED": RefusedFact.ACCOUNT_BLOCKED,
    "ERROR: NOTHING TO UNDO": RefusedFact.NOT_CANCELLABLE,
    "ERROR: ALREADY USED": RefusedFact.EARN_ALREADY_SPENT,
}
KINDS = {
    "GRANT": RowKind.EARN,
    "USE": RowKind.SPEND,
    "UNGRANT": RowKind.EARN_CANCEL,
    "UNUSE": RowKind.SPEND_CANCEL,
}
PROCEDURES = {"GRANT": "p_grant", "USE": "p_use", "UNGRANT": "p_undo", "UNUSE": "p_undo"}
COLUMNS = "movement_id, member, what, points, balance, code, order_no, undoes, made_by, made_at"
TURN_OF = "(SELECT turn FROM movement WHERE movement_id = %s)"


def install(session: Session) -> None:
    scripts.run(session, Path(__file__).with_suffix(".sql"))
    marker.create(session)


class Adapter(LegacyAdapter):
    settling = Settling.BY_MARKER
    features = frozenset(
        {Feature.EARN, Feature.SPEND, Feature.CANCEL_EARN, Feature.CANCEL_SPEND, Feature.HISTORY}
    )
    tells_balance_after = True
    tells_expiring = True
    tells_next_expiry = True
    reason_codes = {
        "ORDER_REWARD": "REWARD",
        "REVIEW": "REVIEW",
        "EVENT": "EVENT",
        "GIFT_CARD": "CARD",
        "COMPENSATION": "SORRY",
        "ORDER_PAYMENT": "PAY",
        "ORDER_CANCELLED": "ORDERCAN",
        "CORRECTION": "CORRECT",
    }
    #: Whatever POINTS_LEGACY_TIME_ZONE says: these procedures use UTC_TIMESTAMP().
    zone = ZoneInfo("UTC")

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        return self._move(session, request, "p_grant")

    def spend(self, session: Session, request: SpendRequest) -> Decision:
        return self._move(session, request, "p_use")

    def _move(self, session: Session, request: EarnRequest | SpendRequest, procedure: str) -> Decision:
        arguments = [
            key(request.account_number, length=36),
            request.points,
            self.code_of(request.reason),
            request.reference and key(request.reference, length=64),
        ]
        return self._decision(session, procedure, arguments, points=request.points)

    def cancel(self, session: Session, request: CancelRequest) -> Decision:
        reference = request.reference and key(request.reference, length=64)
        arguments = [request.cancelled_row_id, self.code_of(request.reason), reference]
        return self._decision(session, "p_undo", arguments, points=request.points)

    def _decision(self, session: Session, name: str, arguments: list[Any], *, points: int) -> Decision:
        row_id, balance, made_at, result = call_procedure(
            session, name, [*arguments, Out(), Out(), Out(), Out()]
        )
        if result != "SUCCESS":
            for beginning, fact in REFUSALS.items():
                if text(result).startswith(beginning):
                    raise Refused(fact, result)
            raise AnswerInvalid(f"{result!r} where SUCCESS or a known error should be")
        return Decision(
            row_id=text(row_id),
            points=points,
            recorded_at=self.instant(moment(made_at)),
            balance_after=not_negative(balance),
        )

    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        # The procedure counts whole days: those that lapse at midnight before the instant.
        before = self.local(expiring_before).date()
        available, expiring, next_day = self._three(session, account_number, before)
        next_expiry = None
        if next_day is not None:
            _, next_points, _ = self._three(session, account_number, next_day + timedelta(days=1))
            next_expiry = (datetime.combine(next_day, time(), tzinfo=UTC), next_points)
        return LegacyBalance(available=available, expiring_points=expiring, next_expiry=next_expiry)

    def _three(self, session: Session, account_number: str, before: date) -> tuple[int, int, date | None]:
        available, expiring, next_day = call_procedure(
            session, "p_balance", [account_number, before, Out(), Out(), Out()]
        )
        return (
            not_negative(available),
            not_negative(expiring),
            None if next_day is None else date.fromisoformat(str(next_day)),
        )

    # --- history -----------------------------------------------------------------------------------------
    def history(
        self, session: Session, *, account_number: str, before_row_id: str | None, limit: int
    ) -> Sequence[HistoryRow]:
        earlier, values = (f" AND turn < {TURN_OF}", [before_row_id]) if before_row_id else ("", [])
        where = f"member = %s{earlier} ORDER BY turn DESC LIMIT %s"
        return self._rows(session, where, [account_number, *values, limit])

    def rows_after(
        self, session: Session, *, row_id: str | None, limit: int, account_number: str | None = None
    ) -> Sequence[HistoryRow]:
        where, values = (f"turn > {TURN_OF}", [row_id]) if row_id else ("TRUE", [])
        if account_number is not None:
            where, values = f"{where} AND member = %s", [*values, account_number]
        return self._rows(session, f"{where} ORDER BY turn LIMIT %s", [*values, limit])

    def rows_by_id(self, session: Session, row_ids: Collection[str]) -> Sequence[HistoryRow]:
        if not row_ids:
            return []
        return self._rows(session, f"movement_id IN ({', '.join(['%s'] * len(row_ids))})", list(row_ids))

    def _rows(self, session: Session, where: str, values: list[Any]) -> list[HistoryRow]:
        rows = session.query(f"SELECT {COLUMNS} FROM movement WHERE {where}", values)
        return [
            HistoryRow(
                row_id=text(row_id),
                account_number=text(member),
                kind=KINDS[what],
                points=points,
                recorded_at=self.instant(made_at),
                balance_after=balance,
                reason=self.reason_of(text(code)),
                reference=order_no,
                cancels_row_id=undoes,
                procedure=PROCEDURES[what],
                caller=made_by,
            )
            for row_id, member, what, points, balance, code, order_no, undoes, made_by, made_at in rows
        ]
