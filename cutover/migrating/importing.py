"""Bringing accounts of the ledger to where the legacy stands: their rows, then what these do not explain.

An account that was never imported is brought from its first row, one that was from its last: so an import,
its continuation after a kill and a delta are the same. All that is written of a batch commits together, with
how far each account stands and how far the run came.

Reading is apart from writing, so that the next batch can be read while one is written: what was read is
brought only where the accounts still stand as they did then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.db import transaction

from cutover import intents, lots, mismatches, routes
from cutover.migrating import adopting, plain, reading, replaying
from cutover.migrating.reading import Batch
from cutover.migrating.replaying import HeldLot, Replayed
from cutover.migrating.sharing import Line, Moved
from cutover.mirroring import messages
from cutover.models import DEFAULT_COHORT, Difference, FoundBy
from ledger import clock, crash_points, policies
from ledger.clients import legacy_client_id
from ledger.database import fetch_all
from ledger.operations import elsewhere, following, histories
from ledger.operations.elsewhere import Adopted
from ledger.operations.histories import History
from legacy_bridge import configured
from legacy_bridge.records import LegacyLot
from legacy_bridge.sessions import Session

#: The reason of all corrections.
MIGRATION_DIFFERENCE: Final = "MIGRATION_DIFFERENCE"

_POSITIONS: Final = """
SELECT number, followed.position
FROM unnest(%s::text[]) AS number
LEFT JOIN LATERAL (
    -- Each by the index: as a join it may become a scan of all accounts, again for every batch.
    SELECT position FROM cutover_followed_account WHERE account_number = number OFFSET 0
) AS followed ON true
"""
# What stands in the way of posting a history as if its account were nowhere yet: the account, or one of its
# rows as an operation.
_SEEN: Final = """
SELECT account_number FROM ledger_account WHERE account_number = ANY (%s)
UNION
SELECT account_number FROM ledger_operation WHERE counterpart_id = ANY (%s)
"""
# The history of the legacy is no news for the legacy's follower. And what is looked for is looked for by its
# key: a plan with a scan would cost more with every batch that was brought before. What has no index is
# scanned all the same, at a price that has servers before PostgreSQL 18 compile the plan: not here.
_IS_IMPORTING: Final = """
SELECT set_config('pointsystem.is_importing', 'on', true), set_config('enable_seqscan', 'off', true),
    set_config('jit', 'off', true)
"""
_COHORTS: Final = """
SELECT DISTINCT coalesce(member.cohort, %s)
FROM unnest(%s::text[]) AS number LEFT JOIN cutover_member AS member ON member.account_number = number
ORDER BY 1
"""
_MAKE_FOLLOWED: Final = """
INSERT INTO cutover_followed_account (account_number)
SELECT number FROM unnest(%s::text[]) AS number ORDER BY number
ON CONFLICT (account_number) DO NOTHING
"""
# Only where the legacy decides, and owes nothing of what the ledger decided before.
_LOCK_FOLLOWED: Final = """
SELECT followed.account_number, followed.position,
    route.stage IN ('LEGACY_ONLY', 'LEGACY_FIRST')
    AND NOT CASE WHEN EXISTS (
        -- Asked first, for next to none has any, and a call for each account costs more than all the rest.
        SELECT FROM cutover_message AS message
        WHERE message.account_number = followed.account_number AND message.state IN ('waiting', 'parked')
    ) THEN cutover_is_held(followed.account_number, 'to_legacy') ELSE false END
FROM cutover_followed_account AS followed
LEFT JOIN cutover_member AS member ON member.account_number = followed.account_number
JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
WHERE followed.account_number = ANY (%s)
ORDER BY followed.account_number
FOR UPDATE OF followed
"""
_MOVE: Final = """
UPDATE cutover_followed_account AS followed
SET position = coalesce(moved.position, followed.position),
    imported_at = CASE WHEN moved.is_whole THEN clock_timestamp() ELSE followed.imported_at END
