"""Which of the legacy's lots a row touched: as the row says, or as the legacy's order implies.

Nothing is refused here: a lot may be left with less than nothing, and what is missing is found out after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID, uuid5

from ledger.models import EntryKind
from legacy_bridge.records import LegacyLot

#: Points by lot, in the order of touching; always positive.
Moved: TypeAlias = Sequence[tuple[UUID, int]]

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
#: So near to its row a lot was granted by it.
_SAME_MOMENT: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of the legacy with the operation that it is. `points` is signed."""

    row_id: str
    operation_id: UUID
    entry_id: UUID
    kind: EntryKind
    points: int
    recorded_at: datetime
    reason_id: int | None
    cancels_id: UUID | None
    #: Lot, points and expiry; None where the legacy does not say.
    shares: Sequence[tuple[UUID, int, datetime | None]] | None
    #: The ledger decided it, or has posted it.
    is_here: bool


@dataclass(slots=True, kw_only=True)
class LegacyPoints:
    """What is left in a lot by what is known of it so far, and the least and the most that ever was."""

    left: int = 0
    #: What it is taken to have had before its first row.
    seeded: int = 0
    lowest: int = 0
    highest: int = 0
    earned_at: datetime = _LONG_AGO
    expires_at: datetime | None = None
    is_granted: bool = False
    is_touched: bool = False

    def move(self, signed: int) -> None:
        self.left += signed
        self.lowest = min(self.lowest, self.left)
        self.highest = max(self.highest, self.left)
        self.is_touched = True

    @property
    def there(self) -> int:
        return self.left + self.seeded

    def is_live(self, at: datetime) -> bool:
        return self.expires_at is None or at < self.expires_at


