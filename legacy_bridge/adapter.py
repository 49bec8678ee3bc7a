"""What an adapter tells of one legacy: a class of a few dozen lines, and the only thing to be written.

docs/how-to/wrap-your-own-procedures.md goes through it step by step. `LEGACY_ADAPTER` names the class.
Methods get an open `Session` and use its cursor helpers (`legacy_bridge.calling`); they never commit,
never open connections, and raise nothing but `legacy_bridge.errors` and what the driver raises, which
`Session` translates.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import ClassVar, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings

from legacy_bridge.errors import NotRepresentable
from legacy_bridge.records import (
    CancelRequest,
    Decision,
    EarnRequest,
    HistoryRow,
    LegacyBalance,
    LegacyLot,
    MonthTotal,
    RowKind,
    SpendRequest,
)
from legacy_bridge.sessions import Session


class Settling(Enum):
    """How the outcome of a call is found out when its answer was lost (docs/adr/0021-...)."""

    #: The procedure takes our operation id and keeps it: asked by id.
    BY_ID = "by id"
    #: The procedure does not commit: our id is put into the marker table, in its own transaction.
    BY_MARKER = "by marker"
    #: It commits by itself and takes no id: exactly one new row that matches means that it was done.
    BY_NEW_ROW = "by new row"


class Feature(Enum):
    """What a legacy may be able to represent. What is not declared is answered `not_available_in_stage`."""

    EARN = "earn"
    SPEND = "spend"
    CANCEL_EARN = "cancel_earn"
    CANCEL_SPEND = "cancel_spend"
    #: A cancel of a part; without it only all of it at once.
    CANCEL_PART = "cancel_part"
    LOTS = "lots"
    #: Lots that are used up or lapsed are listed too (`state=all`).
    ALL_LOTS = "all_lots"
    HISTORY = "history"
    #: Rows can be found by the caller's own reference.
    #: With it, every row that an operation with a reference makes carries that reference.
    FIND_BY_REFERENCE = "find_by_reference"


_ROWS_AT_ONCE: Final = 5000
#: Rows are in the order of their ids, and so about that of their moments: so far apart, and no further.
_LATE_ROWS: Final = timedelta(hours=1)

#: What must be there for a feature.
_METHOD_OF: Final = {
    Feature.CANCEL_EARN: "cancel",
    Feature.CANCEL_SPEND: "cancel",
    Feature.CANCEL_PART: "cancel",
    Feature.LOTS: "lots",
    Feature.HISTORY: "history",
    Feature.FIND_BY_REFERENCE: "rows_by_reference",
}


class LegacyAdapter(ABC):
    """One legacy. Class attributes declare, methods do."""

    #: How unknown outcomes of earn, spend and cancel are settled.
    settling: ClassVar[Settling]
    #: The procedures commit by themselves, or write to tables without transactions (MyISAM): then every
    #: lost answer is unknown, errors of SQL too.
    commits_itself: ClassVar[bool] = False
    #: Several calls may be one transaction, as far as the server keeps one whole: nothing that a call leaves
    #: to its end (a temporary table, a setting) is in the way of the next.
    may_be_called_together: ClassVar[bool] = True
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.EARN, Feature.SPEND})
    #: `EarnRequest.expires_at` is obeyed.
    takes_expires_at: ClassVar[bool] = False
    #: Decisions carry shares, and `balance_after`.
    tells_shares: ClassVar[bool] = False
    tells_balance_after: ClassVar[bool] = False
    #: A spend takes the lots that were earned first; else those that lapse soonest. While the ledger
    #: decides and the legacy follows, the ledger takes them in the same order.
    takes_oldest_first: ClassVar[bool] = False
    #: `LegacyBalance` carries what lapses soon, and what lapses next.
    tells_expiring: ClassVar[bool] = False
    tells_next_expiry: ClassVar[bool] = False
    #: Reasons of the API to the legacy's own codes; what is missing cannot be represented.
    reason_codes: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        """Raises TypeError for declarations that contradict each other: they would cost somebody points."""
        contradictions = list(self._contradictions())
        if contradictions:
            raise TypeError(f"{type(self).__name__}: {' '.join(contradictions)}")

    def _contradictions(self) -> Iterator[str]:
        needed: dict[Settling, tuple[str, ...]] = {
            Settling.BY_ID: ("find_by_operation_id",),
            Settling.BY_MARKER: (),
            Settling.BY_NEW_ROW: ("last_row_id", "rows_after"),
        }
        settling = getattr(self, "settling", None)
        if settling is None:
            yield "It does not say how unknown outcomes are settled."
        else:
            for name in needed[settling]:
                if getattr(type(self), name) is getattr(LegacyAdapter, name):
                    yield f"It settles {settling.value}, and has no {name}()."
        if settling is Settling.BY_MARKER and self.commits_itself:
            yield "A marker needs procedures that do not commit by themselves."
        for feature, name in _METHOD_OF.items():
            if feature in self.features and getattr(type(self), name) is getattr(LegacyAdapter, name):
                yield f"It declares {feature.value}, and has no {name}()."
        if Feature.ALL_LOTS in self.features and Feature.LOTS not in self.features:
            yield "It declares all_lots without lots."

    # --- operations: each calls one procedure --------------------------------------------------------
    @abstractmethod
    def earn(self, session: Session, request: EarnRequest) -> Decision:
        """Grant points. Raises Refused (ACCOUNT_BLOCKED)."""

    @abstractmethod
    def spend(self, session: Session, request: SpendRequest) -> Decision:
        """Take points, or raise Refused (INSUFFICIENT_POINTS, also for an account it never saw)."""

    def cancel(self, session: Session, request: CancelRequest) -> Decision:
        """Cancel an earn or a spend. Raises Refused (NOT_CANCELLABLE, EARN_ALREADY_SPENT)."""
        raise NotRepresentable("The legacy cannot cancel.")

    # --- reading -------------------------------------------------------------------------------------
    @abstractmethod
    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        """What can be spent now; 0 for an account that it never saw."""

    def lots(self, session: Session, *, account_number: str, with_ended: bool) -> Sequence[LegacyLot]:
        """Lots in the order in which a spend takes them; those with nothing left only `with_ended`."""
        raise NotRepresentable("The legacy does not list lots.")

    def history(
        self, session: Session, *, account_number: str, before_row_id: str | None, limit: int
    ) -> Sequence[HistoryRow]:
        """At most `limit` rows of an account, newest first, made before `before_row_id` where given."""
        raise NotRepresentable("The legacy does not list its history.")

    def rows_after(
        self, session: Session, *, row_id: str | None, limit: int, account_number: str | None = None
    ) -> Sequence[HistoryRow]:
        """Rows that came after `row_id` (None: all), oldest first, of one account or of all: for settling,
        for finding out who still calls procedures, and for following the legacy."""
        raise NotRepresentable("The legacy does not list its history.")

    def row_before(self, session: Session, *, instant: datetime) -> str | None:
        """A row id after which (`rows_after`) all rows that were recorded at or after `instant` come; None
        when there is nothing before them. Only saves time: without it a scan begins with the first row."""
        raise NotRepresentable("The legacy does not find rows by their moment.")

    def rows_by_reference(self, session: Session, *, reference: str, limit: int) -> Sequence[HistoryRow]:
        """Earns and spends that carry the caller's own `reference`, oldest first."""
        raise NotRepresentable("The legacy does not know references.")

    def rows_by_id(self, session: Session, row_ids: Collection[str]) -> Sequence[HistoryRow]:
        """The rows with these ids."""
        raise NotRepresentable("The legacy does not list its history.")

    # --- reading many at once: for migration and verification, in one snapshot ------------------------
    def account_count(self, session: Session) -> int | None:
        """How many accounts there are, about; None: without it nobody can say how long a migration takes."""
        return None

    def account_numbers(self, session: Session, *, after: str | None, limit: int) -> Sequence[str]:
        """At most `limit` account numbers behind `after`, in an order of the legacy's own that stays."""
        raise NotRepresentable("The legacy does not list its accounts.")

    def rows_of_accounts(
        self, session: Session, *, after: Mapping[str, str | None], limit: int
    ) -> Sequence[HistoryRow]:
        """Rows of these accounts behind each one's row (None: all), account by account, each in its own
        order; at most `limit`, and then those that are missing are the last ones of this list."""
        found: list[HistoryRow] = []
        for number, row_id in after.items():
            if len(found) == limit:
                break
            found += self.rows_after(session, row_id=row_id, limit=limit - len(found), account_number=number)
        return found

    def lots_of_accounts(
        self, session: Session, *, account_numbers: Collection[str]
    ) -> Mapping[str, Sequence[LegacyLot]]:
        """All lots of these accounts, those with nothing left too where the legacy lists them; what remains
        is what the legacy keeps, be it below nothing."""
        with_ended = Feature.ALL_LOTS in self.features
        return {
            number: self.lots(session, account_number=number, with_ended=with_ended)
            for number in account_numbers
        }

    def balances_of_accounts(
        self, session: Session, *, account_numbers: Collection[str]
    ) -> Mapping[str, int]:
        """What can be spent now, by account, as `balance` says it."""
        now = datetime.now(UTC)
        return {
            number: self.balance(session, account_number=number, expiring_before=now).available
            for number in account_numbers
        }

    def monthly_totals(self, session: Session, *, month: date) -> Sequence[MonthTotal]:
        """Rows and points by kind and reason of the month that begins with this day of the legacy's zone."""
        begins = datetime(month.year, month.month, 1)  # noqa: DTZ001
        ends = datetime(month.year + month.month // 12, month.month % 12 + 1, 1)  # noqa: DTZ001
        try:
            place = self.row_before(session, instant=self.instant(begins))
        except NotRepresentable:
            place = None
        totals: dict[tuple[RowKind, str | None], list[int]] = {}
        late = self.instant(ends) + _LATE_ROWS
        while rows := self.rows_after(session, row_id=place, limit=_ROWS_AT_ONCE):
            for row in rows:
                if self.instant(begins) <= row.recorded_at < self.instant(ends):
                    total = totals.setdefault((row.kind, row.reason), [0, 0])
                    total[0] += 1
                    total[1] += row.points
            if rows[-1].recorded_at >= late:
                break
            place = rows[-1].row_id
        return [
            MonthTotal(kind=kind, reason=reason, rows=count, points=points)
            for (kind, reason), (count, points) in totals.items()
        ]

    # --- settling ------------------------------------------------------------------------------------
    def find_by_operation_id(
        self, session: Session, *, operation_id: UUID, account_number: str
    ) -> Decision | None:
        """What the operation with our id did, or None (`Settling.BY_ID`)."""
        raise NotRepresentable("The legacy does not keep our ids.")

    def last_row_id(self, session: Session, *, account_number: str) -> str | None:
        """The account's last row before a call (`Settling.BY_NEW_ROW`)."""
        raise NotRepresentable("The legacy does not list its history.")

    # --- what has a form here ------------------------------------------------------------------------
    def check_form(self, *, account_number: str, reference: str | None) -> None:
        """Refuse an account number or a reference that the legacy cannot keep, without asking it: while
        the ledger decides, nothing is decided that could not be told here. Raises NotRepresentable."""
        return

    # --- words and times -----------------------------------------------------------------------------
    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone of the legacy's clock and columns (POINTS_LEGACY_TIME_ZONE)."""
        return ZoneInfo(settings.POINTS_LEGACY_TIME_ZONE)

    def instant(self, local: datetime) -> datetime:
        """A moment as the legacy keeps it, local and without a zone, in UTC. In the hour that comes
        twice where clocks are put back, the first one is meant."""
        offset = self._offset_on(local.date())
        if offset is None:
            return local.replace(tzinfo=self.zone).astimezone(UTC)
        return (local - offset).replace(tzinfo=UTC)

    def _offset_on(self, day: date) -> timedelta | None:
        """How far local time is ahead all of this day; None for a day on which clocks are changed."""
        try:
            return self._offsets[day]
        except KeyError:
            begins = datetime(day.year, day.month, day.day, tzinfo=self.zone)
            ends = begins.replace(hour=23, minute=59, second=59, microsecond=999999)
            offset = begins.utcoffset() if begins.utcoffset() == ends.utcoffset() else None
            self._offsets[day] = offset
            return offset

    @cached_property
    def _offsets(self) -> dict[date, timedelta | None]:
        return {}

    def local(self, instant: datetime) -> datetime:
        """The same the other way."""
        return instant.astimezone(self.zone).replace(tzinfo=None)

    def code_of(self, reason: str) -> str:
        """The legacy's code of a reason of the API. Raises NotRepresentable."""
        try:
            return self.reason_codes[reason]
        except KeyError:
            raise NotRepresentable(f"The legacy has no code for the reason {reason}.") from None

    def reason_of(self, code: str | None) -> str | None:
        """The reason of the API that a legacy code stands for, or None."""
        return self._reasons.get(code) if code is not None else None

    @cached_property
    def _reasons(self) -> dict[str, str]:
        """By code: the first reason that has it."""
        return {code: reason for reason, code in reversed(self.reason_codes.items())}
