"""Running a mass grant: batches of rows through the one door, each row with a key of its own.

The key of a row comes from the file's values and its line. So whatever happens between the grant and the note
of it (a kill, a second worker, the same file again), the next try finds the grant done. A lease keeps two
workers from doing the same batch at once, for speed alone: without it nothing would be granted twice.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from ledger import crash_points
from ledger.commands import UNSET, Earn
from ledger.database import fetch_all
from ledger.door import face
from ledger.errors import Refusal
from ledger.records import Outcome
from pointsystem.backoffice import audit
from pointsystem.backoffice.support.models import MassGrant, MassGrantRow, MassGrantState, RowState
from pointsystem.backoffice.support.moves import client_id
from pointsystem.backoffice.support.words import refusal_to_keep

BATCH_ROWS: Final = 50
#: A batch is given up after this long, well within the lease.
BATCH_SECONDS: Final = 10.0
#: A worker that was killed keeps its mass grant from others no longer than this.
LEASE: Final = timedelta(seconds=20)
#: One message works this long, and then lets others have the worker.
MESSAGE_SECONDS: Final = 15.0
_LONGEST_PAUSE_SECONDS: Final = 60

# What was accepted is done by the inbox, some time later: the row then says what came of it.
_SETTLE_ACCEPTED: Final = """
UPDATE backoffice_mass_grant_row AS row
SET state = CASE operation.state WHEN 'completed' THEN 'granted' ELSE 'refused' END,
    code = coalesce(operation.refusal ->> 'code', ''),
    detail = left(coalesce(operation.refusal ->> 'detail', ''), 500)
FROM ledger_operation AS operation
WHERE row.state = 'accepted' AND operation.id = row.operation_id
    AND operation.state IN ('completed', 'failed')
