"""The product's own statements, as the other sides run them: the text is taken from the code that serves
requests, so that both sides of a figure always do the same SQL.
"""

import re
from dataclasses import dataclass

from ledger.bounds import SpendingOrder
from ledger.operations import _earn_at_once, _spend_at_once

FIRST_WITH_UUID7 = 180000
_PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a process outside Django must know to run the statements: ids that are rows here."""

    client_id: int
    earn_reason_id: int
    earn_policy_id: int
    spend_reason_id: int
    accounts: int
    prefix: str


def earn() -> str:
    return _folded(_earn_at_once._STATEMENT)


def spend() -> str:
    return _folded(_spend_at_once._STATEMENTS[SpendingOrder.SOONEST_EXPIRY])


def balance() -> str:
    return "SELECT balance FROM ledger_account WHERE account_number = %(account_number)s"


def _folded(statement: str) -> str:
    return " ".join(statement.replace("%%", "%").split())


def pgbench_script(statement: str, known: Known, *, reason_id: int, account: str | None = None) -> str:
    """`statement` as a pgbench script: what a request computes in Python is written as an expression.

    pgbench's variables are numbers, so ids and keys are made of one: of the millisecond and a random
    number, as UUIDv7 is, with a digit that says what it is the id of. The rest is as the product sends it.
    """
    values = {
        "lock_number": ":number::bigint",
        "operation_id": _id(1),
        "entry_id": _id(2),
        "lot_id": _id(3),
        "client_id": str(known.client_id),
        "idempotency_key": "lpad(to_hex(:number::bigint), 36, '0')",
        "fingerprint": "sha256(int8send(:number::bigint))",
        "account_number": f"'{account}'" if account else f"('{known.prefix}' || :account)",
        "points": ":points",
        "now": "now()",
        "expires_at": "(date_trunc('day', now()) + interval '366 days')",
        "reason_id": str(reason_id),
        "policy_id": str(known.earn_policy_id),
        "reference": "NULL",
        "occurred_at": "NULL::timestamptz",
        "metadata": "NULL",
        "actor": "NULL",
    }
    body = _PARAMETER.sub(lambda found: values[found[1]], statement)
    return (
        f"\\set account random(0, {known.accounts - 1})\n\\set points random(1, 100)\n"
        f"\\set number random(1, 9000000000000000000)\n{body};\n"
    )


def _id(tag: int) -> str:
    milliseconds = "lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0')"
    return f"({milliseconds} || '700{tag}' || lpad(to_hex(:number::bigint), 16, '0'))::uuid"
