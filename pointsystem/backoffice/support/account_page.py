"""What the page of one account shows: the truth, the cache beside it, lots, and what is not settled.

Whoever decides is asked through the face. What a side cannot tell is None here with a sentence, and never 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.utils.translation import gettext as _

from ledger import balances, clock, queries
from ledger.balances import CachedBalance, RedisUnavailable
from ledger.database import fetch_all, fetch_one
from ledger.door import face
from ledger.errors import Refusal
from ledger.records import BalanceRecord, HistoryLine, LotRecord, OperationRecord, Page
from pointsystem.backoffice.support.deciding import legacy_decides
from pointsystem.backoffice.support.words import refusal_in_words

LOTS_ON_A_PAGE: Final = 25
HISTORY_ON_A_PAGE: Final = 25
_MOST_UNSETTLED: Final = 20

Answer = TypeVar("Answer")

_ACCOUNT: Final = """
SELECT id, status, opened_at, outstanding_debt, sequence FROM ledger_account WHERE account_number = %s
"""
_UNSETTLED: Final = """
SELECT operation.id, operation.kind, operation.state, operation.points, operation.reference,
    operation.recorded_at, inbox.attempts, inbox.last_error
FROM ledger_operation AS operation LEFT JOIN ledger_inbox AS inbox ON inbox.operation_id = operation.id
WHERE operation.account_number = %s AND operation.state <> 'completed' AND operation.state <> 'failed'
ORDER BY operation.id LIMIT %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerAccount:
    """What the ledger keeps of the account itself."""

    id: int
    status: str
    opened_at: datetime
    outstanding_debt: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Generic[Answer]):
    """An answer, or the sentence that says why there is none."""

    answer: Answer | None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLine:
    """The cached balance in words; `available` only where a value stands there."""

    #: same, behind, noted, absent, unreadable, away or unused
    state: str
    sentence: str
    available: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    id: UUID
    kind: str
    state: str
    points: int
    reference: str | None
    recorded_at: datetime
    attempts: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """A lot with what is left of it, in hundredths, for its bar."""

    lot: LotRecord
    percent: int
    is_live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHead:
    account_number: str
    #: None for an account that the ledger has never opened.
    account: LedgerAccount | None
    is_decided_by_legacy: bool
    balance: Told[BalanceRecord]
    cache: CacheLine
    unsettled: Sequence[Unsettled]
    has_more_unsettled: bool


def head(*, account_number: str) -> AccountHead:
    """Status, truth, cache, and what is not settled. Raises DatabaseError."""
    row = fetch_one(_ACCOUNT, [account_number])
    account = (
        LedgerAccount(
            id=row[0],
            status=row[1],
            opened_at=row[2].astimezone(UTC),
            outstanding_debt=row[3],
            sequence=row[4],
        )
        if row
        else None
    )
    by_legacy = legacy_decides(account_number=account_number)
    if by_legacy:
        balance = told(lambda: face().balance(account_number=account_number))
        cache = CacheLine(
            state="unused",
            sentence=_("While the legacy decides, balances are read from it and never from the cache."),
        )
    else:
        record, sequence = queries.balance_with_sequence(account_number=account_number)
        balance = Told(answer=record)
        cache = _cache_line(account_number, record=record, sequence=sequence)
    waiting = fetch_all(_UNSETTLED, [account_number, _MOST_UNSETTLED + 1])
    return AccountHead(
        account_number=account_number,
        account=account,
        is_decided_by_legacy=by_legacy,
        balance=balance,
        cache=cache,
        unsettled=[_unsettled(row) for row in waiting[:_MOST_UNSETTLED]],
        has_more_unsettled=len(waiting) > _MOST_UNSETTLED,
    )


def told(ask: Callable[[], Answer]) -> Told[Answer]:
    """What the side that decides says, or why it says nothing."""
    try:
        return Told(answer=ask())
    except Refusal as refusal:
        return Told(answer=None, unknown=refusal_in_words(refusal))


