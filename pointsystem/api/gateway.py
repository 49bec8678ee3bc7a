"""From a WSGI environment to an answer: route, authenticate, limit, validate, call, translate.

The order is that of docs/adr/0008-lean-views.md: who does not authenticate learns nothing, not even which
addresses exist; who is refused before execution leaves no trace.
"""

import itertools
import logging
import secrets
import time
from typing import Any, Final, NoReturn
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http.request import split_domain_port, validate_host
from structlog.contextvars import bind_contextvars

from ledger import client_activity
from ledger.clients import Principal
from ledger.database import raise_refusal
from ledger.errors import DatabaseUnavailable, Refusal
from ledger.identifiers import uuid7
from pointsystem.api import connections, problems, rate_limit, slow_bodies
from pointsystem.api.authentication import principal_of
from pointsystem.api.endpoints import VERSION_PREFIX, Endpoint, find_route
from pointsystem.api.exchange import Answer, Request
from pointsystem.api.fields import is_account_number
from pointsystem.api.headers import (
    Environ,
    check_accept,
    check_content_type,
    given_request_id,
    given_traceparent,
    idempotency_key,
)
from pointsystem.api.problems import FieldError, Problem, Refused, validation_failed
from pointsystem.api.strict_json import decode
from pointsystem.api.validation import BAD_FORMAT, read, read_query
from pointsystem.observability import metrics, request_log

logger = logging.getLogger(__name__)

#: Probes come from inside, by whatever name or scheme.
PROBE_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_IS_HTTPS_ONLY: Final = settings.SECURE_SSL_REDIRECT
_NO_ENDPOINT: Final = "none"
_MOST_HOSTS: Final = 1000
#: Endpoints whose body says how many points move: counted with their client's calls.
_SAYS_POINTS: Final = frozenset({"earn", "spend", "transfer"})
_NO_OPERATION: Final = UUID(int=0)
#: Tells the requests of this process from those of any other.
_PROCESS: Final = secrets.token_hex(8)
_numbers: Final = itertools.count(1)
_known_hosts: set[str] = set()
_encoder = msgspec.json.Encoder()


def answer(environ: Environ) -> Answer:
    """Answer one request of the API, whatever it is. Raises nothing."""
    started = time.perf_counter()
    if environ["REQUEST_METHOD"] == "GET":
        # What only reads needs no id of an operation, and a number is made in a tenth of the time.
        operation_id, made_id = _NO_OPERATION, f"{_PROCESS}-{next(_numbers)}"
    else:
        operation_id = uuid7()
        made_id = str(operation_id)
    request = Request(environ, operation_id, given_request_id(environ) or made_id)
    bind_contextvars(request_id=request.request_id)
    traceparent = given_traceparent(environ)
    if traceparent is not None:
        bind_contextvars(traceparent=traceparent)
    endpoint_name = _NO_ENDPOINT
    problem: Problem | None = None
    try:
        endpoint = _route(request)
        endpoint_name = endpoint.name
        answered = _run(endpoint, request)
    except (Refused, Refusal) as refusal:
        problem, answered = _refused(refusal, request)
    except Exception:
        # The last wall: what it is goes to the log, and nothing of it to the client.
        logger.exception("the request failed", extra={"endpoint": endpoint_name})
        connections.suspect()
        problem = problems.problem(
            problems.INTERNAL_ERROR, "The request failed here.", request_id=request.request_id
        )
        answered = _of_problem(problem, [])
    connections.release()
    answered.headers.append(("X-Request-ID", request.request_id))
    seconds = time.perf_counter() - started
    metrics.observe_request(endpoint=endpoint_name, status=answered.status, seconds=seconds)
    if request.principal is not None:
        client_activity.count(
            client_id=request.principal.client_id,
            operation=endpoint_name,
            is_refused=problem is not None,
            points=_moved(request, answered) if endpoint_name in _SAYS_POINTS else None,
        )
    request_log.write(
        request=request, endpoint=endpoint_name, answer=answered, problem=problem, seconds=seconds
    )
    # Unset, for the thread serves pages too.
    bind_contextvars(request_id=...)
    if traceparent is not None:
        bind_contextvars(traceparent=...)
    return answered


# --- Who asks for what ----------------------------------------------------------------------------------
def _route(request: Request) -> Endpoint:
    """The endpoint of this request, its client known and allowed to.

    Raises Refused: `malformed_request`, `not_authenticated`, `rate_limited`, `not_found`,
    `method_not_allowed`, `scope_missing`; and DatabaseUnavailable where the key cannot be looked up.
    """
    environ = request.environ
    path: str = environ["PATH_INFO"]
    if path not in PROBE_PATHS:
        _check_host(environ)
    if path.startswith(VERSION_PREFIX):
        connections.prepare()
        request.principal = _authenticate(environ)
        rate_limit.check(request.principal)
    route, arguments = find_route(path)
    if route is None:
        raise Refused("not_found", "There is nothing at this address.")
    endpoint = route.methods.get(environ["REQUEST_METHOD"])
    if endpoint is None:
        allowed = ", ".join(sorted(route.methods))
        raise Refused("method_not_allowed", f"Allowed here: {allowed}.", headers=[("Allow", allowed)])
    if request.principal is None and not endpoint.is_open:
        raise AssertionError(f"{endpoint.name} is outside {VERSION_PREFIX} and not open")
    if endpoint.scope is not None and endpoint.scope not in request.client.scopes:
        raise Refused("scope_missing", f"The key does not have the scope {endpoint.scope.value}.")
    request.arguments = arguments
    return endpoint


