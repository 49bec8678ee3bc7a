"""What the ledger must post so that an account ends where the legacy stands: rows in, facts out, no database.

The rows are followed lot by lot. Where they do not lead to what the legacy keeps in its lots, or pass through
what cannot be (more taken than was there), the rest is a correction: one adjust for the lot. It stands before
the first row that needs it, or at the end. Only a lot that first had too little by its rows and then too much
gets two (docs/adr/0025-migration.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from cutover.migrating.sharing import LegacyPoints, Line, Moved, Sharing
from ledger.models import EntryKind
from ledger.operations.following import Fact, FactShare
from legacy_bridge.records import LegacyLot

#: Times that are nearer are the same, kept with fewer digits.
_SAME_MOMENT: Final = timedelta(seconds=1)


@dataclass(slots=True, kw_only=True)
class HeldLot:
    """A lot of the ledger, and what remains in it while the rows are followed."""

    id: UUID
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    origin_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """An adjust that no row of the legacy stands for. `points` is signed."""

    operation_id: UUID
    key: str
    points: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexplained:
    """A lot whose rows do not lead to what the legacy keeps in it."""

    lot: str
    legacy: int
    history: int
    why: str


@dataclass(slots=True, kw_only=True)
class Replayed:
    facts: list[Fact] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    unexplained: list[Unexplained] = field(default_factory=list)
    #: Operations whose lots are a guess.
    inferred: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All that is known of one account, of one moment of the legacy."""

    number: str
    lines: Sequence[Line]
    #: Its lots in the ledger, and the number of its last entry there.
    held: Sequence[HeldLot]
    sequence: int
    #: The lots of the legacy by the ids that they have in the ledger; None where it does not list them, or
    #: where there are more rows to come before they say anything.
    lots: Mapping[UUID, LegacyLot] | None
    takes_oldest_first: bool
    #: What earlier operations moved, where a cancel of one does not say which lots it touches.
    moved_before: Mapping[UUID, Moved]


def replay(account: Account, *, reasons: Mapping[str, int], reason_id: int, now: datetime) -> Replayed:
    """The facts of an account, its corrections among them, in the order in which they are posted.

    `reason_id` is that of the corrections, `reasons` the ids of all others; `now` is when a correction is
    recorded that belongs to no moment of the history.
    """
    return _Replay(account, reasons=reasons, reason_id=reason_id, now=now).run()


