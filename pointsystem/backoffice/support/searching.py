"""One field that finds accounts and operations, each way by an index of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from ledger.database import fetch_all
from ledger.door import face
from ledger.errors import Refusal
from pointsystem.api.fields import is_account_number
from pointsystem.backoffice.support.deciding import legacy_decides

#: More hits than this are not shown: whoever looks types more.
MOST_HITS: Final = 20
MOST_CHARACTERS: Final = 255

_ACCOUNTS: Final = "SELECT account_number, status FROM ledger_account WHERE"
# A range, because a LIKE with a bound pattern cannot use the index. Account numbers sort by their bytes.
_ACCOUNTS_BY_PREFIX: Final = f"""
{_ACCOUNTS} account_number >= %(term)s AND account_number < %(end)s
ORDER BY account_number LIMIT {MOST_HITS + 1}
"""
_OPERATIONS: Final = """
SELECT id, kind, state, account_number, points, reference, recorded_at FROM ledger_operation WHERE
"""
_OPERATION_BY_ID: Final = f"{_OPERATIONS} id = %(id)s"
# Both indexes begin with the client, of which there are few.
_OF_ANY_CLIENT: Final = "client_id = ANY (ARRAY(SELECT id FROM ledger_client))"
_OPERATIONS_BY_KEY: Final = f"""
{_OPERATIONS} {_OF_ANY_CLIENT} AND idempotency_key = %(term)s ORDER BY id DESC LIMIT {MOST_HITS + 1}
"""
_OPERATIONS_BY_REFERENCE: Final = f"""
{_OPERATIONS} {_OF_ANY_CLIENT} AND reference = %(term)s ORDER BY id DESC LIMIT {MOST_HITS + 1}
"""
_LOT_BY_ID: Final = "SELECT id FROM ledger_lot WHERE id = %(id)s"

#: Every statement of a search, by what it finds: a test holds each to its index.
STATEMENTS: Final = {
    "prefix": _ACCOUNTS_BY_PREFIX,
    "operation": _OPERATION_BY_ID,
    "key": _OPERATIONS_BY_KEY,
    "reference": _OPERATIONS_BY_REFERENCE,
    "lot": _LOT_BY_ID,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHit:
    account_number: str
    #: None for an account that only the other side can know.
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationHit:
    id: UUID
    kind: str
    state: str
    account_number: str
    points: int
    reference: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one term found. `unasked` says why a side could not be asked, for people."""

    accounts: Sequence[AccountHit]
    operations: Sequence[OperationHit]
    lots: Sequence[UUID]
    has_more: bool
    unasked: str | None = None

    @property
    def only(self) -> AccountHit | OperationHit | UUID | None:
        """The one hit, where there is just one."""
        hits: list[AccountHit | OperationHit | UUID] = [*self.accounts, *self.operations, *self.lots]
        return hits[0] if len(hits) == 1 else None


def parameters(term: str) -> dict[str, Any]:
    """What the statements are given for `term`."""
    return {"term": term, "end": f"{term}\U0010ffff"}


def search(*, term: str) -> Found:
    """Accounts by number or its beginning; operations by id, key or reference; lots by id.

    A whole account number that is there wins over longer ones that begin with it. Raises DatabaseError.
    """
    term = term.strip()[:MOST_CHARACTERS]
    if not term or "\x00" in term:
        return Found(accounts=[], operations=[], lots=[], has_more=False)
    identifier = _uuid(term)
    if identifier is not None:
        rows = fetch_all(_OPERATION_BY_ID, {"id": identifier})
        lots = [row[0] for row in fetch_all(_LOT_BY_ID, {"id": identifier})]
        if rows or lots:
            return Found(accounts=[], operations=_operations(rows), lots=lots, has_more=False)
    given = parameters(term)
    unasked = _ask_other_side(term)
    rows = [*fetch_all(_OPERATIONS_BY_KEY, given)]
    known = {row[0] for row in rows}
    rows += [row for row in fetch_all(_OPERATIONS_BY_REFERENCE, given) if row[0] not in known]
    accounts = _accounts(term, given)
    return Found(
        accounts=accounts[:MOST_HITS],
        operations=_operations(rows[:MOST_HITS]),
        lots=[],
        has_more=len(accounts) > MOST_HITS or len(rows) > MOST_HITS,
        unasked=unasked,
    )


def _accounts(term: str, given: dict[str, Any]) -> list[AccountHit]:
    if not is_account_number(term):
        return []
    hits = [AccountHit(account_number=row[0], status=row[1]) for row in fetch_all(_ACCOUNTS_BY_PREFIX, given)]
    exact = [hit for hit in hits if hit.account_number == term]
    if exact:
        return exact
    if legacy_decides(account_number=term):
        # The ledger may never have heard of an account that the legacy has kept for years.
        hits.insert(0, AccountHit(account_number=term, status=None))
    return hits


def _ask_other_side(term: str) -> str | None:
    """Let rows of a legacy with this reference be found as operations; why not, where it cannot be asked."""
    if not (is_account_number(term) and legacy_decides(account_number=term)):
        return None
    try:
        face().operations_by_reference(client_id=0, any_client=True, reference=term, page_size=1)
    except Refusal as refusal:
        return refusal.detail
    return None


def _operations(rows: Sequence[tuple[Any, ...]]) -> list[OperationHit]:
    return [
        OperationHit(
            id=row[0],
            kind=row[1],
            state=row[2],
            account_number=row[3],
            points=row[4],
            reference=row[5],
            recorded_at=row[6].astimezone(UTC),
        )
        for row in rows
    ]


def _uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
