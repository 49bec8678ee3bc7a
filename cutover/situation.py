"""What stands before an operation is given to the legacy: key, route, account, what is cancelled."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cutover import routes
from cutover.routes import CurrentRoute
from ledger.commands import Adjust, Cancel, Command, Earn, Spend
from ledger.database import fetch_one
from ledger.rules import Target

# One row, whatever there is: each part is found by an index of its own.
_READ: Final = f"""
SELECT known.id, known.fingerprint, known.state,
    target.id, target.client_id, target.kind, target.state, target.account_number, target.points,
    target.counterpart_id,
    coalesce((
        SELECT sum(cancel.points) FROM ledger_operation AS cancel
        WHERE cancel.cancels_id = target.id AND cancel.state = 'completed'
    ), 0)::bigint,
    account.status,
    EXISTS (SELECT 1 FROM ledger_inbox WHERE account_number = coalesce(target.account_number, %(account)s)),
    cutover_is_held(
        coalesce(target.account_number, %(account)s),
        CASE WHEN route.stage IN ('LEGACY_ONLY', 'LEGACY_FIRST') THEN 'to_legacy' ELSE 'to_ledger' END
    ),
    {routes.COLUMNS}
FROM (SELECT 1) AS one
LEFT JOIN ledger_operation AS known
    ON known.client_id = %(client_id)s AND known.idempotency_key = %(key)s
LEFT JOIN ledger_operation AS target ON target.id = %(target)s::uuid
LEFT JOIN ledger_account AS account
    ON account.account_number = coalesce(target.account_number, %(account)s)
LEFT JOIN cutover_member AS member
    ON member.account_number = coalesce(target.account_number, %(account)s)
LEFT JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
"""  # noqa: S608  (only the constant above is put into the text)


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
    #: What an earlier decider owes on the account is not settled yet.
    is_held: bool


def read(command: Command) -> Situation:
    """Everything in one round trip. Raises DatabaseError."""
    account = command.account_number if isinstance(command, Earn | Spend | Adjust) else None
    row = fetch_one(
        _READ,
        {
            "client_id": command.client_id,
            "key": command.idempotency_key,
            "target": command.cancelled_operation_id if isinstance(command, Cancel) else None,
            "account": account,
        },
    )
    if row is None:
        raise AssertionError("a row that is always there was not")
    known = None if row[0] is None else Known(id=row[0], fingerprint=bytes(row[1]), state=row[2])
    target = None
    if row[3] is not None:
        target = CancelTarget(
            id=row[3],
            client_id=row[4],
            kind=row[5],
            state=row[6],
            account_number=row[7],
            points=row[8],
            counterpart_id=row[9],
            cancelled_points=row[10],
        )
    return Situation(
        route=routes.current() if row[14] is None else routes.of_row(row[14:]),
        known=known,
        target=target,
        account_status=row[11],
        has_inbox=bool(row[12]),
        is_held=bool(row[13]),
    )
