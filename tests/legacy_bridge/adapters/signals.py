"""MariaDB; errors by SIGNAL; answers as result sets; no id of ours anywhere; each procedure commits itself.

It cancels no earn, lists only live lots, and takes no expiry. The row of its log that is new and matches
says that a call was done.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.calling import call_result_sets, key, not_negative, one, text, whole
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import AnswerInvalid, Refused, RefusedFact
from legacy_bridge.records import (
    CancelRequest,
    Decision,
    EarnRequest,
    HistoryRow,
    LegacyBalance,
    LegacyLot,
    RowKind,
    Share,
    SpendRequest,
)
from legacy_bridge.sessions import Session
from tests.legacy_bridge.adapters import scripts

REFUSALS = {
    31001: RefusedFact.INSUFFICIENT_POINTS,
    31002: RefusedFact.ACCOUNT_BLOCKED,
    31003: RefusedFact.NOT_CANCELLABLE,
}
KINDS = {"A": RowKind.EARN, "R": RowKind.SPEND, "C": RowKind.SPEND_CANCEL}
PROCEDURES = {"A": "accrue", "R": "redeem", "C": "redeem_cancel"}
COLUMNS = "log_no, card_no, kind, points, balance, reason, trade_no, cancels_log_no, logged_at"


def install(session: Session) -> None:
    scripts.run(session, Path(__file__).with_suffix(".sql"))


class Adapter(LegacyAdapter):
    settling = Settling.BY_NEW_ROW
    commits_itself = True
    features = frozenset(
        {
            Feature.EARN,
            Feature.SPEND,
            Feature.CANCEL_SPEND,
            Feature.CANCEL_PART,
            Feature.LOTS,
            Feature.HISTORY,
            Feature.FIND_BY_REFERENCE,
        }
    )
    tells_shares = True
    tells_balance_after = True
    tells_expiring = True
    reason_codes = {
        "ORDER_REWARD": "10",
        "REVIEW": "11",
        "EVENT": "12",
        "COMPENSATION": "19",
        "ORDER_PAYMENT": "20",
        "ORDER_CANCELLED": "30",
        "CORRECTION": "39",
    }
    zone = ZoneInfo("Asia/Seoul")

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        return self._move(session, request, "accrue", request.account_number)

    def spend(self, session: Session, request: SpendRequest) -> Decision:
        return self._move(session, request, "redeem", request.account_number)

    def cancel(self, session: Session, request: CancelRequest) -> Decision:
        return self._move(session, request, "redeem_cancel", request.cancelled_row_id)

    def _move(
        self, session: Session, request: EarnRequest | SpendRequest | CancelRequest, name: str, whose: str
    ) -> Decision:
        # A reference that was cut would not be found again when the call is settled.
        reference = request.reference and key(request.reference, length=100)
        arguments = [key(whose, length=64), request.points, self.code_of(request.reason), reference]
        try:
            row, lots = call_result_sets(session, name, arguments)
        except RaisedError as error:
            if error.number in REFUSALS:
                raise Refused(REFUSALS[error.number], error.message) from error
            raise
        log_no, card_no, points, balance, logged_at = one(row)
        if not isinstance(logged_at, datetime):
            raise AnswerInvalid(f"{logged_at!r} where a moment should be")
        return Decision(
            row_id=str(whole(log_no)),
            account_number=text(card_no),
            points=abs(whole(points)),
            recorded_at=self.instant(logged_at),
            balance_after=not_negative(balance),
            shares=tuple(
                Share(lot_id=str(lot_no), points=whole(part), expires_at=self.instant(expires_at))
                for lot_no, part, expires_at in lots
            ),
        )

    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        sums, _ = call_result_sets(session, "card_status", [account_number, self.local(expiring_before)])
        available, expiring = one(sums)
        return LegacyBalance(available=not_negative(available), expiring_points=not_negative(expiring))

    def lots(self, session: Session, *, account_number: str, with_ended: bool) -> Sequence[LegacyLot]:
        _, lots = call_result_sets(session, "card_status", [account_number, None])
        return [
            LegacyLot(
                lot_id=str(lot_no),
                points=points,
                remaining=remaining,
                earned_at=self.instant(earned_at),
                expires_at=self.instant(expires_at),
                reason=self.reason_of(str(reason)),
            )
            for lot_no, points, remaining, earned_at, expires_at, reason in lots
        ]

    # --- history and settling ----------------------------------------------------------------------------
    def last_row_id(self, session: Session, *, account_number: str) -> str | None:
        rows = session.query("SELECT MAX(log_no) FROM log WHERE card_no = %s", [account_number])
        return None if rows[0][0] is None else str(rows[0][0])

    def history(
        self, session: Session, *, account_number: str, before_row_id: str | None, limit: int
    ) -> Sequence[HistoryRow]:
        earlier, values = (" AND log_no < %s", [int(before_row_id)]) if before_row_id else ("", [])
        where = f"card_no = %s{earlier} ORDER BY log_no DESC LIMIT %s"
        return self._rows(session, where, [account_number, *values, limit])

    def rows_after(
        self, session: Session, *, row_id: str | None, limit: int, account_number: str | None = None
    ) -> Sequence[HistoryRow]:
        where, values = "log_no > %s", [int(row_id or 0)]
        if account_number is not None:
            where, values = f"card_no = %s AND {where}", [account_number, *values]
        return self._rows(session, f"{where} ORDER BY log_no LIMIT %s", [*values, limit])

    def rows_by_reference(self, session: Session, *, reference: str, limit: int) -> Sequence[HistoryRow]:
        where = "trade_no = %s AND kind IN ('A', 'R') ORDER BY log_no LIMIT %s"
        return self._rows(session, where, [reference, limit])

    def rows_by_id(self, session: Session, row_ids: Collection[str]) -> Sequence[HistoryRow]:
        if not row_ids:
            return []
        marks = ", ".join(["%s"] * len(row_ids))
        return self._rows(session, f"log_no IN ({marks})", [int(row_id) for row_id in row_ids])

    def _rows(self, session: Session, where: str, values: list[Any]) -> list[HistoryRow]:
        rows = session.query(f"SELECT {COLUMNS} FROM log WHERE {where}", values)
        return [
            HistoryRow(
                row_id=str(log_no),
                account_number=text(card_no),
                kind=KINDS[kind],
                points=points,
                recorded_at=self.instant(logged_at),
                balance_after=balance,
                reason=self.reason_of(str(reason)),
                reference=trade_no,
                cancels_row_id=None if cancels is None else str(cancels),
                procedure=PROCEDURES[kind],
            )
            for log_no, card_no, kind, points, balance, reason, trade_no, cancels, logged_at in rows
        ]