FROM unnest(%s::text[], %s::text[], %s::boolean[]) AS moved(account_number, position, is_whole)
WHERE followed.account_number = moved.account_number
"""
_HELD: Final = """
SELECT account.account_number, account.sequence, lot.id, lot.points, coalesce(open.remaining, 0),
    lot.earned_at, lot.expires_at, lot.origin_id
FROM ledger_account AS account
LEFT JOIN ledger_lot AS lot ON lot.account_id = account.id
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
WHERE account.account_number = ANY (%s) AND account.sequence > 0
ORDER BY account.account_number, lot.earned_at, lot.id
"""
_MOVED_BEFORE: Final = """
SELECT entry.operation_id, allocation.lot_id, abs(allocation.points)
FROM ledger_entry AS entry JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
WHERE entry.operation_id = ANY (%s::uuid[])
ORDER BY entry.operation_id, allocation.position
"""
# What waits to be told of rows that are here now.
_TOLD: Final = """
SELECT message.id FROM cutover_message AS message
JOIN ledger_operation AS operation ON operation.id = message.operation_id
WHERE message.account_number = ANY (%s) AND message.direction = 'to_ledger'
    AND message.state IN ('waiting', 'parked')
    AND (
        operation.counterpart_id = ANY (%s)
        OR EXISTS (SELECT FROM ledger_entry AS entry WHERE entry.operation_id = operation.id)
    )
