"""Up to 1,000 operations in one request, each with an effect, a scope and a problem of its own."""

from typing import Any
from uuid import UUID

from ledger.clients import Principal
from ledger.commands import Command
from ledger.door import face
from ledger.errors import Refusal
from ledger.identifiers import uuid7
from ledger.models import Scope
from pointsystem.api import problems, responses
from pointsystem.api.exchange import Answer, Request, json_answer
from pointsystem.api.problems import FieldError, Refused, validation_failed
from pointsystem.api.requests import (
    BATCH_ITEMS,
    BatchRequest,
    CancelItem,
    EarnItem,
    SpendItem,
    TransferItem,
)
from pointsystem.api.responses import BatchResponse, BatchResult
from pointsystem.api.validation import BAD_VALUE, MISSING, WRONG_TYPE, read
from pointsystem.api.views.operations import status_of

ITEM_SCOPES = {
    "earn": Scope.EARN,
    "spend": Scope.SPEND,
    "cancel": Scope.CANCEL,
    "transfer": Scope.TRANSFER,
}


def batch(request: Request, body: BatchRequest) -> Answer:
    results: list[BatchResult | None] = []
    commands: list[Command] = []
    for item in body.operations:
        try:
            commands.append(_command(item, request.client))
            results.append(None)
        except Refused as refused:
            results.append(_problem(problems.of_refused(refused, request_id=request.request_id)))
    decided = iter(face().execute_all(commands) if commands else [])
    return json_answer(
        200,
        BatchResponse([_result(next(decided), request) if result is None else result for result in results]),
    )


def _command(item: Any, client: Principal) -> Command:
    """The command of one item. Raises Refused (`validation_failed`, `scope_missing`)."""
    if type(item) is not dict:
        raise validation_failed([FieldError("", WRONG_TYPE, "Expected an object.")])
    kind = item.get("kind")
    struct = BATCH_ITEMS.get(kind) if isinstance(kind, str) else None
    if struct is None:
        code = BAD_VALUE if "kind" in item else MISSING
        raise validation_failed([FieldError("kind", code, f"Expected one of: {', '.join(BATCH_ITEMS)}.")])
    scope = ITEM_SCOPES[str(kind)]
    if scope not in client.scopes:
        raise Refused("scope_missing", f"The key does not have the scope {scope.value}.")
    body = read(struct, item)
    common: dict[str, Any] = {
        "client_id": client.client_id,
        "key": body.idempotency_key,
        "operation_id": uuid7(),
    }
    match body:
        case EarnItem() | SpendItem():
            return body.command(account_number=body.account_number, **common)
        case TransferItem():
            return body.command(**common)
        case CancelItem():
            return body.command(
                cancelled_operation_id=UUID(body.operation_id),
                any_client=Scope.ANY_OPERATION in client.scopes,
                **common,
            )


def _result(decided: Any, request: Request) -> BatchResult:
    if isinstance(decided, Refusal):
        return _problem(problems.of_refusal(decided, request_id=request.request_id))
    return BatchResult(status=status_of(decided), operation=responses.operation(decided.operation))


def _problem(problem: problems.Problem) -> BatchResult:
    return BatchResult(status=problem.status, problem=problem)
