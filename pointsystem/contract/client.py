"""HTTP as a client of the API speaks it: connections stay open, and every exchange is kept."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

Headers: TypeAlias = Sequence[tuple[str, str]]

TIMEOUT_SECONDS: Final = 30.0
_MOST_WAITS: Final = 5
_MOST_TRIES: Final = 4
_LONGEST_WAIT_SECONDS: Final = 30.0


class _Unsent(ConnectionError):
    """The server closed the connection before the whole request was sent, and its answer is lost."""


class NoAnswer(Exception):
    """The server could not be reached, or closed the connection without an answer."""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. Names of headers are lower case; the key of the client is left out."""

    method: str
    path: str
    sent_headers: tuple[tuple[str, str], ...]
    sent_body: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The code of a problem, or None where the answer is none."""
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return None
        try:
            return str(self.json["code"])
        except (ValueError, KeyError, TypeError):
            return None


class Client:
    """One key at one URL. Threads may share it: each has a connection of its own."""

    def __init__(self, base_url: str, key: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Raises ValueError where `base_url` is no address of a web server."""
        place = urlsplit(base_url)
        if place.scheme not in ("http", "https") or not place.hostname or place.query or place.fragment:
            raise ValueError(f"{base_url} is not the URL of a server, such as http://127.0.0.1:8000")
        self._is_secure = place.scheme == "https"
        self._host = place.hostname
        self._port = place.port or (443 if self._is_secure else 80)
        self._prefix = place.path.rstrip("/")
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._kept = threading.local()
        #: Called with every exchange.
        self.listeners: list[Callable[[Exchange], None]] = []

    def send(self, method: str, path: str, *, body: bytes | None = None, headers: Headers = ()) -> Exchange:
        """Send one request, as `headers` say and with the key of this client.

        An `Authorization` among `headers` replaces the key; an empty one sends none at all. 429 is waited
        for as Retry-After says: a limit is no part of what is judged. Raises NoAnswer.
        """
        for _ in range(_MOST_WAITS):
            exchange = self._send_once(method, path, body, headers)
            for listener in self.listeners:
                listener(exchange)
            wait = exchange.headers.get("retry-after", "")
            if exchange.status != 429 or not wait.isdigit():
                return exchange
            time.sleep(min(int(wait), _LONGEST_WAIT_SECONDS))
        return exchange

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = getattr(self._kept, "connection", None)
        if connection is not None:
            connection.close()
            self._kept.connection = None

    def _send_once(self, method: str, path: str, body: bytes | None, headers: Headers) -> Exchange:
        sent = [(name, value) for name, value in headers if name.lower() != "authorization"]
        given = [value for name, value in headers if name.lower() == "authorization"]
        authorization = given if given else [f"Bearer {self._key}"]
        started = time.perf_counter()
        answer, answered = self._exchange(
            method, path, body, [*sent, *(("Authorization", value) for value in authorization if value)]
        )
        return Exchange(
            method=method,
            path=path,
            sent_headers=tuple(sent),
            sent_body=body or b"",
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answered,
            seconds=time.perf_counter() - started,
        )

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Headers
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Every request of the contract may be sent again. It is, where a server closed a connection that was
        idle, or closed before it had read a body that is too large, so that its answer may have been lost.
        Silence after all was sent is an answer of its own."""
        for tries_left in reversed(range(_MOST_TRIES)):
            is_kept = getattr(self._kept, "connection", None) is not None
            try:
                return self._on_connection(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                may_be_lost = is_kept or isinstance(error, _Unsent)
                if not tries_left or not may_be_lost or isinstance(error, TimeoutError):
                    raise NoAnswer(f"{method} {path}: {error or type(error).__name__}") from error
        raise AssertionError("the last try returns or raises")

    def _on_connection(
        self, method: str, path: str, body: bytes | None, headers: Headers
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = getattr(self._kept, "connection", None)
        if connection is None:
            connection = self._kept.connection = self._connected()
        connection.putrequest(method, self._prefix + path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("utf-8"))
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        is_sent = body is None or self._sent(connection, body)
        try:
            answer = connection.getresponse()
            return answer, answer.read()
        except ConnectionError as error:
            if is_sent:
                raise
            raise _Unsent(str(error)) from error

    @staticmethod
    def _sent(connection: http.client.HTTPConnection, body: bytes) -> bool:
        """Whether all of `body` went out: a server may answer and close before it has read it."""
        try:
            connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _connected(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._is_secure:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_seconds, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
        connection.connect()
        # Small requests must not wait for one another's acknowledgements.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
