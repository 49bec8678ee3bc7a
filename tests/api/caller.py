"""A client of the API in the tests: it speaks WSGI to the product's own application, bytes in, bytes out."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.wsgi import get_wsgi_application

from ledger.clients import create_client
from ledger.models import Entry, InboxItem, Operation, Scope
from pointsystem.api.wsgi import ApiBeforeDjango
from tests.factories import idempotency_key

ALL_SCOPES = [scope for scope in Scope.values if scope != Scope.ANY_OPERATION]

application = ApiBeforeDjango(get_wsgi_application())


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem; fails where the answer is none."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        problem = self.json
        assert problem["status"] == self.status
        return str(problem["code"])

    @property
    def errors(self) -> dict[str, str]:
        """Field to code of what was refused."""
        return {error["field"]: error["code"] for error in self.json["errors"]}


def send(
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    remote_address: str = "127.0.0.1",
) -> Reply:
    """Send one request as the web server would hand it over."""
    path, _, query = path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REMOTE_ADDR": remote_address,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
    }
    if body or method == "POST":
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        variable = name.upper().replace("-", "_")
        if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            variable = f"HTTP_{variable}"
        environ[variable] = value
    started: list[Any] = []
    answered = b"".join(application(environ, lambda *line: started.extend(line)))
    return Reply(
        status=int(started[0].split()[0]),
        headers={name.lower(): value for name, value in started[1]},
        body=answered,
    )


@dataclass
class Api:
    """One client of the API with a key of its own."""

    scopes: list[str] = field(default_factory=lambda: list(ALL_SCOPES))
    name: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or f"client-{idempotency_key()[:13]}"
        self.key = self.key or create_client(name=self.name, scopes=self.scopes).key

    def get(self, path: str, **headers: str) -> Reply:
        return send("GET", path, headers=self._headers(headers))

    def post(self, path: str, body: Any = None, *, key: str | None = "", **headers: str) -> Reply:
        """POST `body` (bytes as they are, anything else as JSON). `key=None` leaves the header out."""
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        given = {"Content-Type": "application/json", **self._headers(headers)}
        if key is not None:
            given.setdefault("Idempotency-Key", key or idempotency_key())
        return send("POST", path, body=content, headers=given)

    def _headers(self, given: dict[str, str]) -> dict[str, str]:
        renamed = {name.replace("_", "-"): value for name, value in given.items()}
        return {"Authorization": f"Bearer {self.key}", **renamed}

    # --- what the stories say ---------------------------------------------------------------------------
    def earn(self, account: str, points: int, *, key: str | None = "", **members: Any) -> Reply:
        body = {"points": points, "reason": "ORDER_REWARD", **members}
        return self.post(f"/api/v1/accounts/{account}/earn", body, key=key)

    def spend(self, account: str, points: int, *, key: str | None = "", **members: Any) -> Reply:
        body = {"points": points, "reason": "ORDER_PAYMENT", **members}
        return self.post(f"/api/v1/accounts/{account}/spend", body, key=key)

    def cancel(self, operation: str, *, key: str | None = "", **members: Any) -> Reply:
        return self.post(f"/api/v1/operations/{operation}/cancel", members, key=key)

    def transfer(self, giver: str, taker: str, points: int, *, key: str | None = "", **members: Any) -> Reply:
        body = {"from": giver, "to": taker, "points": points, "reason": "GIFT", **members}
        return self.post("/api/v1/transfers", body, key=key)

    def available(self, account: str) -> int:
        reply = self.get(f"/api/v1/accounts/{account}/balance")
        assert reply.status == 200, reply.body
        return int(reply.json["available"])


def written_rows() -> tuple[int, int, int]:
    """How many operations, entries and waiting items there are: equal before and after a refusal."""
    return Operation.objects.count(), Entry.objects.count(), InboxItem.objects.count()
