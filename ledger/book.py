"""An account while operations on it are decided: pure state, filled under its lock.

`Book` knows the lots of one account in spending order, or the first of them (its prefix) when
there are many, so that deciding costs the same however many lots are open. A rule that needs more
than the prefix raises `NeedsAllLots`, and the caller starts again with all of them.
"""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ledger.allocation import LotState, Share, take, total
from ledger.bounds import SpendingOrder
from ledger.identifiers import uuid7
from ledger.posting import (
    AccountRow,
    AllocationRow,
    DebtRow,
    EntryRow,
    LotRow,
    OpenLotRow,
    Posting,
)


class NeedsAllLots(Exception):
    """The prefix was too short to decide."""

    def __init__(self, *, account_number: str) -> None:
        super().__init__(account_number)
        self.account_number = account_number


@dataclass(slots=True, kw_only=True)
class Book:
    id: int
    account_number: str
    status: str
    sequence: int
    balance: int
    outstanding_debt: int
    next_expiry_at: datetime | None
    last_recorded_at: datetime
    #: Open lots in spending order: all of them, or a prefix.
    lots: list[LotState] = field(default_factory=list)
    has_all_lots: bool = True
    order: SpendingOrder = SpendingOrder.SOONEST_EXPIRY
    #: Every lot that was touched, by id, wherever it stands in the order.
    touched: dict[UUID, LotState] = field(default_factory=dict)

    def take(self, *, points: int, at: datetime) -> list[Share]:
        """Take up to `points` in spending order; fewer only when the account has no more.

        Raises NeedsAllLots when the prefix did not suffice.
        """
        shares = take(lots=self.lots, points=points, at=at)
        if total(shares) < points and not self.has_all_lots:
            raise NeedsAllLots(account_number=self.account_number)
        for share in shares:
            self.touched[share.lot.id] = share.lot
        return shares

    def undo(self, shares: list[Share]) -> None:
        """Let `shares` go again: what was refused leaves no trace."""
        for share in shares:
            share.lot.remaining += share.points

    def take_from(self, *, lots: Iterable[LotState], points: int, at: datetime) -> list[Share]:
        """Take up to `points` from just these lots of the account."""
        shares = take(lots=lots, points=points, at=at)
        for share in shares:
            self.touched[share.lot.id] = share.lot
        return shares

    def known(self, lot: LotState) -> LotState:
        """The one state of `lot` in this book: a lot read a second time must not count twice."""
        known = self.touched.get(lot.id) or next((held for held in self.lots if held.id == lot.id), lot)
        known.reason_id, known.policy_id = lot.reason_id, lot.policy_id
        return known

    def put_back(self, *, lot: LotState, points: int) -> Share:
        """Give `points` back to `lot`, which may have been used up before."""
        if lot.remaining == 0 and all(candidate is not lot for candidate in self.lots):
            self._insert(lot)
        lot.remaining += points
        self.touched[lot.id] = lot
        return Share(lot, points)

    def new_lot(
        self,
        *,
        points: int,
        earned_at: datetime,
        expires_at: datetime | None,
        reason_id: int | None,
        policy_id: int | None,
    ) -> LotState:
        """A lot of this account that was not there before, still to be granted."""
        return LotState(
            id=uuid7(),
            account_id=self.id,
            points=points,
            remaining=points,
            earned_at=earned_at,
            expires_at=expires_at,
            reason_id=reason_id,
            policy_id=policy_id,
        )

    def grant(self, *, lot: LotState) -> Share:
        """A new lot, with all its points remaining."""
        self._insert(lot)
        self.touched[lot.id] = lot
        return Share(lot, lot.points)

    def _insert(self, lot: LotState) -> None:
        if self.order is SpendingOrder.OLDEST:
            # Then all lots are here.
            insort(self.lots, lot, key=lambda candidate: candidate.order_of_age)
            return
        # Behind the end of a prefix there are lots that were not read: nothing may stand there.
        if self.has_all_lots or (self.lots and lot.spending_order < self.lots[-1].spending_order):
            insort(self.lots, lot, key=lambda candidate: candidate.spending_order)

    def lapsed(self, *, at: datetime) -> list[LotState]:
        """Lots with points left whose instant has come. Raises NeedsAllLots."""
        if self.next_expiry_at is None or at < self.next_expiry_at:
            return []
        lots = [lot for lot in self.lots if lot.remaining and not lot.is_live(at=at)]
        if self.order is SpendingOrder.OLDEST:
            return sorted(lots, key=lambda lot: lot.spending_order)
        if lots and lots[-1] is self.lots[-1] and not self.has_all_lots:
            raise NeedsAllLots(account_number=self.account_number)
        return lots

    def account_row(self) -> AccountRow:
        """The counters as they are after all that was decided."""
        # A prefix that is used up still bounds what was not read: nothing there lapses sooner.
        bound = None if self.has_all_lots or not self.lots else self.lots[-1].expires_at
        if self.order is SpendingOrder.OLDEST:
            lapsing = [lot.expires_at for lot in self.lots if lot.remaining and lot.expires_at]
            next_expiry_at = min(lapsing, default=None)
        else:
            next_expiry_at = next((lot.expires_at for lot in self.lots if lot.remaining), bound)
        return AccountRow(
            id=self.id,
            sequence=self.sequence,
            balance=self.balance,
            outstanding_debt=self.outstanding_debt,
            next_expiry_at=next_expiry_at,
            last_recorded_at=self.last_recorded_at,
        )


