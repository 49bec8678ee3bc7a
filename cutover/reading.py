"""The legacy's accounts in the API's words, while the legacy decides. Never from a cache: services that still
call its procedures change it unseen."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote, unquote
from uuid import UUID

import structlog
from django.db import Error
from django.utils.crypto import constant_time_compare, salted_hmac

from cutover import identifiers, rows
from cutover.lots import ids_of
from cutover.rows import entry_ids
from ledger import clock
from ledger.allocation import LotState, take
from ledger.balances.window import expiring_before
from ledger.cursors import cut, foreign_cursor, instant_of, position_of, uuid_of
from ledger.errors import (
    InsufficientPoints,
    NotAvailableInStage,
    PrimaryUnavailable,
    Refusal,
    ValidationRefused,
)
from ledger.records import (
    BalanceRecord,
    HistoryLine,
    LotRecord,
    LotShare,
    Page,
    PointsAt,
    PointsBefore,
    SpendPreview,
)
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.errors import AnswerInvalid
from legacy_bridge.records import HistoryRow, LegacyBalance, LegacyLot

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

#: Into how many texts the place of a line, and of a lot, is cut in a cursor.
HISTORY_PARTS: Final = 2
LOTS_PARTS: Final = 2
#: Of an account whose rows are adopted, so many later ones are looked at.
_LATER_ROWS_READ: Final = 1000


@contextmanager
def _asking() -> Iterator[tuple[LegacyAdapter, sessions.Session]]:
    """The adapter and a session. Raises PrimaryUnavailable and NotAvailableInStage for what they raise."""
    try:
        with sessions.session() as session:
            yield configured.adapter(), session
    except (Refusal, Error):
        raise
    except errors.NotRepresentable as error:
        raise NotAvailableInStage("The point system that decides now cannot tell this.") from error
    except errors.LegacyError as error:
        _refuse(error)
    except Exception as error:
        # An adapter that stumbles over an answer: whatever it was, it was not what was agreed.
        log.exception("legacy_adapter_stumbled")
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    log.warning("legacy_not_read", became=type(error).__name__, error=str(error))
    raise PrimaryUnavailable("The point system that decides now does not answer.") from error


def _needs(adapter: LegacyAdapter, feature: Feature) -> None:
    if feature not in adapter.features:
        raise NotAvailableInStage("The point system that decides now cannot tell this.")


# --- balance ----------------------------------------------------------------------------------------------
def balance(*, account_number: str) -> BalanceRecord:
    """What can be spent now, as the legacy says. Raises PrimaryUnavailable."""
    now = clock.now()
    before = expiring_before(now=now)
    with _asking() as (adapter, session):
        told = adapter.balance(session, account_number=account_number, expiring_before=before)
        _check_balance(told)
    expiring = told.expiring_points if adapter.tells_expiring else None
    next_expiry = told.next_expiry if adapter.tells_next_expiry else None
    return BalanceRecord(
        account_number=account_number,
        available=told.available,
        expiring_soon=None if expiring is None else PointsBefore(points=expiring, before=before),
        next_expiry=None if next_expiry is None else PointsAt(points=next_expiry[1], at=next_expiry[0]),
        as_of=now,
    )


def _check_balance(told: LegacyBalance) -> None:
    numbers = [told.available, told.expiring_points or 0, told.next_expiry[1] if told.next_expiry else 0]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise AnswerInvalid(f"a balance of {numbers!r}")


def balance_as_of(*, account_number: str, as_of: datetime) -> BalanceRecord:
    """Refused: what is left in the legacy's lots is overwritten. Raises ValidationRefused for the future."""
    if as_of > clock.now():
        raise ValidationRefused(field="as_of", field_code="in_the_future", detail="as_of is later than now.")
    raise NotAvailableInStage("The point system that decides now keeps no past balances.")


