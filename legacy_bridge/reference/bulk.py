"""Reading the reference legacy for many members at once, in few statements each."""

# Nothing but names of this module is put into its statements.
# ruff: noqa: S608

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar, Final

from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.calling import moment, one, text, whole
from legacy_bridge.records import HistoryRow, LegacyLot, MonthTotal, RowKind, Share
from legacy_bridge.sessions import Session

KINDS: Final[Mapping[str, tuple[RowKind, str]]] = {
    "SV": (RowKind.EARN, "PR_POINT_EARN"),
    "US": (RowKind.SPEND, "PR_POINT_USE"),
    "SC": (RowKind.EARN_CANCEL, "PR_POINT_EARN_CANCEL"),
    "UC": (RowKind.SPEND_CANCEL, "PR_POINT_USE_CANCEL"),
    "EX": (RowKind.EXPIRE, "PR_POINT_EXPIRE"),
    # Rows that somebody wrote by hand: there is no procedure for them.
    "AD": (RowKind.ADJUST, ""),
}
LOT_COLUMNS: Final = "LOT_SEQ, SAVE_AMT, REMAIN_AMT, SAVE_DTM, EXPIRE_DTM, TYPE_CD"
#: Without the lots that a row touched: those come by a statement of their own.
ROW_COLUMNS: Final = (
    "h.HIST_SEQ, h.MBR_NO, h.HIST_CD, h.TYPE_CD, h.AMT, h.BAL_AMT, h.TRADE_NO, h.REQ_ID, h.ORG_SEQ,"
    " h.REG_ID, h.REG_DTM"
)


class BulkReading(LegacyAdapter):
    """What both servers share; how a list is put into a statement is each one's own."""

    #: What stands before the names of tables and procedures.
    schema: ClassVar[str] = ""

    def _row(self, row: Sequence[Any]) -> HistoryRow:
        raise NotImplementedError

    def _among(self, column: str, values: Collection[Any], *, are_keys: bool) -> tuple[str, list[Any]]:
        """The condition that a column is one of `values`, and its parameters."""
        raise NotImplementedError

    def _behind(self, after: Mapping[str, int]) -> tuple[str, list[Any]]:
        """The table of history, as `h`, with the rows behind these; and its parameters."""
        raise NotImplementedError

    def account_count(self, session: Session) -> int:
        return whole(one(session.query(f"SELECT COUNT(*) FROM {self.schema}PT_MBR"))[0])

    def account_numbers(self, session: Session, *, after: str | None, limit: int) -> list[str]:
        rows = session.query(
            f"SELECT MBR_NO FROM {self.schema}PT_MBR WHERE MBR_NO > %s ORDER BY MBR_NO LIMIT %s",
            [after or "", limit],
        )
        return [text(number) for (number,) in rows]

    def rows_of_accounts(
        self, session: Session, *, after: Mapping[str, str | None], limit: int
    ) -> list[HistoryRow]:
        if not after:
            return []
        behind, values = self._behind({number: int(row or 0) for number, row in after.items()})
        rows = session.query(
            f"SELECT {ROW_COLUMNS} FROM {behind} ORDER BY h.MBR_NO, h.HIST_SEQ LIMIT %s", [*values, limit]
        )
        shares = self._shares_of(session, [row[0] for row in rows])
        return [self._row((*row, shares.get(row[0], ()))) for row in rows]

    def _shares_of(self, session: Session, rows: Sequence[int]) -> dict[int, tuple[Share, ...]]:
        if not rows:
            return {}
        condition, values = self._among("s.HIST_SEQ", rows, are_keys=False)
        found = session.query(
            "SELECT s.HIST_SEQ, s.LOT_SEQ, ABS(s.AMT), l.EXPIRE_DTM"
            f" FROM {self.schema}PT_HIST_LOT s LEFT JOIN {self.schema}PT_LOT l ON l.LOT_SEQ = s.LOT_SEQ"
            f" WHERE {condition} ORDER BY s.HIST_SEQ, s.ORD_NO",
            values,
        )
        shares: dict[int, list[Share]] = defaultdict(list)
        #: Most lots are touched more than once, and many lapse together.
        instants: dict[Any, datetime | None] = {None: None}
        for row, lot, points, expires in found:
            if expires not in instants:
                instants[expires] = self.instant(moment(expires))
            shares[row].append(Share(lot_id=str(lot), points=whole(points), expires_at=instants[expires]))
        return {row: tuple(of_row) for row, of_row in shares.items()}

    def lots_of_accounts(
        self, session: Session, *, account_numbers: Collection[str]
    ) -> dict[str, list[LegacyLot]]:
        found: dict[str, list[LegacyLot]] = {number: [] for number in account_numbers}
        if not found:
            return found
        condition, values = self._among("MBR_NO", list(found), are_keys=True)
        rows = session.query(
            f"SELECT MBR_NO, {LOT_COLUMNS} FROM {self.schema}PT_LOT WHERE {condition}"
            " ORDER BY MBR_NO, SAVE_DTM, LOT_SEQ",
            values,
        )
        for number, *lot in rows:
            found[text(number)].append(self._lot(lot))
        return found

    def _lot(self, row: Sequence[Any]) -> LegacyLot:
        lot, points, remaining, earned, expires, code = row
        return LegacyLot(
            lot_id=str(whole(lot)),
            points=whole(points),
            remaining=whole(remaining),
            earned_at=self.instant(moment(earned)),
            expires_at=None if expires is None else self.instant(moment(expires)),
            reason=self.reason_of(text(code)),
        )

    def balances_of_accounts(self, session: Session, *, account_numbers: Collection[str]) -> dict[str, int]:
        found = dict.fromkeys(account_numbers, 0)
        if not found:
            return found
        condition, values = self._among("MBR_NO", list(found), are_keys=True)
        now = f"{self.schema}PT_NOW()"
        rows = session.query(
            f"SELECT MBR_NO, SUM(REMAIN_AMT) FROM {self.schema}PT_LOT, (SELECT {now} AS NOW_DTM) n"
            f" WHERE {condition} AND REMAIN_AMT > 0 AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > n.NOW_DTM)"
            " GROUP BY MBR_NO",
            values,
        )
        found.update({text(number): whole(points) for number, points in rows})
        return found

    def monthly_totals(self, session: Session, *, month: date) -> list[MonthTotal]:
        begins = datetime(month.year, month.month, 1)  # noqa: DTZ001
        ends = datetime(month.year + month.month // 12, month.month % 12 + 1, 1)  # noqa: DTZ001
        rows = session.query(
            f"SELECT HIST_CD, TYPE_CD, COUNT(*), SUM(AMT) FROM {self.schema}PT_HIST"
            " WHERE REG_DTM >= %s AND REG_DTM < %s GROUP BY HIST_CD, TYPE_CD",
            [begins, ends],
        )
        # Codes that stand for no reason of the API are one line.
        totals: dict[tuple[RowKind, str | None], tuple[int, int]] = {}
        for kind_code, type_code, count, points in rows:
            reason = None if type_code is None else self.reason_of(text(type_code))
            key = (KINDS[text(kind_code)][0], reason)
            before = totals.get(key, (0, 0))
            totals[key] = (before[0] + whole(count), before[1] + whole(points))
        return [
            MonthTotal(kind=kind, reason=reason, rows=count, points=points)
            for (kind, reason), (count, points) in totals.items()
        ]
