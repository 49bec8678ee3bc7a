"""The bare WSGI function over the reference legacy, with the two statements that make a lost answer safe: the
operation and its intent are committed before the call, and ended after it. No look at the key, the route and
the account, no rules. What the product cannot be faster than on one server (ADR 21)."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from bench.peers import bare_legacy
from bench.peers.work import uuid7

_here = threading.local()
_KNOWN = """
SELECT (SELECT min(id) FROM ledger_client WHERE name = 'bench'),
    (SELECT id FROM ledger_reason WHERE code = 'ORDER_REWARD'),
    (SELECT id FROM ledger_reason WHERE code = 'ORDER_PAYMENT')
"""
_NOTE = """
WITH noted AS (
    INSERT INTO ledger_operation (
        id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id,
        recorded_at, decided_elsewhere, stage, epoch
    ) VALUES (%(id)s, %(client)s, %(key)s, %(fingerprint)s, %(kind)s, 'pending', %(account)s, %(points)s,
        %(reason)s, clock_timestamp(), true, 'LEGACY_ONLY', 1)
    RETURNING 1
)
INSERT INTO cutover_intent (
    operation_id, account_number, sequence, stage, epoch, state, request, session, attempts, opened_at,
    leased_until
) VALUES (%(id)s, %(account)s::text, 1 + coalesce(
        (SELECT max(sequence) FROM cutover_intent WHERE account_number = %(account)s::text), 0
    ), 'LEGACY_ONLY', 1, 'open', %(request)s::jsonb, 'bare', 1, clock_timestamp(),
    clock_timestamp() + interval '8 seconds')
"""
_END = """
WITH ended AS (
    UPDATE ledger_operation
    SET state = 'completed', recorded_at = clock_timestamp(), balance_after = %(balance)s,
        counterpart_id = %(row)s, shares = %(shares)s::jsonb
    WHERE id = %(id)s
    RETURNING 1
), settled AS (
    UPDATE cutover_intent SET state = 'done', settled_at = clock_timestamp(), settled_by = 'bare'
    WHERE operation_id = %(id)s AND state = 'open'
    RETURNING 1
)
SELECT set_config('synchronous_commit', 'off', true) FROM settled
"""


def _connection() -> tuple[psycopg.Connection, tuple[Any, ...]]:
    kept: tuple[psycopg.Connection, tuple[Any, ...]] | None = getattr(_here, "kept", None)
    if kept is None:
        connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0)
        known = connection.execute(_KNOWN).fetchone()
        assert known is not None
        kept = _here.kept = connection, known
    return kept


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    parts = environ["PATH_INFO"].split("/")
    kind, account_number = parts[5], parts[4]
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    points, operation_id = json.loads(body)["points"], uuid7()
    connection, (client_id, earn_id, spend_id) = _connection()
    asked = {
        "id": operation_id,
        "client": client_id,
        "key": environ["HTTP_IDEMPOTENCY_KEY"],
        "fingerprint": hashlib.sha256(kind.encode() + account_number.encode() + body).digest(),
        "kind": kind,
        "account": account_number,
        "points": points,
        "reason": earn_id if kind == "earn" else spend_id,
        "request": json.dumps({"account_number": account_number, "points": points, "kind": kind}),
    }
    connection.execute(_NOTE, asked)
    answer = bare_legacy.call(kind, account_number, points, str(operation_id))
    ended = {"id": operation_id, "balance": answer["balance_after"], "row": answer["row"]}
    connection.execute(_END, {**ended, "shares": json.dumps(answer["lots"])})
    return bare_legacy.answered(answer, start_response)
