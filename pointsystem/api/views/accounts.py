"""What can be read of an account."""

from ledger.door import face
from pointsystem.api import responses
from pointsystem.api.exchange import Answer, Request, json_answer
from pointsystem.api.fields import DEFAULT_PAGE_ROWS
from pointsystem.api.requests import (
    BalanceParameters,
    HistoryParameters,
    LotsParameters,
    SpendPreviewRequest,
    given,
)


def balance(request: Request, _: None) -> Answer:
    parameters: BalanceParameters = request.parameters
    as_of = given(parameters.as_of, None)
    if as_of is None:
        # The bytes as they stand in Redis: the hot path builds nothing.
        return Answer(200, face().balance_json(account_number=request.account_number))
    return json_answer(
        200, responses.balance(face().balance_as_of(account_number=request.account_number, as_of=as_of))
    )


def lots(request: Request, _: None) -> Answer:
    parameters: LotsParameters = request.parameters
    page = face().lots_page(
        account_number=request.account_number,
        state=parameters.state,
        cursor=given(parameters.cursor, None),
        page_size=int(given(parameters.page_size, DEFAULT_PAGE_ROWS)),
    )
    data = [responses.lot(record) for record in page.data]
    return json_answer(200, responses.LotsPage(data, page.next, page.previous))


def history(request: Request, _: None) -> Answer:
    parameters: HistoryParameters = request.parameters
    page = face().history_page(
        account_number=request.account_number,
        cursor=given(parameters.cursor, None),
        page_size=int(given(parameters.page_size, DEFAULT_PAGE_ROWS)),
    )
    data = [responses.history_entry(line) for line in page.data]
    return json_answer(200, responses.HistoryPage(data, page.next, page.previous))


def spend_preview(request: Request, body: SpendPreviewRequest) -> Answer:
    preview = face().spend_preview(account_number=request.account_number, points=body.points)
    return json_answer(
        200,
        responses.SpendPreviewResponse(
            account_number=preview.account_number,
            points=preview.points,
            lots=responses.shares(preview.lots),
            available=preview.available,
            available_after=preview.available_after,
        ),
    )