def _cache_line(account_number: str, *, record: BalanceRecord, sequence: int) -> CacheLine:
    try:
        (cached,) = balances.peek(account_numbers=[account_number])
    except RedisUnavailable:
        return CacheLine(
            state="away",
            sentence=_("Redis does not answer: balances are read from the ledger meanwhile."),
        )
    return _cache_in_words(cached, record=record, sequence=sequence)


def _cache_in_words(cached: CachedBalance, *, record: BalanceRecord, sequence: int) -> CacheLine:
    match cached.state:
        case "absent":
            return CacheLine(state="absent", sentence=_("Nothing is cached: the next read asks the ledger."))
        case "tombstone":
            return CacheLine(
                state="noted",
                sentence=_("A change was noted, and its refresh is on the way: reads ask the ledger."),
            )
        case "corrupt":
            return CacheLine(
                state="unreadable",
                sentence=_("What is cached cannot be read, and is not used: reads ask the ledger."),
            )
    if cached.valid_until is not None and cached.valid_until <= clock.now():
        return CacheLine(
            state="absent",
            available=cached.available,
            sentence=_("What is cached has ended, and is not used: the next read asks the ledger."),
        )
    if cached.sequence == sequence and cached.available == record.available:
        return CacheLine(
            state="same", available=cached.available, sentence=_("The cache says the same as the ledger.")
        )
    if cached.sequence is not None and cached.sequence < sequence:
        return CacheLine(
            state="behind",
            available=cached.available,
            sentence=_("The cache is behind: it knows %(cached)d of %(all)d entries. It is refreshed soon.")
            % {"cached": cached.sequence, "all": sequence},
        )
    return CacheLine(
        state="behind",
        available=cached.available,
        sentence=_("The cache says something else than the ledger. It is used until %(until)s at most.")
        % {"until": cached.valid_until.strftime("%H:%M:%S UTC") if cached.valid_until else "-"},
    )


def _unsettled(row: tuple[Any, ...]) -> Unsettled:
    return Unsettled(
        id=row[0],
        kind=row[1],
        state=row[2],
        points=row[3],
        reference=row[4],
        recorded_at=row[5].astimezone(UTC),
        attempts=row[6],
        last_error=row[7] or None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LotsOfAccount:
    lots: Sequence[Lot]
    next: str | None
    previous: str | None


def lots(*, account_number: str, state: str, cursor: str | None) -> Told[LotsOfAccount]:
    """A page of lots, `live` or `all`, from whoever decides."""

    def ask() -> LotsOfAccount:
        page = face().lots_page(
            account_number=account_number, state=state, cursor=cursor, page_size=LOTS_ON_A_PAGE
        )
        now = clock.now()
        return LotsOfAccount(
            lots=[_lot(lot, now=now) for lot in page.data], next=page.next, previous=page.previous
        )

    return told(ask)


def _lot(lot: LotRecord, *, now: datetime) -> Lot:
    percent = lot.remaining * 100 // lot.points if lot.points else 0
    # What is left at all is seen.
    return Lot(
        lot=lot,
        percent=max(percent, 1) if lot.remaining else 0,
        is_live=lot.expires_at is None or lot.expires_at > now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOfAccount:
    """History as the side that decides tells it; by operation id, what is known of its lots."""

    page: Page[HistoryLine]
    operations: dict[UUID, OperationRecord]

    @property
    def lines(self) -> list[tuple[HistoryLine, OperationRecord | None]]:
        return [(line, self.operations.get(line.operation_id)) for line in self.page.data]


def history(*, account_number: str, cursor: str | None) -> Told[HistoryOfAccount]:
    """A page of history, while another side than the ledger decides."""

    def ask() -> HistoryOfAccount:
        page = face().history_page(account_number=account_number, cursor=cursor, page_size=HISTORY_ON_A_PAGE)
        ids = {line.operation_id for line in page.data}
        return HistoryOfAccount(page=page, operations=queries.first_outcomes(ids) if ids else {})

    return told(ask)
