"""What stands before an operation is given to the legacy: key, route, account, what is cancelled."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from cutover import routes
from cutover.routes import CurrentRoute
from ledger.commands import Adjust, Cancel, Command, Earn, Spend
from ledger.database import fetch_one
from ledger.rules import Target

# One row, whatever there is: each part is found by an index of its own. A cancel has a statement of its own,
# for where a value is NULL that saves a part of the plan, PostgreSQL makes a new plan at every execution.
_BEHIND: Final = f"""
account.status,
EXISTS (SELECT 1 FROM ledger_inbox WHERE account_number = asked.account_number),
cutover_is_held(
    asked.account_number,
    CASE WHEN route.stage IN ('LEGACY_ONLY', 'LEGACY_FIRST') THEN 'to_legacy' ELSE 'to_ledger' END
),
{routes.COLUMNS}
"""  # noqa: S608
_JOINED: Final = """
LEFT JOIN ledger_operation AS known
    ON known.client_id = %(client_id)s AND known.idempotency_key = %(key)s
LEFT JOIN ledger_account AS account ON account.account_number = asked.account_number
LEFT JOIN cutover_member AS member ON member.account_number = asked.account_number
LEFT JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
"""
_READ_OF_ACCOUNT: Final = f"""
SELECT known.id, known.fingerprint, known.state, {_BEHIND}
FROM (SELECT %(account)s::text AS account_number) AS asked
{_JOINED}
"""  # noqa: S608  (only the constants above are put into the text)
_READ_OF_CANCEL: Final = f"""
SELECT known.id, known.fingerprint, known.state, {_BEHIND},
    target.id, target.client_id, target.kind, target.state, target.account_number, target.points,
    target.counterpart_id,
    coalesce((
        SELECT sum(cancel.points) FROM ledger_operation AS cancel
        WHERE cancel.cancels_id = target.id AND cancel.state = 'completed'
    ), 0)::bigint
FROM (SELECT %(target)s::uuid AS id) AS named
LEFT JOIN ledger_operation AS target ON target.id = named.id
CROSS JOIN LATERAL (SELECT target.account_number) AS asked
{_JOINED}
"""  # noqa: S608  (only the constants above are put into the text)
_ROUTE_AT: Final = 6
_TARGET_AT: Final = 14


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
    asked: dict[str, Any] = {"client_id": command.client_id, "key": command.idempotency_key}
    if isinstance(command, Earn | Spend | Adjust):
        row = fetch_one(_READ_OF_ACCOUNT, {**asked, "account": command.account_number})
    else:
        target_id = command.cancelled_operation_id if isinstance(command, Cancel) else None
        row = fetch_one(_READ_OF_CANCEL, {**asked, "target": target_id})
    if row is None:
        raise AssertionError("a row that is always there was not")
    return Situation(
        route=routes.current() if row[_ROUTE_AT] is None else routes.of_row(row[_ROUTE_AT:_TARGET_AT]),
        known=None if row[0] is None else Known(id=row[0], fingerprint=bytes(row[1]), state=row[2]),
        target=_target(row[_TARGET_AT:]),
        account_status=row[3],
        has_inbox=bool(row[4]),
        is_held=bool(row[5]),
    )


def _target(row: tuple[Any, ...]) -> CancelTarget | None:
    if not row or row[0] is None:
        return None
    return CancelTarget(
        id=row[0],
        client_id=row[1],
        kind=row[2],
        state=row[3],
        account_number=row[4],
        points=row[5],
        counterpart_id=row[6],
        cancelled_points=row[7],
    )
