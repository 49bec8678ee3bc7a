"""Posting what another side decided: facts, not commands.

The operations exist already (`ledger.operations.elsewhere`). Their entries are posted at the decider's
instant and over the lots that it touched, whatever the ledger's own rules would have said. Only what cannot
be true here, because the ledger stands differently, is not posted: `Diverged` says why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from django.db import transaction

from ledger import locks, policies
from ledger.allocation import LotState, Share, give_back, take
from ledger.balances import BalanceChange, announce
from ledger.book import Book, Journal
from ledger.bounds import SpendingOrder
from ledger.database import fetch_all
from ledger.models import EntryKind
from ledger.policies import ReasonBook

#: The reason of lots for which the other side knows none of ours.
_REASON_OF_UNKNOWN: Final = "CORRECTION"

_LOTS: Final = """
SELECT lot.id, lot.account_id, lot.points, coalesce(open.remaining, 0), lot.earned_at, lot.expires_at,
    lot.reason_id, lot.policy_id
FROM ledger_lot AS lot LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
WHERE lot.id = ANY (%s::uuid[])
"""
# What a repair put beside a lot, for the other side it is still that lot's.
_BESIDE: Final = "SELECT id FROM ledger_lot WHERE origin_id = %s AND account_id = %s ORDER BY earned_at, id"
_ALL_OPEN_LOTS: Final = """
SELECT open.lot_id, open.account_id, open.points, open.remaining, open.earned_at, open.expires_at,
    lot.reason_id, lot.policy_id
FROM ledger_open_lot AS open JOIN ledger_account AS account ON account.id = open.account_id
JOIN ledger_lot AS lot ON lot.id = open.lot_id
WHERE account.account_number = ANY (%s)
"""
_ALLOCATIONS_OF: Final = """
SELECT entry.operation_id, allocation.lot_id, abs(allocation.points)
FROM ledger_entry AS entry JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
WHERE entry.operation_id = ANY (%s::uuid[]) AND entry.kind IN ('earn', 'spend')
ORDER BY entry.operation_id, entry.sequence, allocation.position
"""
_GIVEN_BACK: Final = """
SELECT operation.cancels_id, sum(entry.points)::bigint
FROM ledger_operation AS operation JOIN ledger_entry AS entry ON entry.operation_id = operation.id
WHERE operation.cancels_id = ANY (%s::uuid[]) AND entry.kind = 'spend_cancel'
GROUP BY operation.cancels_id
"""
_POSTED: Final = "SELECT DISTINCT operation_id FROM ledger_entry WHERE operation_id = ANY (%s::uuid[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactShare:
    """Points of one lot that were granted, taken or given back. Always positive."""

    lot: UUID
    points: int
    expires_at: datetime | None
    #: The lot comes into being with this fact, whatever its kind; in place of `origin`, where that is given.
    is_new: bool = False
    origin: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One movement that another side decided. `points` is signed."""

    operation_id: UUID
    entry_id: UUID
    kind: EntryKind
    account_number: str
    points: int
    recorded_at: datetime
    reason_id: int | None = None
    #: The operation that a cancel is of, where that is known.
    cancels_id: UUID | None = None
    #: None where the other side does not say which lots it touched: then they are inferred.
    shares: Sequence[FactShare] | None = None
    #: Of an earn without shares: when its points lapse.
    expires_at: datetime | None = None


class Diverged(Exception):
    """The ledger stands differently: it cannot follow. Nothing of this fact was posted."""


@dataclass(slots=True, kw_only=True)
class Followed:
    """What became of the facts: posted here, posted before, and those that stopped their account."""

    posted: list[UUID] = field(default_factory=list)
    known: list[UUID] = field(default_factory=list)
    diverged: dict[UUID, Diverged] = field(default_factory=dict)
    #: Posted, though the lots that it touched are a guess.
    inferred: list[UUID] = field(default_factory=list)
    #: Posted, though the ledger's own rules would have refused it: what they say.
    against_rules: dict[UUID, str] = field(default_factory=dict)
    #: Posted over other lots than the decider's, for those do not stand so here: how they do.
    other_lots: dict[UUID, str] = field(default_factory=dict)


def post(facts: Sequence[Fact], *, order: SpendingOrder = SpendingOrder.SOONEST_EXPIRY) -> Followed:
    """Post `facts`, in order per account, in the caller's transaction, in one statement. Of an account,
    nothing after a fact that diverged. Raises AccountBusy and what the database refuses."""
    followed = Followed()
    known = posted([fact.operation_id for fact in facts])
    desk = _Desk(facts, order=order)
    stopped: set[str] = set()
    for fact in facts:
        if fact.account_number in stopped:
            continue
        if fact.operation_id in known:
            followed.known.append(fact.operation_id)
            continue
        try:
            is_inferred = desk.post(fact)
        except Diverged as diverged:
            followed.diverged[fact.operation_id] = diverged
            stopped.add(fact.account_number)
            continue
        followed.posted.append(fact.operation_id)
        if is_inferred:
            followed.inferred.append(fact.operation_id)
    followed.against_rules, followed.other_lots = desk.against_rules, desk.other_lots
    desk.write()
    return followed


