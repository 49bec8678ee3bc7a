"""The one table of endpoints. Routes, authentication, scopes, validation, the OpenAPI document, the reference
in docs/ and the matrices of the tests are all read off it: what is not in here is not served.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.models import Scope
from pointsystem.api import requests, responses
from pointsystem.api.exchange import Answer, Request
from pointsystem.api.views import accounts, batch, operations, probes

KIB: Final = 1024
MOST_BODY_BYTES: Final = 64 * KIB
MOST_BATCH_BYTES: Final = 2 * KIB * KIB

VERSION_PREFIX: Final = "/api/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path. Without `is_open` a valid key is needed, and its `scope` where there is one."""

    name: str
    method: str
    path: str
    summary: str
    answer: Callable[[Request, Any], Answer]
    #: Status to the struct of the body; None for a body that is not JSON.
    answers: Mapping[int, type | None]
    is_open: bool = False
    scope: Scope | None = None
    body: type[requests.Body] | None = None
    parameters: type[requests.Parameters] | None = None
    takes_key: bool = False
    #: `Prefer: respond-async` is obeyed.
    may_be_async: bool = False
    most_body_bytes: int = MOST_BODY_BYTES
    #: Codes of problems beside those that any endpoint of its form can answer.
    problems: tuple[str, ...] = field(default=())

    @property
    def segments(self) -> list[str]:
        return self.path.strip("/").split("/")


