"""What the machines around the product ask: is it alive, can it serve, how is it doing, what can it do."""

import hmac
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django_redis import get_redis_connection

from ledger.database import fetch_one
from pointsystem.api.exchange import Answer, Request, json_answer
from pointsystem.api.headers import Environ
from pointsystem.api.problems import Refused
from pointsystem.api.responses import HealthResponse, ReadinessResponse
from pointsystem.observability import metrics

#: However often anybody asks, the servers are asked no more than once in this time.
_READINESS_KEPT_SECONDS: Final = 1.0
_BROKER_TIMEOUT_SECONDS: Final = 0.2
_LEGACY_TIMEOUT_SECONDS: Final = 0.5

_readiness: tuple[float, list[str]] = (0.0, [])
_readiness_lock = threading.Lock()


def healthz(_: Request, __: None) -> Answer:
    """Alive: this process answers. Nothing else is asked, or a lost database would end the process."""
    return json_answer(200, HealthResponse("alive"))


def readyz(_: Request, __: None) -> Answer:
    """Can serve: PostgreSQL answers, and the legacy while it decides. Without Redis or the broker everything
    works, later or slower; without a legacy that only follows, too."""
    down = _what_is_down()
    if "database" in down or ("legacy" in down and _legacy_decides()):
        return json_answer(503, ReadinessResponse("down", down), [("Retry-After", "2")])
    return json_answer(200, ReadinessResponse("degraded" if down else "ready", down))


def _what_is_down() -> list[str]:
    global _readiness
    with _readiness_lock:
        asked_at, down = _readiness
        if time.monotonic() - asked_at > _READINESS_KEPT_SECONDS:
            checks: dict[str, Callable[[], bool]] = {
                "database": _database_answers,
                "redis": _redis_answers,
                "broker": _broker_answers,
            }
            if settings.HAS_LEGACY:
                checks["legacy"] = _legacy_answers
            down = [name for name, answers in checks.items() if not answers()]
            _readiness = (time.monotonic(), down)
        return down


def forget_readiness() -> None:
    """Ask again at the next request (tests)."""
    global _readiness
    _readiness = (0.0, [])


def _database_answers() -> bool:
    try:
        return fetch_one("SELECT 1") is not None
    except DatabaseError:
        return False


def _legacy_answers() -> bool:
    from legacy_bridge import errors, sessions

    try:
        with sessions.session(timeout_seconds=_LEGACY_TIMEOUT_SECONDS) as session:
            return session.query("SELECT 1") != []
    except errors.Busy:
        # As many calls as may be are under way: it is slow, and answers them.
        return True
    except errors.LegacyError:
        return False


def _legacy_decides() -> bool:
    from cutover import routes

    return routes.hint().legacy_decides


def _redis_answers() -> bool:
    try:
        connection: Any = get_redis_connection("default")
        return bool(connection.ping())
    except (redis.RedisError, OSError):
        return False


def _broker_answers() -> bool:
    """Whether the broker takes connections. What it does with messages, the age of waiting work tells."""
    address = urlsplit(settings.CELERY_BROKER_URL)
    default_port = 5672 if address.scheme.startswith("amqp") else 6379
    try:
        place = (address.hostname or "127.0.0.1", address.port or default_port)
        with socket.create_connection(place, timeout=_BROKER_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def prometheus(request: Request, _: None) -> Answer:
    if not (_is_loopback(request.environ) or _has_token(request.environ)):
        raise Refused("not_authenticated", "Metrics are for loopback, or for METRICS_TOKEN.")
    return Answer(200, metrics.exposition(), content_type=metrics.CONTENT_TYPE)


def _is_loopback(environ: Environ) -> bool:
    """A proxy on this machine would make everybody local; it says so in one of these headers."""
    if "HTTP_X_FORWARDED_FOR" in environ or "HTTP_FORWARDED" in environ:
        return False
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _has_token(environ: Environ) -> bool:
    token: str = settings.METRICS_TOKEN
    given = environ.get("HTTP_AUTHORIZATION", "")
    return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def schema(_: Request, __: None) -> Answer:
    # The document describes the table of endpoints, and this endpoint stands in it.
    from pointsystem.api.openapi import document_bytes

    return Answer(200, document_bytes())