# --- lots -------------------------------------------------------------------------------------------------
def lots_page(
    *, account_number: str, state: str = "live", cursor: str | None = None, page_size: int = 50
) -> Page[LotRecord]:
    """The lots in the order in which the legacy spends them. Raises PrimaryUnavailable,
    NotAvailableInStage, and ValidationRefused for a cursor that this list did not give."""
    position, backwards = position_of(cursor, parts=LOTS_PARTS)
    place = (instant_of(position[0]), uuid_of(position[1])) if position else None
    now = clock.now()
    records = _lot_records(_lots(account_number, with_ended=state == "all"), now=now)
    if state != "all":
        records = [record for record in records if record.remaining]
    # A lot that was used up since keeps its place: what was earned before it came before it.
    start = len(records)
    if place is not None:
        ids = [record.id for record in records]
        start = (
            ids.index(place[1])
            if place[1] in ids
            else sum(1 for record in records if record.earned_at <= place[0])
        )
        found = place[1] in ids
        records = list(reversed(records[:start])) if backwards else records[start + 1 if found else start :]
    page, next_cursor, previous_cursor = _cut(
        records[: page_size + 1],
        page_size,
        position,
        backwards,
        key=lambda record: [record.earned_at.isoformat(), str(record.id)],
    )
    return Page(data=page, next=next_cursor, previous=previous_cursor)


def _lots(account_number: str, *, with_ended: bool) -> Sequence[LegacyLot]:
    with _asking() as (adapter, session):
        _needs(adapter, Feature.ALL_LOTS if with_ended else Feature.LOTS)
        lots = adapter.lots(session, account_number=account_number, with_ended=with_ended)
        for lot in lots:
            if type(lot.remaining) is not int or not 0 <= lot.remaining <= lot.points:
                raise AnswerInvalid(f"{lot.remaining!r} remaining of {lot.points!r} in lot {lot.lot_id}")
    return lots


def _lot_records(lots: Sequence[LegacyLot], *, now: datetime) -> list[LotRecord]:
    ids = ids_of([lot.lot_id for lot in lots])
    return [_lot_record(lot, lot_id=ids[lot.lot_id], now=now) for lot in lots]


def _lot_record(lot: LegacyLot, *, lot_id: UUID, now: datetime) -> LotRecord:
    is_live = lot.expires_at is None or lot.expires_at > now
    return LotRecord(
        id=lot_id,
        points=lot.points,
        remaining=lot.remaining if is_live else 0,
        earned_at=lot.earned_at,
        expires_at=lot.expires_at,
        reason=lot.reason,
        origin=None,
    )


def _lot_state(record: LotRecord) -> LotState:
    return LotState(
        id=record.id,
        account_id=0,
        points=record.points,
        remaining=record.remaining,
        earned_at=record.earned_at,
        expires_at=record.expires_at,
    )


def spend_preview(*, account_number: str, points: int) -> SpendPreview:
    """The lots that the legacy would take, in its order. Raises InsufficientPoints, PrimaryUnavailable,
    NotAvailableInStage; writes nothing."""
    now = clock.now()
    records = _lot_records(_lots(account_number, with_ended=False), now=now)
    available = sum(record.remaining for record in records)
    if available < points:
        raise InsufficientPoints(f"{available} points are available.")
    # The ledger's own rule of taking, over the legacy's order.
    shares = take(lots=[_lot_state(record) for record in records], points=points, at=now)
    return SpendPreview(
        account_number=account_number,
        points=points,
        lots=[
            LotShare(lot=share.lot.id, points=share.points, expires_at=share.lot.expires_at)
            for share in shares
        ],
        available=available,
        available_after=available - points,
    )


# --- history ----------------------------------------------------------------------------------------------
def history_page(*, account_number: str, cursor: str | None = None, page_size: int = 50) -> Page[HistoryLine]:
    """The legacy's rows of an account, newest first. Raises PrimaryUnavailable, NotAvailableInStage, and
    ValidationRefused for a foreign cursor."""
    position, backwards = position_of(cursor, parts=HISTORY_PARTS)
    row_id = row_id_of(position, account_number=account_number) if position else None
    with _asking() as (adapter, session):
        _needs(adapter, Feature.HISTORY)
        if row_id and backwards:
            found = adapter.rows_after(
                session, row_id=row_id, limit=page_size + 1, account_number=account_number
            )
        else:
            found = adapter.history(
                session, account_number=account_number, before_row_id=row_id, limit=page_size + 1
            )
        _check_rows(found, account_number=account_number)
        operations = rows.operations_of(session, found)
    page, next_cursor, previous_cursor = _cut(
        found,
        page_size,
        position,
        backwards,
        key=lambda row: history_place(row.row_id, account_number=account_number),
    )
    shown = [(row, operations[row.row_id]) for row in page]
    ids = entry_ids([operation.operation_id for _, operation in shown])
    lines = [_history_line(row, operation, ids) for row, operation in shown]
    return Page(data=lines, next=next_cursor, previous=previous_cursor)


