"""The adapter of the reference legacy, on both servers.

Each operation is one procedure that answers with a result code, a message, its history row, the balance after
it, its moment, and the lots that it touched as JSON.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db import connections

from legacy_bridge.adapter import Feature, Settling
from legacy_bridge.calling import (
    Out,
    call_procedure,
    call_result_sets,
    moment,
    not_negative,
    one,
    select_function,
    text,
    whole,
)
from legacy_bridge.errors import AnswerInvalid, Busy, NotDone, NotRepresentable, Refused, RefusedFact
from legacy_bridge.records import (
    ByLegacy,
    CancelRequest,
    Decision,
    EarnRequest,
    HistoryRow,
    LegacyBalance,
    LegacyLot,
    Share,
    SpendRequest,
)
from legacy_bridge.reference.bulk import KINDS, LOT_COLUMNS, ROW_COLUMNS, BulkReading
from legacy_bridge.sessions import ALIAS, Session

#: Who the bridge is to the procedures: what they keep as REG_ID.
CALLER: Final = "POINTAPI"
_LONGEST_KEY: Final = 20
_LONGEST_REFERENCE: Final = 64

_DONE: Final = "S"
_UNKNOWN_MEMBER: Final = "E02"
_BUSY: Final = "E98"
_FACTS: Final[Mapping[str, RefusedFact]] = {
    "E01": RefusedFact.INSUFFICIENT_POINTS,
    # Whom it never saw has nothing to spend; `_cancelled` knows the same code in another sense.
    _UNKNOWN_MEMBER: RefusedFact.INSUFFICIENT_POINTS,
    "E03": RefusedFact.NOT_CANCELLABLE,
    "E04": RefusedFact.EARN_ALREADY_SPENT,
    "E09": RefusedFact.ACCOUNT_BLOCKED,
}
#: What every operation answers: code, message, row, balance after it, its moment, lots.
_ANSWER: Final = (Out(), Out(), Out(), Out(), Out(), Out())
_COLUMNS: Final = f"{ROW_COLUMNS}, {{schema}}FN_HIST_LOTS(h.HIST_SEQ)"


class ReferenceAdapter(BulkReading):
    """Chosen by the server behind the alias `legacy`: what is made is one of the two classes below.

    Spends take the lots that were earned first (not those that lapse soonest, as the ledger does), and a
    cancelled spend gives back into the lots that it took last.
    """

    settling = Settling.BY_ID
    features = frozenset(Feature)
    takes_expires_at = True
    takes_oldest_first = True
    tells_shares = True
    tells_balance_after = True
    tells_expiring = True
    tells_next_expiry = True
    reason_codes: ClassVar[dict[str, str]] = {
        "ORDER_REWARD": "11",
        "REVIEW": "12",
        "EVENT": "13",
        "GIFT_CARD": "14",
        "COMPENSATION": "15",
        "ORDER_PAYMENT": "21",
        "GIFT": "22",
        "ORDER_CANCELLED": "31",
        "CORRECTION": "39",
    }
    #: How a lot with something left is found by an index.
    open_lot: ClassVar[str] = "REMAIN_AMT > 0"

    def __new__(cls) -> "ReferenceAdapter":
        if cls is ReferenceAdapter:
            cls = MariaDBReference if connections[ALIAS].vendor == "mysql" else PostgreSQLReference
        return super().__new__(cls)

    def check_form(self, *, account_number: str, reference: str | None) -> None:
        if not _is_key(account_number):
            raise NotRepresentable(f"The legacy's member numbers have at most {_LONGEST_KEY} characters.")
        if reference is not None and len(reference) > _LONGEST_REFERENCE:
            raise NotRepresentable(
                f"The legacy's trade numbers have at most {_LONGEST_REFERENCE} characters."
            )

    # --- operations ----------------------------------------------------------------------------------
    def earn(self, session: Session, request: EarnRequest) -> Decision:
        self.check_form(account_number=request.account_number, reference=request.reference)
        expires = request.expires_at
        if isinstance(expires, ByLegacy):
            expiry: tuple[str, datetime | None] = ("D", None)
        else:
            expiry = ("G", None if expires is None else self.local(expires))
        arguments = [request.account_number, self.code_of(request.reason), request.points, *expiry]
        return self._decide(session, "PR_POINT_EARN", arguments, request)

    def spend(self, session: Session, request: SpendRequest) -> Decision:
        if not _is_key(request.account_number):
            raise Refused(RefusedFact.INSUFFICIENT_POINTS, "The legacy has no such member.")
        arguments = [request.account_number, self.code_of(request.reason), request.points]
        return self._decide(session, "PR_POINT_USE", arguments, request)

    def cancel(self, session: Session, request: CancelRequest) -> Decision:
        name = "PR_POINT_USE_CANCEL" if request.is_of_spend else "PR_POINT_EARN_CANCEL"
        arguments = [
            request.account_number,
            int(request.cancelled_row_id),
            request.points,
            self.code_of(request.reason),
        ]
        try:
            return self._decide(session, name, arguments, request)
        except Refused as refused:
            if refused.fact is RefusedFact.INSUFFICIENT_POINTS:
                raise Refused(RefusedFact.NOT_CANCELLABLE, str(refused)) from refused
            raise

    def _decide(
        self,
        session: Session,
        name: str,
        arguments: Sequence[Any],
        request: EarnRequest | SpendRequest | CancelRequest,
    ) -> Decision:
        self.check_form(account_number=request.account_number, reference=request.reference)
        told = [request.reference, str(request.operation_id), CALLER]
        code, message, *answer = call_procedure(session, self.schema + name, [*arguments, *told, *_ANSWER])
        _check(code, message)
        return self._decision(answer, points=request.points)

    def _decision(self, answer: Sequence[Any], *, points: int) -> Decision:
        row, balance, recorded, lots = answer
        return Decision(
            row_id=str(whole(row)),
            points=points,
            recorded_at=self.instant(moment(recorded)),
            balance_after=not_negative(balance),
            shares=self._shares(lots),
        )

    def _shares(self, lots: Any) -> tuple[Share, ...]:
        return tuple(
            Share(
                lot_id=str(whole(lot)),
                points=whole(points),
                expires_at=None if expires is None else self.instant(moment(expires)),
            )
            for lot, points, expires in json.loads(lots)
        )

    # --- reading -------------------------------------------------------------------------------------
    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        if not _is_key(account_number):
            return LegacyBalance(available=0, expiring_points=0)
        code, message, available, soon, next_at, next_points = call_procedure(
            session,
            f"{self.schema}PR_POINT_AVAIL",
            [account_number, self.local(expiring_before), *_ANSWER],
        )
        if code is not None and text(code) == _UNKNOWN_MEMBER:
            return LegacyBalance(available=0, expiring_points=0)
        _check(code, message)
        return LegacyBalance(
            available=not_negative(available),
            expiring_points=not_negative(soon),
            next_expiry=None
            if next_at is None
            else (self.instant(moment(next_at)), not_negative(next_points)),
        )

    def lots(self, session: Session, *, account_number: str, with_ended: bool) -> Sequence[LegacyLot]:
        if not _is_key(account_number):
            return []
        live = f"{self.open_lot} AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > {self.schema}PT_NOW())"
        where = "MBR_NO = %s" if with_ended else f"MBR_NO = %s AND {live}"
        rows = session.query(
            f"SELECT {LOT_COLUMNS} FROM {self.schema}PT_LOT WHERE {where} ORDER BY SAVE_DTM, LOT_SEQ",  # noqa: S608
            [account_number],
        )
        found = [self._lot(row) for row in rows]
        for lot in found:
            not_negative(lot.remaining)
        return found

    def history(
        self, session: Session, *, account_number: str, before_row_id: str | None, limit: int
    ) -> Sequence[HistoryRow]:
        if not _is_key(account_number):
            return []
        before = None if before_row_id is None else int(before_row_id)
        return [self._row(row) for row in self._history_page(session, account_number, before, limit)]

    def _history_page(
        self, session: Session, account_number: str, before: int | None, limit: int
    ) -> Sequence[tuple[Any, ...]]:
        raise NotImplementedError

    def rows_after(
        self, session: Session, *, row_id: str | None, limit: int, account_number: str | None = None
    ) -> Sequence[HistoryRow]:
        where, values = "HIST_SEQ > %s", [0 if row_id is None else int(row_id)]
        if account_number is None:
            return self._rows(session, where, [*values, limit])
        if not _is_key(account_number):
            return []
        return self._rows(session, f"{where} AND MBR_NO = %s", [*values, account_number, limit])

    def row_before(self, session: Session, *, instant: datetime) -> str | None:
        # The sum keeps the server from walking the primary key from its beginning: the moment has an index.
        where = f"{self.schema}PT_HIST WHERE REG_DTM >= %s"
        first = one(session.query(f"SELECT MIN(HIST_SEQ + 0) FROM {where}", [self.local(instant)]))[0]  # noqa: S608
        if first is None:
            last = one(session.query(f"SELECT MAX(HIST_SEQ) FROM {self.schema}PT_HIST"))[0]  # noqa: S608
            return None if last is None else str(whole(last))
        return str(whole(first) - 1)

    def rows_by_reference(self, session: Session, *, reference: str, limit: int) -> Sequence[HistoryRow]:
        rows = self._rows(session, "TRADE_NO = %s AND HIST_CD IN ('SV', 'US')", [reference, limit])
        # MariaDB takes two texts for the same that differ in blanks at their ends.
        return [row for row in rows if row.reference == reference]

    def rows_by_id(self, session: Session, row_ids: Collection[str]) -> Sequence[HistoryRow]:
        if not row_ids:
            return []
        marks = ", ".join(["%s"] * len(row_ids))
        values = [int(row_id) for row_id in row_ids]
        return self._rows(session, f"HIST_SEQ IN ({marks})", [*values, len(values)])

    def _rows(self, session: Session, where: str, values: Sequence[Any]) -> list[HistoryRow]:
        columns = _COLUMNS.format(schema=self.schema)
        rows = session.query(
            f"SELECT {columns} FROM {self.schema}PT_HIST h WHERE {where} ORDER BY HIST_SEQ LIMIT %s",  # noqa: S608
            values,
        )
        return [self._row(row) for row in rows]

    def _row(self, row: Sequence[Any]) -> HistoryRow:
        seq, member, kind_code, type_code, amount, balance, trade, request, cancels, caller, at, lots = row
        kind, procedure = KINDS[text(kind_code)]
        return HistoryRow(
            row_id=str(whole(seq)),
            account_number=text(member),
            kind=kind,
            points=whole(amount),
            recorded_at=self.instant(moment(at)),
            balance_after=whole(balance),
            reason=None if type_code is None else self.reason_of(text(type_code)),
            reference=trade,
            operation_id=None if request is None else UUID(text(request)),
            cancels_row_id=None if cancels is None else str(whole(cancels)),
            procedure=procedure,
            caller=text(caller),
            # A page of history brings them as text.
            shares=lots if isinstance(lots, tuple) else self._shares(lots),
        )

    # --- settling ------------------------------------------------------------------------------------
    def find_by_operation_id(
        self, session: Session, *, operation_id: UUID, account_number: str
    ) -> Decision | None:
        rows = self._rows(session, "REQ_ID = %s", [str(operation_id), 2])
        if not rows:
            return None
        row = one([(row,) for row in rows])[0]
        if row.account_number != account_number:
            raise AnswerInvalid(f"account {row.account_number} where {account_number} should be")
        return row.decision

    def last_row_id(self, session: Session, *, account_number: str) -> str | None:
        rows = session.query(
            f"SELECT MAX(HIST_SEQ) FROM {self.schema}PT_HIST WHERE MBR_NO = %s",  # noqa: S608
            [account_number],
        )
        last = one(rows)[0]
        return None if last is None else str(whole(last))


class PostgreSQLReference(ReferenceAdapter):
    """One statement for each operation, which is done whole or not at all."""

    schema = "legacy."

    def _among(self, column: str, values: Collection[Any], *, are_keys: bool) -> tuple[str, list[Any]]:
        if are_keys:
            return f"{column} = ANY (%s::char(20)[])", [list(values)]
        # Numbers as one text: the driver would look at each of them.
        return f"{column} = ANY (%s::bigint[])", [f"{{{','.join(map(str, values))}}}"]

    def _behind(self, after: Mapping[str, int]) -> tuple[str, list[Any]]:
        behind = (
            "unnest(%s::char(20)[], %s::bigint[]) AS f (NO, SEQ)"
            f" JOIN {self.schema}PT_HIST h ON h.MBR_NO = f.NO AND h.HIST_SEQ > f.SEQ"
        )
        return behind, [list(after), list(after.values())]

    def _history_page(
        self, session: Session, account_number: str, before: int | None, limit: int
    ) -> Sequence[tuple[Any, ...]]:
        return select_function(session, f"{self.schema}PR_POINT_HIST", [account_number, before, limit])


class MariaDBReference(ReferenceAdapter):
    """The procedures commit by themselves, and take back what they began when something fails."""

    commits_itself = True
    open_lot = "OPEN_YN = 'Y'"

    def _among(self, column: str, values: Collection[Any], *, are_keys: bool) -> tuple[str, list[Any]]:
        return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)

    def _behind(self, after: Mapping[str, int]) -> tuple[str, list[Any]]:
        # One range of the index for each member.
        ranges = " OR ".join(["(h.MBR_NO = %s AND h.HIST_SEQ > %s)"] * len(after))
        return f"PT_HIST h WHERE ({ranges})", [value for pair in after.items() for value in pair]

    def _history_page(
        self, session: Session, account_number: str, before: int | None, limit: int
    ) -> Sequence[tuple[Any, ...]]:
        return call_result_sets(session, "PR_POINT_HIST", [account_number, before, limit])[0]


def _is_key(account_number: str) -> bool:
    """Whether a padded key of this length can be this account's, and no other's."""
    return len(account_number) <= _LONGEST_KEY and account_number == account_number.rstrip(" ")


def _check(code: Any, message: Any) -> None:
    """Raises Refused, Busy and NotDone for every result code but 'S'."""
    answered = text(code)
    if answered == _DONE:
        return
    if answered in _FACTS:
        raise Refused(_FACTS[answered], str(message))
    if answered == _BUSY:
        raise Busy(f"{answered}: {message}")
    raise NotDone(f"The procedure answered {answered}: {message}")