def posted(operation_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these operations that have entries here."""
    return {row[0] for row in fetch_all(_POSTED, [list(operation_ids)])} if operation_ids else set()


class _Desk:
    """The accounts and lots of some facts, locked, and the journal of what they become."""

    def __init__(self, facts: Sequence[Fact], *, order: SpendingOrder) -> None:
        self.order = order
        self.journal = Journal()
        self.reasons: ReasonBook = policies.current()
        self.books = _lock(facts)
        self.lots = {lot.id: lot for lot in self._named_lots(facts)}
        #: Of a lot that came into being to repair another: which.
        self.origins: dict[UUID, UUID] = {}
        self.against_rules: dict[UUID, str] = {}
        self.other_lots: dict[UUID, str] = {}
        self.facts = facts
        #: Accounts of which all open lots are here.
        self.whole: set[str] = set()
        #: By operation: the lots that it took or granted, in order, and what was given back of them.
        self.taken: dict[UUID, list[tuple[UUID, int]]] = {}
        self.taken_here: set[UUID] = set()
        self.given_back: dict[UUID, int] = {}
        self._load_all([fact for fact in facts if fact.shares is None])
        self.next_expiries = {book.id: book.next_expiry_at for book in self.books.values()}

    def _named_lots(self, facts: Sequence[Fact]) -> Iterable[LotState]:
        shares = [share for fact in facts for share in fact.shares or ()]
        names = {share.lot for share in shares} | {share.origin for share in shares if share.origin}
        return map(_lot, fetch_all(_LOTS, [list(names)])) if names else ()

    def _load_all(self, facts: Iterable[Fact]) -> None:
        """Every open lot of the accounts of these facts, and what their targets touched: for facts that do
        not say which lots, or say such as are not here."""
        facts = [fact for fact in facts if fact.account_number not in self.whole]
        if not facts:
            return
        numbers = {fact.account_number for fact in facts}
        self.whole |= numbers
        for lot in map(_lot, fetch_all(_ALL_OPEN_LOTS, [list(numbers)])):
            self.lots.setdefault(lot.id, lot)
        targets = [
            fact.cancels_id
            for fact in self.facts
            if fact.cancels_id is not None and fact.account_number in numbers
        ]
        for operation_id, lot_id, points in fetch_all(_ALLOCATIONS_OF, [targets]):
            if operation_id not in self.taken_here:
                self.taken.setdefault(operation_id, []).append((lot_id, points))
        for operation_id, points in fetch_all(_GIVEN_BACK, [targets]):
            self.given_back[operation_id] = self.given_back.get(operation_id, 0) + points
        missing = {lot for taken in self.taken.values() for lot, _ in taken} - self.lots.keys()
        for lot in map(_lot, fetch_all(_LOTS, [list(missing)])):
            self.lots[lot.id] = lot

    def post(self, fact: Fact) -> bool:
        """Post one fact; whether its lots were inferred. Raises Diverged, with nothing of it done."""
        book = self.books[fact.account_number]
        is_inferred = fact.shares is None
        try:
            moves = self._moved(self._moves(fact, book))
        except Diverged as diverged:
            if is_inferred or (fact.points > 0 and fact.kind is not EntryKind.SPEND_CANCEL):
                raise
            # The points are here, in other lots: then those give way, and somebody should know.
            self._load_all([fact])
            moves = self._moved(self._inferred(fact, book))
            self.other_lots[fact.operation_id] = str(diverged)
            is_inferred = True
        if not moves:
            # An expiry of what has lapsed here already.
            return False
        granted = [lot for lot, _ in moves if lot.id not in self.lots]
        for lot, _ in moves:
            self.lots[lot.id] = book.touched[lot.id] = lot
        entry = self.journal.post_signed(
            book=book,
            operation_id=fact.operation_id,
            kind=fact.kind,
            allocations=[(lot.id, signed) for lot, signed in moves],
            recorded_at=fact.recorded_at,
            entry_id=fact.entry_id,
        )
        for lot in granted:
            self.journal.add_lot(lot=lot, entry_id=entry.id, origin_id=self.origins.get(lot.id))
        for lot, signed in moves:
            if signed > 0:
                self._lapses(book, lot.expires_at)
        self._remember(fact, moves)
        return is_inferred and fact.kind is not EntryKind.EARN

    def _moved(self, moves: list[tuple[LotState, int]]) -> list[tuple[LotState, int]]:
        """Move the points of these lots. Raises Diverged, with none of them moved."""
        before = [(lot, lot.remaining) for lot, _ in moves]
        try:
            for lot, signed in moves:
                _move(lot, signed)
        except Diverged:
            for lot, remaining in reversed(before):
                lot.remaining = remaining
            raise
        return moves

    def _remember(self, fact: Fact, moves: list[tuple[LotState, int]]) -> None:
        """What a later cancel among the facts will ask for."""
        if fact.kind in (EntryKind.EARN, EntryKind.SPEND):
            self.taken[fact.operation_id] = [(lot.id, abs(signed)) for lot, signed in moves]
            self.taken_here.add(fact.operation_id)
        elif fact.kind is EntryKind.SPEND_CANCEL and fact.cancels_id is not None:
            given = sum(signed for _, signed in moves)
            self.given_back[fact.cancels_id] = self.given_back.get(fact.cancels_id, 0) + given

    def _lapses(self, book: Book, expires_at: datetime | None) -> None:
        known = self.next_expiries[book.id]
        if expires_at is not None and (known is None or expires_at < known):
            self.next_expiries[book.id] = expires_at

    def _moves(self, fact: Fact, book: Book) -> list[tuple[LotState, int]]:
        """Which lots, and by how many points. Raises Diverged."""
        sign = 1 if fact.points > 0 else -1
        if fact.shares is None:
            return self._inferred(fact, book)
        moves = []
        for share in fact.shares:
            lot = self.lots.get(share.lot)
            points = share.points
            if lot is None:
                if sign < 0 or (fact.kind is EntryKind.SPEND_CANCEL and not share.is_new):
                    raise Diverged(f"There is no lot {share.lot}.")
                lot = self._new_lot(fact, book, lot_id=share.lot, points=points, expires_at=share.expires_at)
                if share.origin is not None:
                    self._descend(lot, share.origin)
            elif lot.account_id != book.id:
                raise Diverged(f"Lot {share.lot} is of another account.")
            elif fact.kind is EntryKind.EARN:
                raise Diverged(f"Lot {share.lot} was granted before.")
            elif fact.kind is EntryKind.EXPIRE:
                points = min(points, lot.remaining)
            elif fact.kind is EntryKind.ADJUST and lot.remaining + sign * points > lot.points:
                lot = self._repairing(fact, book, lot, points=points)
            elif fact.kind is EntryKind.SPEND and not lot.is_live(at=fact.recorded_at):
                self.against_rules[fact.operation_id] = f"Lot {lot.id} had lapsed when it was spent."
            moves += self._parts(fact, lot, sign * points)
        if sum(share.points for share in fact.shares) != abs(fact.points):
            raise Diverged("The lots that were touched do not add up to the points.")
        return moves

    def _parts(self, fact: Fact, lot: LotState, signed: int) -> list[tuple[LotState, int]]:
        """A lot, and where its points do not fit what stands here, the lots beside it that repairs made."""
        after = lot.remaining + signed
        if 0 <= after <= lot.points or fact.kind in (EntryKind.EARN, EntryKind.ADJUST):
            return [(lot, signed)] if signed else []
        if lot.id not in self.lots:
            return [(lot, signed)]
        beside = [row[0] for row in fetch_all(_BESIDE, [lot.id, lot.account_id])]
        missing = set(beside) - self.lots.keys()
        self.lots.update((row[0], _lot(row)) for row in fetch_all(_LOTS, [list(missing)]))
        parts, whole = [], signed
        for each in [lot, *(self.lots[lot_id] for lot_id in beside)]:
            room = -each.remaining if signed < 0 else each.points - each.remaining
            part = max(room, signed) if signed < 0 else min(room, signed)
            if part:
                parts.append((each, part))
                signed -= part
        # What does not fit at all is refused where it is moved.
        return [(lot, whole)] if signed else parts

    def _descend(self, lot: LotState, origin_id: UUID) -> None:
        origin = self.lots.get(origin_id)
        if origin is None or origin.account_id != lot.account_id:
            raise Diverged(f"There is no lot {origin_id} on this account.")
        self.origins[lot.id] = origin_id
        lot.reason_id, lot.policy_id = origin.reason_id, origin.policy_id

    def _inferred(self, fact: Fact, book: Book) -> list[tuple[LotState, int]]:
        points = abs(fact.points)
        match fact.kind:
            case EntryKind.SPEND_CANCEL if fact.cancels_id in self.taken:
                return self._give_back(fact.cancels_id, points)
            case EntryKind.EARN_CANCEL if fact.cancels_id in self.taken:
                lots = [self.lots[lot_id] for lot_id, _ in self.taken[fact.cancels_id]]
                return self._take(book, lots, fact)
            case EntryKind.EXPIRE:
                lapsed = [
                    lot
                    for lot in self._lots_of(book)
                    if lot.remaining and not lot.is_live(at=fact.recorded_at)
                ]
                moves = []
                for lot in lapsed:
                    gone = min(lot.remaining, points)
                    points -= gone
                    if gone:
                        moves.append((lot, -gone))
                return moves
            case _ if fact.points > 0:
                lot_id = uuid5(fact.entry_id, "lot")
                expires_at = fact.expires_at
                return [
                    (self._new_lot(fact, book, lot_id=lot_id, points=points, expires_at=expires_at), points)
                ]
            case _:
                return self._take(book, self._lots_of(book), fact)

    def _give_back(self, operation_id: UUID, points: int) -> list[tuple[LotState, int]]:
        try:
            given = give_back(
                taken=self.taken[operation_id],
                already_given_back=self.given_back.get(operation_id, 0),
                points=points,
            )
        except ValueError as error:
            raise Diverged(f"More would be given back than was taken: {error}.") from error
        return [(self.lots[lot_id], share) for lot_id, share in given]

    def _take(self, book: Book, lots: Iterable[LotState], fact: Fact) -> list[tuple[LotState, int]]:
        copies = [
            LotState(
                id=lot.id,
                account_id=lot.account_id,
                points=lot.points,
                remaining=lot.remaining,
                earned_at=lot.earned_at,
                expires_at=lot.expires_at,
            )
            for lot in lots
        ]
        shares: list[Share] = take(lots=copies, points=-fact.points, at=fact.recorded_at)
        found = sum(share.points for share in shares)
        if found < -fact.points:
            raise Diverged(f"{-fact.points} points were taken, and {found} are here.")
        return [(self.lots[share.lot.id], -share.points) for share in shares]

    def _lots_of(self, book: Book) -> list[LotState]:
        lots = [lot for lot in self.lots.values() if lot.account_id == book.id]
        if self.order is SpendingOrder.OLDEST:
            return sorted(lots, key=lambda lot: lot.order_of_age)
        return sorted(lots, key=lambda lot: lot.spending_order)

    def _new_lot(
        self, fact: Fact, book: Book, *, lot_id: UUID, points: int, expires_at: datetime | None
    ) -> LotState:
        found = None
        if fact.reason_id is not None:
            found = self.reasons.reasons.get(self.reasons.codes[fact.reason_id])
        policy = (found or self.reasons.reasons[_REASON_OF_UNKNOWN])[1]
        return LotState(
            id=lot_id,
            account_id=book.id,
            points=points,
            remaining=0,
            earned_at=fact.recorded_at,
            expires_at=expires_at,
            reason_id=policy.reason_id,
            policy_id=policy.id,
        )

    def _repairing(self, fact: Fact, book: Book, lot: LotState, *, points: int) -> LotState:
        """A lot never holds more than it granted: what a repair brings beyond that is a lot of its own."""
        own = self._new_lot(
            fact, book, lot_id=uuid5(fact.entry_id, str(lot.id)), points=points, expires_at=lot.expires_at
        )
        self._descend(own, lot.id)
        return own

    def write(self) -> None:
        posting = self.journal.close()
        for row in posting.accounts:
            row.next_expiry_at = self.next_expiries[row.id]
        if not posting.entries:
            return
        posting.write()
        changes = [
            BalanceChange(account_id=book.id, account_number=book.account_number, sequence=book.sequence)
            for book in self.journal.changed_books.values()
        ]
        transaction.on_commit(lambda: announce(changes), robust=True)


def _lock(facts: Sequence[Fact]) -> dict[str, Book]:
    """The accounts of `facts`, opened where they are missing, locked in id order."""
    first: dict[str, datetime] = {}
    for fact in facts:
        first[fact.account_number] = min(fact.recorded_at, first.get(fact.account_number, fact.recorded_at))
    books = locks.books(fetch_all(*locks.account_locks(first)))
    missing = [number for number in first if number not in books]
    if missing:
        locks.open_accounts_at({number: first[number] for number in missing})
        books = locks.books(fetch_all(*locks.account_locks(first)))
    return books


def _lot(row: tuple[Any, ...]) -> LotState:
    return LotState(
        id=row[0],
        account_id=row[1],
        points=row[2],
        remaining=row[3],
        earned_at=row[4],
        expires_at=row[5],
        reason_id=row[6],
        policy_id=row[7],
    )


def _move(lot: LotState, signed: int) -> None:
    after = lot.remaining + signed
    if after < 0:
        raise Diverged(f"Lot {lot.id} has {lot.remaining} points left, and {-signed} were taken.")
    if after > lot.points:
        raise Diverged(f"Lot {lot.id} of {lot.points} points would hold {after}.")
    lot.remaining = after