def history_place(row_id: str, *, account_number: str) -> list[str]:
    """How a cursor names the place of a row."""
    return [quote(row_id, safe=""), _mark(account_number, row_id)]


def row_id_of(position: list[str], *, account_number: str) -> str:
    """The row that a cursor names. Row ids are the legacy's own, of any form: a mark made with our secret
    tells those that this list gave. Raises ValidationRefused."""
    row_id = unquote(position[0])
    if not constant_time_compare(position[1], _mark(account_number, row_id)):
        raise foreign_cursor()
    return row_id


def _mark(account_number: str, row_id: str) -> str:
    return salted_hmac("cutover.history", f"{account_number}|{row_id}").hexdigest()[:16]


def _check_rows(found: Sequence[HistoryRow], *, account_number: str) -> None:
    """Rows of the legacy are input like any other. Raises AnswerInvalid."""
    for row in found:
        if row.account_number != account_number:
            raise AnswerInvalid(f"row {row.row_id} of another account")
        giving.check_moment(row.recorded_at)
        if type(row.points) is not int or (row.balance_after is not None and row.balance_after < 0):
            raise AnswerInvalid(f"row {row.row_id} with {row.points!r} points")


def _history_line(row: HistoryRow, shown: rows.Shown, ids: dict[tuple[UUID, str], UUID]) -> HistoryLine:
    return HistoryLine(
        # What the ledger decided keeps the id under which it was shown then.
        id=ids.get((shown.operation_id, row.kind.value)) or identifiers.entry_id(row.row_id),
        operation_id=shown.operation_id,
        kind=row.kind.value,
        points=row.points,
        balance_after=row.balance_after,
        reason=shown.reason,
        reference=shown.reference,
        recorded_at=row.recorded_at,
    )


def adopt_by_reference(*, reference: str) -> None:
    """Give the legacy's rows with this reference operations, so that they can be found and cancelled.
    Raises PrimaryUnavailable."""
    adapter = configured.adapter()
    if Feature.FIND_BY_REFERENCE not in adapter.features:
        return
    with _asking() as (adapter, session):
        found = list(adapter.rows_by_reference(session, reference=reference, limit=200))
        known = rows.taken([row.row_id for row in found])
        strangers = [row for row in found if row.row_id not in known]
        found += _later_rows(adapter, session, strangers)
        for row in found:
            giving.check_moment(row.recorded_at)
        rows.operations_of(session, found)


def _later_rows(
    adapter: LegacyAdapter, session: sessions.Session, strangers: Sequence[HistoryRow]
) -> list[HistoryRow]:
    """What came on the same accounts after these rows, which nobody knew yet: what was cancelled of them
    through a procedure can be cancelled no more."""
    if Feature.HISTORY not in adapter.features:
        return []
    first = {row.account_number: row.row_id for row in reversed(strangers)}
    found: list[HistoryRow] = []
    for account_number, row_id in first.items():
        found += adapter.rows_after(
            session, row_id=row_id, limit=_LATER_ROWS_READ, account_number=account_number
        )
    shown = {row.row_id for row in strangers}
    return [row for row in found if row.row_id not in shown]


def _cut(
    found: Sequence[Answer],
    page_size: int,
    position: list[str] | None,
    backwards: bool,
    *,
    key: Callable[[Answer], list[str]],
) -> tuple[list[Answer], str | None, str | None]:
    """`ledger.cursors.cut` for records in place of rows."""
    wrapped: list[tuple[Any, ...]] = [(row,) for row in found]
    page, next_cursor, previous_cursor = cut(
        wrapped, page_size, position, backwards, key=lambda row: key(row[0])
    )
    return [row[0] for row in page], next_cursor, previous_cursor
