"""A server that lies: it asks the real one, and changes what it is told before it hands it on.

Everything but the lie is true, so a case that fails fails for the lie.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Asked:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for given, value in self.headers if given.lower() == name.lower()), None)

    def is_of(self, ending: str) -> bool:
        return self.path.partition("?")[0].endswith(ending)


@dataclass
class Told:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, value: Any) -> None:
        self.body = json.dumps(value).encode()

    @property
    def is_operation(self) -> bool:
        return self.status in (200, 201, 202) and b'"cancellable_points"' in self.body


#: Gets the request and the way to the real server; None closes the connection without an answer.
Lie = Callable[[Asked, Callable[[Asked], Told]], Told | None]


def told(status: int, value: Any, *, content_type: str = "application/json", **headers: str) -> Told:
    """An answer that asks nobody, with the headers that every answer has."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    named = {"content-type": content_type, "x-request-id": "stub", **named}
    return Told(status, named, json.dumps(value).encode())


def problem(status: int, code: str, **headers: str) -> Told:
    value = {
        "type": f"urn:pointsystem:problem:{code}",
        "title": "A lie",
        "status": status,
        "code": code,
        "detail": "This server lies.",
        "request_id": "stub",
    }
    return told(status, value, content_type="application/problem+json", **headers)


@contextmanager
def lying_server(lie: Lie, truth: str = "") -> Iterator[str]:
    """The URL of a server that answers as `lie` says, with the server at `truth` behind it."""

    def ask(asked: Asked) -> Told:
        place = urlsplit(truth)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        connection.putrequest(asked.method, asked.path, skip_accept_encoding=True, skip_host=True)
        for name, value in asked.headers:
            if name.lower() != "content-length":
                connection.putheader(name, value.encode("latin-1"))
        if asked.method != "GET":
            connection.putheader("Content-Length", str(len(asked.body)))
        connection.endheaders(asked.body or None)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Told(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # As small an answer as a lie may be, it must not wait for an acknowledgement.
        disable_nagle_algorithm = True

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(self.command, self.path, list(self.headers.items()), self.rfile.read(length))
            given = lie(asked, ask)
            if given is None:
                self.close_connection = True
                return
            self.send_response_only(given.status)
            for name, value in given.headers.items():
                if name not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_FOO = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