_WRITE_PROBLEMS: Final = (
    "operation_in_progress",
    "idempotency_key_reused",
    "account_blocked",
    "account_busy",
    "primary_unavailable",
    "outcome_unknown",
    "not_available_in_stage",
)
_READ_PROBLEMS: Final = ("primary_unavailable", "not_available_in_stage")

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="earn",
        method="POST",
        path="/api/v1/accounts/{account_number}/earn",
        summary="Grant points",
        answer=operations.earn,
        scope=Scope.EARN,
        body=requests.EarnRequest,
        answers={201: responses.OperationResponse, 202: responses.OperationResponse},
        takes_key=True,
        may_be_async=True,
        problems=_WRITE_PROBLEMS,
    ),
    Endpoint(
        name="spend",
        method="POST",
        path="/api/v1/accounts/{account_number}/spend",
        summary="Spend points",
        answer=operations.spend,
        scope=Scope.SPEND,
        body=requests.SpendRequest,
        answers={201: responses.OperationResponse},
        takes_key=True,
        problems=(*_WRITE_PROBLEMS, "insufficient_points", "spending_frozen", "account_held"),
    ),
    Endpoint(
        name="cancel",
        method="POST",
        path="/api/v1/operations/{id}/cancel",
        summary="Cancel an earn or a spend, whole or in part",
        answer=operations.cancel,
        scope=Scope.CANCEL,
        body=requests.CancelRequest,
        answers={201: responses.OperationResponse, 202: responses.OperationResponse},
        takes_key=True,
        may_be_async=True,
        problems=(*_WRITE_PROBLEMS, "operation_not_found", "not_cancellable", "earn_already_spent"),
    ),
    Endpoint(
        name="transfer",
        method="POST",
        path="/api/v1/transfers",
        summary="Give points of one account to another",
        answer=operations.transfer,
        scope=Scope.TRANSFER,
        body=requests.TransferRequest,
        answers={201: responses.OperationResponse},
        takes_key=True,
        problems=(
            *_WRITE_PROBLEMS,
            "insufficient_points",
            "spending_frozen",
            "account_held",
        ),
    ),
    Endpoint(
        name="batch",
        method="POST",
        path="/api/v1/operations:batch",
        summary="Up to 1,000 operations at once, each with an effect of its own",
        answer=batch.batch,
        body=requests.BatchRequest,
        answers={200: responses.BatchResponse},
        most_body_bytes=MOST_BATCH_BYTES,
    ),
    Endpoint(
        name="find_operation",
        method="GET",
        path="/api/v1/operations/{id}",
        summary="One operation as it stands",
        answer=operations.find_operation,
        scope=Scope.READ,
        answers={200: responses.OperationResponse},
        problems=("operation_not_found",),
    ),
    Endpoint(
        name="operations_by_reference",
        method="GET",
        path="/api/v1/operations",
        summary="The client's operations for one reference",
        answer=operations.operations_by_reference,
        scope=Scope.READ,
        parameters=requests.OperationsParameters,
        answers={200: responses.OperationsPage},
        problems=("primary_unavailable",),
    ),
    Endpoint(
        name="balance",
        method="GET",
        path="/api/v1/accounts/{account_number}/balance",
        summary="What can be spent now, or could be in the past",
        answer=accounts.balance,
        scope=Scope.READ,
        parameters=requests.BalanceParameters,
        answers={200: responses.BalanceResponse},
        problems=_READ_PROBLEMS,
    ),
    Endpoint(
        name="lots",
        method="GET",
        path="/api/v1/accounts/{account_number}/lots",
        summary="The lots of an account, in the order of spending",
        answer=accounts.lots,
        scope=Scope.READ,
        parameters=requests.LotsParameters,
        answers={200: responses.LotsPage},
        problems=_READ_PROBLEMS,
    ),
    Endpoint(
        name="history",
        method="GET",
        path="/api/v1/accounts/{account_number}/history",
        summary="The entries of an account, newest first",
        answer=accounts.history,
        scope=Scope.READ,
        parameters=requests.HistoryParameters,
        answers={200: responses.HistoryPage},
        problems=_READ_PROBLEMS,
    ),
    Endpoint(
        name="spend_preview",
        method="POST",
        path="/api/v1/accounts/{account_number}/spend/preview",
        summary="What a spend would take, without spending",
        answer=accounts.spend_preview,
        scope=Scope.READ,
        body=requests.SpendPreviewRequest,
        answers={200: responses.SpendPreviewResponse},
        problems=("insufficient_points", *_READ_PROBLEMS),
    ),
    Endpoint(
        name="healthz",
        method="GET",
        path="/healthz",
        summary="Alive",
        answer=probes.healthz,
        is_open=True,
        answers={200: responses.HealthResponse},
    ),
    Endpoint(
        name="readyz",
        method="GET",
        path="/readyz",
        summary="Can serve, and what is down",
        answer=probes.readyz,
        is_open=True,
        answers={200: responses.ReadinessResponse, 503: responses.ReadinessResponse},
    ),
    Endpoint(
        name="metrics",
        method="GET",
        path="/metrics",
        summary="Prometheus metrics, for loopback or with METRICS_TOKEN",
        answer=probes.prometheus,
        is_open=True,
        answers={200: None},
        problems=("not_authenticated",),
    ),
    Endpoint(
        name="schema",
        method="GET",
        path="/api/schema",
        summary="This document",
        answer=probes.schema,
        is_open=True,
        answers={200: None},
    ),
)


class Route:
    """A node of the tree of paths: the methods that end here, and where each next segment leads."""

    __slots__ = ("children", "methods", "parameter", "parameter_name")

    def __init__(self) -> None:
        self.methods: dict[str, Endpoint] = {}
        self.children: dict[str, Route] = {}
        self.parameter: Route | None = None
        self.parameter_name = ""


def _tree() -> Route:
    root = Route()
    for endpoint in ENDPOINTS:
        route = root
        for segment in endpoint.segments:
            if segment.startswith("{"):
                if route.parameter is None:
                    route.parameter, route.parameter_name = Route(), segment.strip("{}")
                route = route.parameter
            else:
                route = route.children.setdefault(segment, Route())
        route.methods[endpoint.method] = endpoint
    return root


_ROOT: Final = _tree()


def find_route(path: str) -> tuple[Route | None, dict[str, str]]:
    """The route of `path` with what stands in its variable segments, or None."""
    route, arguments = _ROOT, {}
    for segment in path[1:].split("/"):
        child = route.children.get(segment)
        if child is None:
            if route.parameter is None or not segment:
                return None, {}
            child = route.parameter
            arguments[route.parameter_name] = segment
        route = child
    return (route if route.methods else None), arguments