def _authenticate(environ: Environ) -> Principal:
    try:
        return principal_of(environ)
    except (DatabaseError, InterfaceError) as error:
        if not connections.is_lost():
            _refuse_database(error)
    connections.renew()
    try:
        return principal_of(environ)
    except (DatabaseError, InterfaceError) as error:
        _refuse_database(error)


def _refuse_database(error: DatabaseError | InterfaceError) -> NoReturn:
    """Translate what PostgreSQL said. Raises DatabaseUnavailable, or `error` where it is our own mistake."""
    if isinstance(error, InterfaceError):
        raise DatabaseUnavailable("The database did not answer.") from error
    raise_refusal(error)


def _check_host(environ: Environ) -> None:
    """Refuse names that are not ours, and plain HTTP where the product is served by HTTPS."""
    host = environ.get("HTTP_HOST", "")
    if host not in _known_hosts:
        domain, _ = split_domain_port(host)
        if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
            raise Refused("malformed_request", "This host is not served here.")
        if len(_known_hosts) < _MOST_HOSTS:
            _known_hosts.add(host)
    if _IS_HTTPS_ONLY and not _is_secure(environ):
        raise Refused("malformed_request", "HTTPS is needed.")


def _is_secure(environ: Environ) -> bool:
    if settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        return bool(environ.get(name, "").split(",")[0].strip() == value)
    return bool(environ.get("wsgi.url_scheme") == "https")


# --- What is asked --------------------------------------------------------------------------------------
def _run(endpoint: Endpoint, request: Request) -> Answer:
    """Validate the request and call its endpoint, once more if the database connection had been lost."""
    body = _validated(endpoint, request)
    if endpoint.name in _SAYS_POINTS:
        request.points = body.points
    try:
        return endpoint.answer(request, body)
    except DatabaseUnavailable:
        if not connections.is_lost():
            raise
    except (DatabaseError, InterfaceError) as error:
        if not connections.is_lost():
            _refuse_database(error)
    connections.renew()
    metrics.RETRIED.inc()
    try:
        return endpoint.answer(request, body)
    except (DatabaseError, InterfaceError) as error:
        _refuse_database(error)


def _validated(endpoint: Endpoint, request: Request) -> Any:
    """The body of the request; its parameters and key are put into it. Raises Refused for every error."""
    environ = request.environ
    if not endpoint.is_open:
        check_accept(environ)
    if endpoint.takes_key:
        request.idempotency_key = idempotency_key(environ)
    errors: list[FieldError] = []
    number = request.arguments.get("account_number")
    if number is not None and not is_account_number(number):
        errors.append(
            FieldError("account_number", BAD_FORMAT, "The text does not have the form of this field.")
        )
    body: Any = None
    try:
        query = environ.get("QUERY_STRING", "")
        if query or endpoint.parameters is not None:
            request.parameters = read_query(endpoint.parameters, query)
        if endpoint.body is not None:
            check_content_type(environ)
            body = read(endpoint.body, decode(_body_bytes(endpoint, request)))
    except Refused as refused:
        if not errors or refused.code != "validation_failed":
            raise
        errors.extend(refused.errors)
    if errors:
        raise validation_failed(errors)
    return body


def _body_bytes(endpoint: Endpoint, request: Request) -> bytes:
    """The whole body, and never more than the endpoint takes. Raises Refused."""
    environ = request.environ
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise Refused("malformed_request", "Send the body with its Content-Length, not in chunks.")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):
        raise Refused("malformed_request", "Content-Length is not a number.")
    if len(length) > 12 or int(length) > endpoint.most_body_bytes:
        raise Refused("payload_too_large", f"At most {endpoint.most_body_bytes} bytes are read.")
    body = slow_bodies.read(environ, int(length)) if length != "0" else b""
    if len(body) != int(length):
        raise Refused("malformed_request", "The body ended before its Content-Length.")
    return body


# --- What is answered -----------------------------------------------------------------------------------
def _moved(request: Request, answered: Answer) -> int:
    """The points that a request moved, or will where it was accepted: none of one that was refused, and
    none of one that was answered with an earlier outcome."""
    if answered.status not in (201, 202) or ("Idempotency-Replayed", "true") in answered.headers:
        return 0
    return request.points or 0


def _refused(refusal: Refused | Refusal, request: Request) -> tuple[Problem, Answer]:
    headers: list[tuple[str, str]] = []
    if isinstance(refusal, Refused):
        problem = problems.of_refused(refusal, request_id=request.request_id)
        headers.extend(refusal.headers)
    else:
        problem = problems.of_refusal(refusal, request_id=request.request_id)
        if isinstance(refusal, DatabaseUnavailable):
            connections.suspect()
        if refusal.is_replayed and refusal.operation_id != request.operation_id:
            metrics.REPLAYS.inc()
            headers.append(("Idempotency-Replayed", "true"))
    retry_after = problems.retry_after_seconds(refusal.code, refusal.retry_after_seconds)
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    metrics.PROBLEMS.labels(refusal.code).inc()
    return problem, _of_problem(problem, headers)


def _of_problem(problem: Problem, headers: list[tuple[str, str]]) -> Answer:
    return Answer(problem.status, _encoder.encode(problem), headers, problems.CONTENT_TYPE)
