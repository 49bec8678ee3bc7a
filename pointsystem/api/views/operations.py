"""Earn, spend, cancel and transfer, and what became of them."""

from typing import Final
from uuid import UUID

from ledger.commands import Cancel, Earn, Spend, Transfer
from ledger.door import face
from ledger.errors import OperationNotFound
from ledger.models import Scope
from ledger.records import Outcome
from pointsystem.api import responses
from pointsystem.api.exchange import Answer, Request, json_answer
from pointsystem.api.fields import DEFAULT_PAGE_ROWS, is_operation_id
from pointsystem.api.headers import prefers_async
from pointsystem.api.requests import (
    CancelRequest,
    EarnRequest,
    OperationsParameters,
    SpendRequest,
    TransferRequest,
    given,
)
from pointsystem.observability import metrics

OPERATION_PATH: Final = "/api/v1/operations/"
_REPLAYED: Final = ("Idempotency-Replayed", "true")
_APPLIED: Final = ("Preference-Applied", "respond-async")


def earn(request: Request, body: EarnRequest) -> Answer:
    return _execute_or_accept(
        request,
        body.command(
            account_number=request.account_number,
            client_id=request.client.client_id,
            key=request.idempotency_key,
            operation_id=request.operation_id,
        ),
    )


def spend(request: Request, body: SpendRequest) -> Answer:
    return _execute(
        request,
        body.command(
            account_number=request.account_number,
            client_id=request.client.client_id,
            key=request.idempotency_key,
            operation_id=request.operation_id,
        ),
    )


def cancel(request: Request, body: CancelRequest) -> Answer:
    return _execute_or_accept(
        request,
        body.command(
            cancelled_operation_id=_operation_id(request),
            client_id=request.client.client_id,
            key=request.idempotency_key,
            operation_id=request.operation_id,
            any_client=Scope.ANY_OPERATION in request.client.scopes,
        ),
    )


def transfer(request: Request, body: TransferRequest) -> Answer:
    return _execute(
        request,
        body.command(
            client_id=request.client.client_id,
            key=request.idempotency_key,
            operation_id=request.operation_id,
        ),
    )


def find_operation(request: Request, _: None) -> Answer:
    record = face().find_operation(
        operation_id=_operation_id(request),
        client_id=request.client.client_id,
        any_client=Scope.ANY_OPERATION in request.client.scopes,
    )
    return json_answer(200, responses.operation(record))


def operations_by_reference(request: Request, _: None) -> Answer:
    parameters: OperationsParameters = request.parameters
    page = face().operations_by_reference(
        client_id=request.client.client_id,
        any_client=Scope.ANY_OPERATION in request.client.scopes,
        reference=parameters.reference,
        cursor=given(parameters.cursor, None),
        page_size=int(given(parameters.page_size, DEFAULT_PAGE_ROWS)),
    )
    data = [responses.operation(record) for record in page.data]
    return json_answer(200, responses.OperationsPage(data, page.next, page.previous))


def status_of(outcome: Outcome) -> int:
    """202 while an accepted operation waits in the inbox, 201 as soon as it is done."""
    return 202 if outcome.operation.state == "accepted" else 201


def _execute(request: Request, command: Earn | Spend | Cancel | Transfer) -> Answer:
    return _answer(request, face().execute(command))


def _execute_or_accept(request: Request, command: Earn | Cancel) -> Answer:
    if not prefers_async(request.environ):
        return _answer(request, face().execute(command))
    answer = _answer(request, face().accept(command))
    if answer.status == 202:
        answer.headers.append(_APPLIED)
    return answer


def _answer(request: Request, outcome: Outcome) -> Answer:
    record = outcome.operation
    headers = [("Location", f"{OPERATION_PATH}{record.id}")]
    # A request that ran again on a new connection may find what it had committed itself.
    if outcome.is_replayed and record.id != request.operation_id:
        metrics.REPLAYS.inc()
        headers.append(_REPLAYED)
    return json_answer(status_of(outcome), responses.operation(record), headers)


def _operation_id(request: Request) -> UUID:
    """The id in the path. Raises OperationNotFound for what no operation can be called."""
    text = request.arguments["id"]
    if not is_operation_id(text):
        raise OperationNotFound("There is no such operation.")
    return UUID(text)
