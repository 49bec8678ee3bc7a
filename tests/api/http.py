"""One raw HTTP exchange with a real server: what a library would correct or refuse goes out as it is."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from tests.api.caller import Reply


def exchange(url: str, request: bytes, *, timeout_seconds: float = 10.0) -> Reply | None:
    """Send `request`, read until the server closes; None where it closed without an answer."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=timeout_seconds) as peer:
        peer.sendall(request)
        answered = b""
        try:
            while part := peer.recv(65536):
                answered += part
        except (ConnectionError, TimeoutError):
            pass
    head, _, body = answered.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/"):
        return None
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return Reply(int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}, body)