class Sharing:
    """The lots of one account while its rows pass by in order."""

    def __init__(
        self,
        *,
        lines: Sequence[Line],
        lots: Mapping[UUID, LegacyLot],
        held: Mapping[UUID, LegacyPoints],
        takes_oldest_first: bool,
        moved_before: Mapping[UUID, Moved],
    ) -> None:
        self.points: dict[UUID, LegacyPoints] = dict(held)
        self.moved: dict[UUID, Moved] = {}
        self.inferred: list[UUID] = []
        self._lots = lots
        self._held = held
        self._takes_oldest_first = takes_oldest_first
        self._moved_before = moved_before
        self._given_back: dict[UUID, int] = {}
        #: Lots that no row names: one of them may be what a row that names none granted.
        named = {share[0] for line in lines for share in line.shares or ()}
        self._unnamed = {lot: kept for lot, kept in lots.items() if lot not in named and lot not in held}
        if any(line.shares is None for line in lines):
            self._seed_ungranted(lines)

    def _seed_ungranted(self, lines: Sequence[Line]) -> None:
        """Where rows do not say their lots, a lot that no row can have granted was there from the first."""
        grants = [line for line in lines if line.kind is EntryKind.EARN and not line.is_here]
        free = dict(self._unnamed)
        for line in grants:
            lot = _granted_by(line, free)
            if lot is not None:
                del free[lot]
        for lot, kept in free.items():
            self.points[lot] = LegacyPoints(
                seeded=max(kept.points, kept.remaining, 0),
                earned_at=kept.earned_at,
                expires_at=kept.expires_at,
            )

    def resolve(self, line: Line) -> None:
        """Note which lots a row moved; all of its points, whatever the row says of lots."""
        if line.is_here or not line.points:
            return
        sign = 1 if line.points > 0 else -1
        missing = abs(line.points)
        moved: list[tuple[UUID, int]] = []
        for lot, points, expires_at in line.shares or ():
            part = min(points, missing)
            if part > 0:
                self._known(lot, line, expires_at)
                moved.append((lot, part))
                missing -= part
                self._move(lot, sign * part, line)
        if missing:
            if line.shares is None or line.kind is not EntryKind.EARN:
                self.inferred.append(line.operation_id)
            for lot, part in self._guess(line, missing):
                moved.append((lot, part))
                self._move(lot, sign * part, line)
        if line.cancels_id is not None:
            self._given_back[line.cancels_id] = self._given_back.get(line.cancels_id, 0) + abs(line.points)
        self.moved[line.operation_id] = moved

    def _move(self, lot: UUID, signed: int, line: Line) -> None:
        points = self.points[lot]
        if signed > 0 and not points.is_touched and lot not in self._held:
            points.is_granted = line.kind in (EntryKind.EARN, EntryKind.ADJUST)
        points.move(signed)

    def _known(self, lot: UUID, line: Line, expires_at: datetime | None) -> LegacyPoints:
        found = self.points.get(lot)
        if found is None:
            kept = self._lots.get(lot)
            found = self.points[lot] = LegacyPoints(
                earned_at=kept.earned_at if kept else line.recorded_at,
                expires_at=kept.expires_at if kept else expires_at,
            )
        return found

    # --- guessing -----------------------------------------------------------------------------------
    def _guess(self, line: Line, points: int) -> Iterator[tuple[UUID, int]]:
        """Lots for `points` of a row that names none, or not enough."""
        match line.kind:
            case EntryKind.EARN:
                lot = _granted_by(line, self._unnamed)
                if lot is None:
                    lot = uuid5(line.entry_id, "lot")
                else:
                    del self._unnamed[lot]
                self._known(lot, line, None)
                yield lot, points
                return
            case EntryKind.SPEND_CANCEL if line.cancels_id is not None:
                source = self._given_back_to(line.cancels_id)
            case EntryKind.SPEND_CANCEL:
                source = self._with_room(line)
            case _ if line.points > 0:
                source = iter(())
            case EntryKind.EARN_CANCEL if line.cancels_id is not None:
                source = self._left_of(self._moved_by(line.cancels_id), line)
            case EntryKind.EXPIRE:
                source = self._lapsed(line)
            case _:
                source = self._live(line)
        # What is given out is moved before the next is asked for: the order is that of before.
        for lot, most in list(source):
            part = min(most, points)
            if part > 0:
                yield lot, part
                points -= part
            if not points:
                return
        own = uuid5(line.entry_id, "lot" if line.points > 0 else "missing")
        self._known(own, line, None)
        yield own, points

    def _moved_by(self, operation_id: UUID) -> Moved:
        return self.moved.get(operation_id) or self._moved_before.get(operation_id, ())

    def _given_back_to(self, cancelled_id: UUID) -> Iterator[tuple[UUID, int]]:
        """The lots of a spend in the reverse order of taking, without what was given back before."""
        before = self._given_back.get(cancelled_id, 0)
        for lot, points in reversed(self._moved_by(cancelled_id)):
            gone = min(before, points)
            before -= gone
            if lot in self.points:
                yield lot, points - gone

    def _left_of(self, moved: Moved, line: Line) -> Iterator[tuple[UUID, int]]:
        for lot, _ in moved:
            if lot in self.points:
                yield lot, max(0, self.points[lot].there)
        yield from self._live(line)

    def _lapsed(self, line: Line) -> Iterator[tuple[UUID, int]]:
        for lot, points in self._in_order():
            if points.there > 0 and not points.is_live(line.recorded_at):
                yield lot, points.there

    def _live(self, line: Line) -> Iterator[tuple[UUID, int]]:
        for lot, points in self._in_order():
            if points.there > 0 and points.is_live(line.recorded_at):
                yield lot, points.there

    def _with_room(self, line: Line) -> Iterator[tuple[UUID, int]]:
        """What was taken last has most room: nobody knows which spend was cancelled."""
        for lot, points in reversed(self._in_order()):
            kept = self._lots.get(lot)
            if kept is not None and points.is_live(line.recorded_at):
                yield lot, max(0, kept.points - points.there)

    def _in_order(self) -> list[tuple[UUID, LegacyPoints]]:
        def place(item: tuple[UUID, LegacyPoints]) -> tuple[datetime, datetime, UUID]:
            lot, points = item
            first = _LONG_AGO if self._takes_oldest_first else points.expires_at or _NEVER
            return first, points.earned_at, lot

        return sorted(self.points.items(), key=place)


def _granted_by(line: Line, lots: Mapping[UUID, LegacyLot]) -> UUID | None:
    """The lot that a row which names none granted: of its points, and of its moment."""
    return next(
        (
            lot
            for lot, kept in lots.items()
            if kept.points == line.points and abs(kept.earned_at - line.recorded_at) < _SAME_MOMENT
        ),
        None,
    )
