"""What stands before an operation is given to the legacy: key, route, account, what is cancelled."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cutover import routes
from cutover.models import DEFAULT_COHORT, Stage
from cutover.routes import CurrentRoute
from ledger.commands import Adjust, Cancel, Command, Earn, Spend
from ledger.database import fetch_one
from ledger.rules import Target

# One row, whatever there is: each part is found by an index of its own.
_READ: Final = """
SELECT route.stage, route.epoch, known.id, known.fingerprint, known.state,
    target.id, target.client_id, target.kind, target.state, target.account_number, target.points,
    target.counterpart_id,
    coalesce((
        SELECT sum(cancel.points) FROM ledger_operation AS cancel
        WHERE cancel.cancels_id = target.id AND cancel.state = 'completed'
    ), 0)::bigint,
    account.status,
    EXISTS (SELECT 1 FROM ledger_inbox WHERE account_number = coalesce(target.account_number, %(account)s))
FROM (SELECT 1) AS one
LEFT JOIN cutover_route AS route ON route.cohort = %(cohort)s
LEFT JOIN ledger_operation AS known
    ON known.client_id = %(client_id)s AND known.idempotency_key = %(key)s
LEFT JOIN ledger_operation AS target ON target.id = %(target)s::uuid
LEFT JOIN ledger_account AS account
    ON account.account_number = coalesce(target.account_number, %(account)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The operation that the key stands for already."""

    id: UUID
    fingerprint: bytes
    state: str


@dataclass(slots=True, kw_only=True)
class CancelTarget(Target):
    """The operation that a cancel names, with the legacy's row of it where it has one."""

    counterpart_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    route: CurrentRoute
    known: Known | None
    target: CancelTarget | None
    account_status: str | None
    has_inbox: bool


def read(command: Command) -> Situation:
    """Everything in one round trip. Raises DatabaseError."""
    account = command.account_number if isinstance(command, Earn | Spend | Adjust) else None
    row = fetch_one(
        _READ,
        {
            "cohort": DEFAULT_COHORT,
            "client_id": command.client_id,
            "key": command.idempotency_key,
            "target": command.cancelled_operation_id if isinstance(command, Cancel) else None,
            "account": account,
        },
    )
    if row is None:
        raise AssertionError("a row that is always there was not")
    if row[0] is None:
        route = routes.current()
    else:
        route = CurrentRoute(cohort=DEFAULT_COHORT, stage=Stage(row[0]), epoch=row[1])
    known = None if row[2] is None else Known(id=row[2], fingerprint=bytes(row[3]), state=row[4])
    target = None
    if row[5] is not None:
        target = CancelTarget(
            id=row[5],
            client_id=row[6],
            kind=row[7],
            state=row[8],
            account_number=row[9],
            points=row[10],
            counterpart_id=row[11],
            cancelled_points=row[12],
        )
    return Situation(route=route, known=known, target=target, account_status=row[13], has_inbox=bool(row[14]))