"""
_RECONSTRUCTED: Final = """
INSERT INTO cutover_reconstruction (operation_id, why)
SELECT id, 'The legacy does not say which lots it touched.' FROM unnest(%s::uuid[]) AS id
ON CONFLICT DO NOTHING
"""


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of some accounts."""

    rows: int = 0
    accounts: int = 0
    corrections: int = 0
    #: Brought as far as the rows that were read; there are more.
    cut: list[str] = field(default_factory=list)
    #: Left for later: a call is under way, or somebody else moved them.
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the legacy has of some accounts, and where these stood in the ledger before it was read."""

    after: Mapping[str, str | None]
    batch: Batch
    #: Those that need no more than to be written.
    plain: Mapping[str, History]


def positions(account_numbers: Sequence[str]) -> dict[str, str | None]:
    """How far each account was brought."""
    return dict(fetch_all(_POSITIONS, [list(account_numbers)]))


def prepare(
    after: Mapping[str, str | None],
    *,
    session: Session,
    reasons: Mapping[str, int],
    limit: int = reading.ROWS_AT_ONCE,
) -> Prepared:
    """Read what the legacy has behind these positions; the ledger is not asked. Raises LegacyError."""
    batch = reading.read(configured.adapter(), session, after=after, limit=limit)
    new = [
        number
        for number, position in after.items()
        if position is None and number not in batch.cut and number not in batch.unread
    ]
    found = (
        plain.histories_of(batch.rows, batch.lots, account_numbers=new, reasons=reasons)
        if batch.has_lots
        else {}
    )
    return Prepared(after=after, batch=batch, plain=found)


def bring(
    account_numbers: Sequence[str],
    *,
    session: Session,
    limit: int = reading.ROWS_AT_ONCE,
    and_note: Callable[[Imported], object] = lambda imported: None,
) -> Imported:
    """Bring these accounts to where the legacy stands now. `and_note` is called in the transaction.

    Raises LegacyError and DatabaseError; nothing was written then.
    """
    after = positions(account_numbers)
    return write(prepare(after, session=session, reasons=reasons(), limit=limit), and_note=and_note)


def reasons() -> dict[str, int]:
    return {code: found[0].id for code, found in policies.current().reasons.items()}


def write(prepared: Prepared, *, and_note: Callable[[Imported], object]) -> Imported:
    """Bring what was read to the ledger, in one transaction.

    Raises DatabaseError; nothing was written then.
    """
    after, batch = prepared.after, prepared.batch
    crash_points.reach("migrate.read")
    imported = Imported()
    with transaction.atomic():
        fetch_all(_IS_IMPORTING)
        mine = _lock(after)
        imported.left = sorted(after.keys() - mine - batch.unread)
        _Import(prepared, mine=mine - batch.unread, imported=imported).run()
        imported.cut = sorted((batch.cut & mine) | batch.unread)
        and_note(imported)
        crash_points.reach("migrate.noted")
    crash_points.reach("migrate.committed")
    return imported


def _lock(after: Mapping[str, str | None]) -> set[str]:
    """Those of the accounts that are ours until the end of the transaction, and on which nothing is open."""
    numbers = sorted(after)
    # The default route is made where there is none yet.
    routes.current()
    for (cohort,) in fetch_all(_COHORTS, [DEFAULT_COHORT, numbers]):
        fetch_all(*routes.shared_lock(cohort))
    fetch_all(_MAKE_FOLLOWED, [numbers])
    locked = fetch_all(_LOCK_FOLLOWED, [numbers])
    # Asked after the rows were read: what is not settled now may have made one of them, or made it since.
    unsettled = intents.unsettled_accounts(numbers)
    return {
        number
        for number, position, may_be_brought in locked
        if may_be_brought and position == after[number] and number not in unsettled
    }


class _Import:
    """One batch, in the transaction that brings it."""

    def __init__(self, prepared: Prepared, *, mine: set[str], imported: Imported) -> None:
        self.batch = prepared.batch
        self.mine = mine
        self.imported = imported
        self.plain = _still_plain([found for number, found in prepared.plain.items() if number in mine])
        #: Those that are followed with all care.
        self.odd = mine - {history.account_number for history in self.plain}
        self.rows = [row for row in self.batch.rows if row.account_number in self.odd]
        legacy_ids = {share.lot_id for row in self.rows for share in row.shares or ()}
        legacy_ids |= {lot.lot_id for number in self.odd for lot in self.batch.lots.get(number, ())}
        self.ids = lots.ids_of(legacy_ids)
        self.adapter = configured.adapter()
        self.reasons = reasons()

    def run(self) -> None:
        histories.adopt(self.plain, client_id=legacy_client_id())
        lines, adopted = adopting.lines_of(self.rows, lots=self.ids)
        elsewhere.adopt(adopted)
        crash_points.reach("migrate.adopted")
        replayed = self._replay(lines) if self.odd else {}
        elsewhere.adopt(
            [each for number, done in replayed.items() for each in self._corrections(number, done)]
        )
        histories.post(self.plain)
        self._post(replayed)
        crash_points.reach("migrate.posted")
        self._note(replayed)
        self._settle()
        self._move({number: of_account[-1].row_id for number, of_account in lines.items()})
        self.imported.rows = len(self.rows) + sum(len(history.facts) for history in self.plain)
        self.imported.accounts = len(self.mine - self.batch.cut)
        self.imported.corrections = sum(len(done.corrections) for done in replayed.values())

    def _replay(self, lines: Mapping[str, Sequence[Line]]) -> dict[str, Replayed]:
        held: dict[str, list[HeldLot]] = {}
        sequences: dict[str, int] = {}
        for number, sequence, lot, *values in fetch_all(_HELD, [sorted(self.odd)]):
            sequences[number] = sequence
            if lot is not None:
                names = ("points", "remaining", "earned_at", "expires_at", "origin_id")
                held.setdefault(number, []).append(HeldLot(id=lot, **dict(zip(names, values, strict=True))))
        before = self._moved_before(lines)
        now = clock.now()
        return {
            number: replaying.replay(
                replaying.Account(
                    number=number,
                    lines=lines.get(number, ()),
                    held=held.get(number, ()),
                    sequence=sequences.get(number, 0),
                    lots=self._lots_of(number),
                    takes_oldest_first=self.adapter.takes_oldest_first,
                    moved_before=before,
                ),
                reasons=self.reasons,
                reason_id=self.reasons[MIGRATION_DIFFERENCE],
                now=now,
            )
            for number in sorted(self.odd)
        }

    def _lots_of(self, number: str) -> dict[UUID, LegacyLot] | None:
        if not self.batch.has_lots or number in self.batch.cut:
            return None
        return {self.ids[lot.lot_id]: lot for lot in self.batch.lots.get(number, ())}

    def _moved_before(self, lines: Mapping[str, Sequence[Line]]) -> dict[UUID, Moved]:
        """What was moved by operations that a row cancels which does not say its lots."""
        every = [line for of_account in lines.values() for line in of_account]
        silent = [line.cancels_id for line in every if line.cancels_id and not line.shares]
        moved: dict[UUID, Moved] = {}
        for operation_id, lot, points in fetch_all(_MOVED_BEFORE, [silent]) if silent else ():
            moved[operation_id] = [*moved.get(operation_id, ()), (lot, points)]
        return moved

    def _corrections(self, number: str, done: Replayed) -> Iterable[Adopted]:
        for correction in done.corrections:
            yield Adopted(
                id=correction.operation_id,
                client_id=legacy_client_id(),
                kind="adjust",
                account_number=number,
                points=correction.points,
                reason_id=self.reasons[MIGRATION_DIFFERENCE],
                reference=None,
                recorded_at=correction.recorded_at,
                cancels_id=None,
                balance_after=None,
                counterpart_id=None,
                shares=None,
                idempotency_key=correction.key,
            )

    def _post(self, replayed: Mapping[str, Replayed]) -> None:
        facts = [fact for done in replayed.values() for fact in done.facts]
        if not facts:
            return
        followed = following.post(facts)
        for diverged in followed.diverged.values():
            # The replay has seen to it: whatever is left is a mistake of ours.
            raise diverged
        accounts = {fact.operation_id: fact.account_number for fact in facts}
        for operation_id, why in followed.against_rules.items():
            mismatches.record(
                account_number=accounts[operation_id],
                subject=f"operation:{operation_id}",
                difference=Difference.ZONE,
                found_by=FoundBy.MIGRATION,
                legacy="decided",
                ledger="would have refused",
                why=why,
            )

    def _note(self, replayed: Mapping[str, Replayed]) -> None:
        inferred = [operation_id for done in replayed.values() for operation_id in done.inferred]
        if inferred:
            fetch_all(_RECONSTRUCTED, [inferred])
        for number, done in replayed.items():
            for found in done.unexplained:
                mismatches.record(
                    account_number=number,
                    subject=f"lot:{found.lot}",
                    difference=Difference.REAL,
                    found_by=FoundBy.MIGRATION,
                    legacy=found.legacy,
                    ledger=found.history,
                    why=found.why,
                )

    def _settle(self) -> None:
        # Of a plain account nothing was known, so nobody waits to be told of it.
        if not self.odd:
            return
        told = fetch_all(_TOLD, [sorted(self.odd), [row.row_id for row in self.rows]])
        messages.applied([row[0] for row in told], by="migration", note="imported")

    def _move(self, last_rows: Mapping[str, str]) -> None:
        last = {
            history.account_number: history.facts[-1].counterpart_id
            for history in self.plain
            if history.facts
        }
        last.update(last_rows)
        numbers = sorted(self.mine)
        fetch_all(
            _MOVE,
            [
                numbers,
                [last.get(number) for number in numbers],
                [number not in self.batch.cut for number in numbers],
            ],
        )


def _still_plain(found: Sequence[History]) -> list[History]:
    """Those of which the ledger has nothing, now that nobody else brings anything."""
    # Where a lot of the legacy goes by another id, only the careful way knows it.
    if not found or lots.has_any():
        return []
    rows = [fact.counterpart_id for history in found for fact in history.facts]
    seen = {number for (number,) in fetch_all(_SEEN, [[each.account_number for each in found], rows])}
    return [history for history in found if history.account_number not in seen]