RETURNING row.id
"""


def key_of(*, digest: str, line: int) -> str:
    """The idempotency key of one row: the same for the same line of the same file, for ever."""
    return f"mass-grant:{digest}:{line}"


def start(*, mass_grant_id: int) -> bool:
    """Let a confirmed mass grant run; False when it runs or ran already. Asks a worker after the commit."""
    started = MassGrant.objects.filter(
        id=mass_grant_id, state__in=[MassGrantState.PREVIEWED, MassGrantState.WAITING]
    ).update(state=MassGrantState.RUNNING)
    if started:
        transaction.on_commit(lambda: ask_worker(mass_grant_id=mass_grant_id), robust=True)
    return bool(started)


def ask_worker(*, mass_grant_id: int) -> None:
    """Ring for a worker. Where the broker is away, the sweeper finds what is to be done."""
    from pointsystem.backoffice.support.tasks import run_mass_grant

    run_mass_grant.delay(mass_grant_id=mass_grant_id)


def run(*, mass_grant_id: int, seconds: float = MESSAGE_SECONDS) -> bool:
    """Work on a mass grant for some seconds; True when there is more to be done right away.

    Does nothing while another worker has it. Raises DatabaseError.
    """
    worker = uuid4()
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        rows = _take_batch(mass_grant_id=mass_grant_id, worker=worker)
        if rows is None:
            return False
        if not rows:
            _finish(mass_grant_id=mass_grant_id, worker=worker)
            return False
        _grant(rows, mass_grant_id=mass_grant_id)
    _let_go(mass_grant_id=mass_grant_id, worker=worker)
    return True


def _take_batch(*, mass_grant_id: int, worker: UUID) -> list[MassGrantRow] | None:
    """The next rows that are due, marked as tried; None when another worker has the mass grant, or it does
    not run."""
    now = timezone.now()
    with transaction.atomic():
        is_free = Q(worker__isnull=True) | Q(worker=worker) | Q(worked_until__lt=now)
        leased = MassGrant.objects.filter(is_free, id=mass_grant_id, state=MassGrantState.RUNNING).update(
            worker=worker, worked_until=now + LEASE
        )
        if not leased:
            return None
        due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lte=now)
        waiting = MassGrantRow.objects.filter(due, mass_grant_id=mass_grant_id, state=RowState.WAITING)
        rows = list(waiting.order_by("line")[:BATCH_ROWS])
        MassGrantRow.objects.filter(id__in=[row.id for row in rows]).update(attempts=F("attempts") + 1)
    return rows


def _grant(rows: Sequence[MassGrantRow], *, mass_grant_id: int) -> None:
    mass_grant = MassGrant.objects.select_related("author").get(id=mass_grant_id)
    commands = [_command(row, mass_grant) for row in rows]
    results = face().execute_all(commands, deadline_seconds=BATCH_SECONDS)
    crash_points.reach("mass_grant.granted")
    with transaction.atomic():
        for row, result in zip(rows, results, strict=True):
            MassGrantRow.objects.filter(id=row.id, state=RowState.WAITING).update(**_kept(row, result))
    crash_points.reach("mass_grant.kept")


def _command(row: MassGrantRow, mass_grant: MassGrant) -> Earn:
    return Earn(
        client_id=client_id(),
        idempotency_key=key_of(digest=mass_grant.digest, line=row.line),
        actor=mass_grant.author.get_username(),
        account_number=row.account_number,
        points=row.points,
        reason=row.reason,
        reference=row.reference,
        expires_at=row.expires_at if row.has_expiry else UNSET,
    )


def _kept(row: MassGrantRow, result: Outcome | Refusal) -> dict[str, Any]:
    """What the row says from now on."""
    if isinstance(result, Outcome):
        state = RowState.GRANTED
        if result.operation.state == "accepted":
            state = RowState.ACCEPTED
        elif result.is_replayed and row.attempts == 0:
            # Not by a try of ours that nobody could write down: somebody granted this line before.
            state = RowState.REPEATED
        return {"state": state, "operation_id": result.operation.id, "code": "", "detail": ""}
    words = {"code": result.code, "detail": refusal_to_keep(result)[:500]}
    if result.retry_after_seconds is None:
        return {**words, "state": RowState.REFUSED, "operation_id": result.operation_id}
    pause_seconds = min(2**row.attempts, _LONGEST_PAUSE_SECONDS)
    return {**words, "next_attempt_at": timezone.now() + timedelta(seconds=pause_seconds)}


def _finish(*, mass_grant_id: int, worker: UUID) -> None:
    """End a mass grant of which no row waits; else let it go until the next row is due."""
    with transaction.atomic():
        if MassGrantRow.objects.filter(mass_grant_id=mass_grant_id, state=RowState.WAITING).exists():
            _let_go(mass_grant_id=mass_grant_id, worker=worker)
            return
        ended = MassGrant.objects.filter(id=mass_grant_id, state=MassGrantState.RUNNING).update(
            state=MassGrantState.DONE, finished_at=timezone.now(), worker=None, worked_until=None
        )
        if ended:
            audit.record(
                action="mass_grant.finished",
                subject_kind="mass_grant",
                subject_id=mass_grant_id,
                after=counts(mass_grant_id=mass_grant_id),
            )


def _let_go(*, mass_grant_id: int, worker: UUID) -> None:
    MassGrant.objects.filter(id=mass_grant_id, worker=worker).update(worker=None, worked_until=None)


def counts(*, mass_grant_id: int) -> dict[str, int]:
    """How many rows are in which state; all states are named."""
    found = fetch_all(
        "SELECT state, count(*) FROM backoffice_mass_grant_row WHERE mass_grant_id = %s GROUP BY state",
        [mass_grant_id],
    )
    return {**dict.fromkeys(RowState.values, 0), **{row[0]: row[1] for row in found}}


def sweep() -> int:
    """Ring for every mass grant that runs and has no worker, and settle rows that were only accepted; how
    many mass grants were rung for."""
    fetch_all(_SETTLE_ACCEPTED)
    idle = Q(worker__isnull=True) | Q(worked_until__lt=timezone.now())
    ids = list(
        MassGrant.objects.filter(idle, state=MassGrantState.RUNNING)
        .order_by("id")
        .values_list("id", flat=True)[:20]
    )
    for mass_grant_id in ids:
        ask_worker(mass_grant_id=mass_grant_id)
    return len(ids)