class _Replay:
    def __init__(
        self, account: Account, *, reasons: Mapping[str, int], reason_id: int, now: datetime
    ) -> None:
        self.account = account
        self.reasons = reasons
        self.reason_id = reason_id
        self.now = now
        self.done = Replayed()
        #: By lot of the legacy: the lots of the ledger that hold its points, the first is its own.
        self.stacks: dict[UUID, list[HeldLot]] = {}
        by_id = {lot.id: lot for lot in account.held}
        for lot in account.held:
            top = lot
            while top.origin_id is not None and top.origin_id in by_id:
                top = by_id[top.origin_id]
            stack = self.stacks.setdefault(top.id, [])
            stack.insert(0, lot) if lot is top else stack.append(lot)
        self.sharing = Sharing(
            lines=account.lines,
            lots=account.lots or {},
            held={
                lot: LegacyPoints(
                    left=sum(each.remaining for each in stack),
                    earned_at=stack[0].earned_at,
                    expires_at=stack[0].expires_at,
                )
                for lot, stack in self.stacks.items()
            },
            takes_oldest_first=account.takes_oldest_first,
            moved_before=account.moved_before,
        )

    def run(self) -> Replayed:
        for line in self.account.lines:
            self.sharing.resolve(line)
        self.done.inferred = self.sharing.inferred
        openings, closings = self._corrections()
        for line in self.account.lines:
            if line.is_here or not line.points:
                continue
            moved = self.sharing.moved[line.operation_id]
            for lot, _ in moved:
                # A lot that is granted by a row has its own points first.
                if lot in openings and (line.points < 0 or not self.sharing.points[lot].is_granted):
                    self._open(lot, openings.pop(lot), before=line.recorded_at)
            self._post(line, moved)
        for lot, points in closings.items():
            self._close(lot, points)
        self._move_expiries()
        return self.done

    # --- what history does not explain --------------------------------------------------------------
    def _corrections(self) -> tuple[dict[UUID, tuple[int, int]], dict[UUID, int]]:
        """By lot: what it must get before its first row (as granted, and of that taken again), and what at
        the end."""
        openings: dict[UUID, tuple[int, int]] = {}
        closings: dict[UUID, int] = {}
        lots = self.account.lots
        for lot in dict.fromkeys([*self.sharing.points, *(lots or ())]):
            points = self.sharing.points.get(lot) or LegacyPoints()
            opening = max(0, -points.lowest)
            is_granted = lot in self.stacks or points.is_granted
            closing = 0
            if lots is not None:
                kept = lots.get(lot)
                rest = max(0, kept.remaining if kept else 0) - points.left
                if rest >= opening and (opening or (not is_granted and points.is_touched)):
                    opening = rest
                closing = rest - opening
                if rest or opening or (kept is not None and kept.remaining < 0):
                    self._note(lot, kept, points, opening)
            elif opening:
                self._note(lot, None, points, opening)
            # A lot that nothing granted must be granted whole before anything is given back to it.
            spare = max(0, points.highest) if not is_granted and points.is_touched else 0
            if opening or spare:
                openings[lot] = (opening + spare, spare)
            if closing:
                closings[lot] = closing
        return openings, closings

    def _note(self, lot: UUID, kept: LegacyLot | None, points: LegacyPoints, opening: int) -> None:
        if kept is None:
            why = "The legacy has no such lot, and its history touches it."
        elif kept.remaining < 0:
            why = "The legacy keeps less than nothing in the lot."
        elif opening and not points.is_granted:
            why = "No row of the history granted the lot."
        elif opening:
            why = "The history takes more from the lot than it had."
        else:
            why = "The history leads to another rest than the lot has."
        self.done.unexplained.append(
            Unexplained(
                lot=kept.lot_id if kept else str(lot),
                legacy=kept.remaining if kept else 0,
                history=points.left,
                why=why,
            )
        )

    def _open(self, lot: UUID, granted_and_spare: tuple[int, int], *, before: datetime) -> None:
        granted, spare = granted_and_spare
        kept = (self.account.lots or {}).get(lot)
        at = min(kept.earned_at, before) if kept else before
        self._correct(lot, granted, at=at)
        if spare:
            self._correct(lot, -spare, at=at)

    def _close(self, lot: UUID, points: int) -> None:
        self._correct(lot, points, at=self._moment_of(lot) if points > 0 else self.now)

    def _moment_of(self, lot: UUID) -> datetime:
        """When points came that nothing tells of: with their lot, or now, unless they would have lapsed."""
        kept = (self.account.lots or {}).get(lot)
        if kept is None:
            return self.now
        has_lapsed = kept.expires_at is not None and kept.expires_at <= self.now
        return kept.earned_at if lot not in self.stacks or has_lapsed else self.now

    def _correct(self, lot: UUID, points: int, *, at: datetime, anew: bool = False) -> None:
        """Post a correction of a lot; `anew` puts the points into a lot of their own beside it."""
        kept = (self.account.lots or {}).get(lot)
        name = kept.lot_id if kept else str(lot)
        # The number of the entry never comes again, and stays what it is when this is done anew.
        sequence = self.account.sequence + len(self.done.facts) + 1
        key = f"legacy:migration:{name[:80]}:{sequence}"
        operation_id = uuid5(lot, key)
        entry_id = uuid5(operation_id, "entry")
        expires_at = self._expiry_of(lot, kept)
        if points > 0:
            shares = self._given(lot, points, entry_id=entry_id, at=at, expires_at=expires_at, anew=anew)
        else:
            shares = self._taken(lot, -points)
        reason = self.reasons.get(kept.reason) if kept and kept.reason else None
        self.done.corrections.append(
            Correction(operation_id=operation_id, key=key, points=points, recorded_at=at)
        )
        self.done.facts.append(
            Fact(
                operation_id=operation_id,
                entry_id=entry_id,
                kind=EntryKind.ADJUST,
                account_number=self.account.number,
                points=points,
                recorded_at=at,
                reason_id=reason or self.reason_id,
                shares=shares,
            )
        )

    def _expiry_of(self, lot: UUID, kept: LegacyLot | None) -> datetime | None:
        if kept is not None:
            return kept.expires_at
        known = self.sharing.points.get(lot)
        return known.expires_at if known else None

    def _move_expiries(self) -> None:
        """A lot's expiry is never changed here: what the legacy lets lapse at another moment by now goes on
        in a lot of its own."""
        for lot, kept in (self.account.lots or {}).items():
            stack = self.stacks.get(lot)
            if stack is None or kept.remaining <= 0:
                continue
            late = [each for each in stack if each.remaining and not _same(each.expires_at, kept.expires_at)]
            points = sum(each.remaining for each in late)
            if not points:
                continue
            self.done.unexplained.append(
                Unexplained(
                    lot=kept.lot_id,
                    legacy=kept.remaining,
                    history=kept.remaining,
                    why="The lot lapses at another moment than it did.",
                )
            )
            self._correct(lot, -points, at=self.now)
            self._correct(lot, points, at=self._moment_of(lot), anew=True)

    # --- which lots of the ledger -------------------------------------------------------------------
    def _post(self, line: Line, moved: Moved) -> None:
        is_given = line.points > 0
        shares: list[FactShare] = []
        for lot, points in moved:
            if is_given:
                expires_at = self._expiry_of(lot, (self.account.lots or {}).get(lot))
                shares += self._given(
                    lot,
                    points,
                    entry_id=line.entry_id,
                    at=line.recorded_at,
                    expires_at=expires_at,
                    anew=line.kind is EntryKind.EARN,
                    is_earned=line.kind is EntryKind.EARN,
                )
            else:
                shares += self._taken(lot, points)
        self.done.facts.append(
            Fact(
                operation_id=line.operation_id,
                entry_id=line.entry_id,
                kind=line.kind,
                account_number=self.account.number,
                points=line.points,
                recorded_at=line.recorded_at,
                reason_id=line.reason_id,
                cancels_id=line.cancels_id,
                shares=shares,
            )
        )

    def _taken(self, lot: UUID, points: int) -> list[FactShare]:
        shares = []
        for held in self.stacks.get(lot, ()):
            part = min(held.remaining, points)
            if part:
                held.remaining -= part
                points -= part
                shares.append(FactShare(lot=held.id, points=part, expires_at=held.expires_at))
        if points:
            raise AssertionError(f"{points} points of lot {lot} are not there")
        return shares

    def _given(
        self,
        lot: UUID,
        points: int,
        *,
        entry_id: UUID,
        at: datetime,
        expires_at: datetime | None,
        anew: bool,
        is_earned: bool = False,
    ) -> list[FactShare]:
        stack = self.stacks.setdefault(lot, [])
        shares = []
        for held in () if anew else stack:
            part = min(held.points - held.remaining, points)
            if part:
                held.remaining += part
                points -= part
                shares.append(FactShare(lot=held.id, points=part, expires_at=held.expires_at))
        if points:
            own_id = uuid5(entry_id, str(lot)) if stack else lot
            # What an earn grants is nobody's rest.
            origin = stack[0].id if stack and not is_earned else None
            stack.append(
                HeldLot(
                    id=own_id,
                    points=points,
                    remaining=points,
                    earned_at=at,
                    expires_at=expires_at,
                    origin_id=origin,
                )
            )
            shares.append(
                FactShare(lot=own_id, points=points, expires_at=expires_at, is_new=True, origin=origin)
            )
        return shares


def _same(one: datetime | None, other: datetime | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) < _SAME_MOMENT