class Journal:
    """Collects the rows of a transaction while its operations are decided."""

    def __init__(self) -> None:
        self.posting = Posting()
        self.changed_books: dict[int, Book] = {}

    def post_entry(
        self,
        *,
        book: Book,
        operation_id: UUID,
        kind: str,
        sign: int,
        shares: list[Share],
        recorded_at: datetime,
    ) -> EntryRow:
        """One entry with its allocations; `sign` is +1 or -1. The lots were changed already."""
        return self.post_signed(
            book=book,
            operation_id=operation_id,
            kind=kind,
            allocations=[(share.lot.id, sign * share.points) for share in shares],
            recorded_at=recorded_at,
        )

    def post_signed(
        self,
        *,
        book: Book,
        operation_id: UUID,
        kind: str,
        allocations: list[tuple[UUID, int]],
        recorded_at: datetime,
        entry_id: UUID | None = None,
    ) -> EntryRow:
        points = sum(points for _, points in allocations)
        book.sequence += 1
        book.balance += points
        # What another side decided may come with an earlier instant.
        book.last_recorded_at = max(recorded_at, book.last_recorded_at)
        self.changed_books[book.id] = book
        entry = EntryRow(
            id=entry_id or uuid7(),
            account_id=book.id,
            sequence=book.sequence,
            operation_id=operation_id,
            kind=kind,
            points=points,
            balance_after=book.balance,
            recorded_at=recorded_at,
        )
        self.posting.entries.append(entry)
        self.posting.allocations.extend(
            AllocationRow(entry_id=entry.id, position=position, lot_id=lot_id, points=signed)
            for position, (lot_id, signed) in enumerate(allocations)
        )
        return entry

    def add_lot(self, *, lot: LotState, entry_id: UUID, origin_id: UUID | None = None) -> None:
        """The immutable row of a lot that an entry granted."""
        if lot.reason_id is None or lot.policy_id is None:
            raise ValueError(f"the policy of lot {lot.id} was not read")
        self.posting.lots.append(
            LotRow(
                id=lot.id,
                account_id=lot.account_id,
                entry_id=entry_id,
                points=lot.points,
                earned_at=lot.earned_at,
                expires_at=lot.expires_at,
                reason_id=lot.reason_id,
                policy_id=lot.policy_id,
                origin_id=origin_id,
            )
        )

    def add_debt(
        self, *, book: Book, operation_id: UUID, entry_id: UUID | None, points: int, recorded_at: datetime
    ) -> None:
        """Incur (positive points, no entry) or settle (negative points, its clawback entry)."""
        book.outstanding_debt += points
        self.changed_books[book.id] = book
        self.posting.debts.append(
            DebtRow(
                id=uuid7(),
                account_id=book.id,
                operation_id=operation_id,
                entry_id=entry_id,
                points=points,
                recorded_at=recorded_at,
            )
        )

    def close(self) -> Posting:
        """Add the projections as they stand now, and return everything to be written."""
        new_lots = {lot.id for lot in self.posting.lots}
        for book in self.changed_books.values():
            self.posting.accounts.append(book.account_row())
            for lot in book.touched.values():
                if lot.remaining:
                    self.posting.open_lots.append(OpenLotRow.of(lot))
                elif lot.id not in new_lots:
                    self.posting.used_up_lots.append(lot.id)
        return self.posting
