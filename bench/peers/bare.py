"""A bare WSGI function for granian: no framework, one prepared statement, one connection a thread."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import redis

from bench.peers import settings_of_peer, work

settings = settings_of_peer.load()
_here = threading.local()
_STATEMENTS = {"earn": settings.earn, "spend": settings.spend}
_STATUS = {200: "200 OK", 201: "201 Created", 404: "404 Not Found", 422: "422 Unprocessable Content"}


def _connection() -> psycopg.Connection:
    connection: psycopg.Connection | None = getattr(_here, "connection", None)
    if connection is None:
        connection = _here.connection = psycopg.connect(settings.database_url, autocommit=True)
        connection.prepare_threshold = 0
    return connection


def _redis() -> redis.Redis:
    client: redis.Redis | None = getattr(_here, "redis", None)
    if client is None:
        client = _here.redis = redis.Redis.from_url(settings.redis_url, single_connection_client=True)
    return client


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    parts = environ["PATH_INFO"].split("/")
    status, body = 404, b"{}"
    if len(parts) == 6 and parts[5] == "balance":
        status, body = _balance(parts[4])
    elif len(parts) == 6 and parts[5] in _STATEMENTS:
        status, body = _write(parts[5], parts[4], environ)
    start_response(
        _STATUS[status], [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]


def _balance(account_number: str) -> tuple[int, bytes]:
    found = _redis().get(f"bench:{account_number}")
    return (200, found) if isinstance(found, bytes) else (404, b"{}")


def _write(kind: str, account_number: str, environ: dict[str, Any]) -> tuple[int, bytes]:
    raw = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    values = work.parameters(
        settings,
        kind=kind,
        account_number=account_number,
        key=environ["HTTP_IDEMPOTENCY_KEY"],
        body=raw,
        points=json.loads(raw)["points"],
    )
    connection = _connection()
    try:
        row = connection.execute(_STATEMENTS[kind], values, binary=True).fetchone()
    except psycopg.errors.UniqueViolation:
        row = None
    if row is not None:
        return 201, json.dumps(work.answer(values, row)).encode()
    known = connection.execute(work.KNOWN_KEY, values).fetchone()
    status, answer = work.answer_without_effect(values, known)
    return status, json.dumps(answer).encode()
