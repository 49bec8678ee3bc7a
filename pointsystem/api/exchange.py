"""One request and its answer, as the endpoints see them."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec

from ledger.clients import Principal
from pointsystem.api.headers import Environ

JSON: Final = "application/json"
STATUS_LINES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Request:
    """What is known of a request when its endpoint is called.

    `operation_id` is what the operation will be called if this request makes one; where the caller sent no
    X-Request-ID it is the request's id as well. A GET has none.
    """

    environ: Environ
    operation_id: UUID
    request_id: str
    arguments: dict[str, str] = field(default_factory=dict)
    principal: Principal | None = None
    idempotency_key: str = ""
    parameters: Any = None
    body_bytes: bytes | None = None
    #: What it asks to move, where its body says so; set once the body is known to be valid.
    points: int | None = None

    @property
    def client(self) -> Principal:
        """Who asks. Endpoints that need authentication are not called without."""
        if self.principal is None:
            raise AssertionError("an endpoint without authentication asked for its client")
        return self.principal

    @property
    def account_number(self) -> str:
        return self.arguments["account_number"]


@dataclass(slots=True)
class Answer:
    """Status, body and headers; `content_type` beside them, for every answer has one."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)
    content_type: str = JSON


def json_answer(status: int, value: Any, headers: list[tuple[str, str]] | None = None) -> Answer:
    return Answer(status, _encoder.encode(value), headers or [])
