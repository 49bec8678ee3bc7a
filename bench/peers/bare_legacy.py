"""A bare WSGI function for granian that calls the reference legacy's procedure: no framework, one statement,
one connection a thread. What somebody writes who wraps a procedure in an afternoon."""

import json
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from bench.peers.work import uuid7

_here = threading.local()
_CALLS = {
    "earn": "CALL legacy.PR_POINT_EARN(%s, '11', %s, 'D', NULL, NULL, %s, 'BENCH',"
    " NULL, NULL, NULL, NULL, NULL, NULL)",
    "spend": "CALL legacy.PR_POINT_USE(%s, '21', %s, NULL, %s, 'BENCH', NULL, NULL, NULL, NULL, NULL, NULL)",
}


def _connection() -> psycopg.Connection:
    connection: psycopg.Connection | None = getattr(_here, "connection", None)
    if connection is None:
        connection = _here.connection = psycopg.connect(os.environ["LEGACY_DATABASE_URL"], autocommit=True)
        connection.prepare_threshold = None
    return connection


def call(kind: str, account_number: str, points: int, operation_id: str) -> dict[str, Any]:
    """What the procedure answers."""
    row = _connection().execute(_CALLS[kind], [account_number, points, operation_id]).fetchone()
    assert row is not None
    code, _, row_id, balance, recorded_at, lots = row
    return {
        "id": operation_id,
        "row": str(row_id),
        "state": "completed" if code == "S" else "failed",
        "account_number": account_number,
        "points": points,
        "recorded_at": recorded_at.isoformat() if recorded_at else None,
        "balance_after": balance,
        "lots": json.loads(lots) if lots else None,
    }


def answered(answer: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    status = "201 Created" if answer["state"] == "completed" else "422 Unprocessable Content"
    body = json.dumps(answer).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    parts = environ["PATH_INFO"].split("/")
    kind, account_number = parts[5], parts[4]
    points = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["points"]
    return answered(call(kind, account_number, points, str(uuid7())), start_response)
