"""Frees the thread that waits for a body which does not come.

The web server reads bodies without any limit in time, and offers none to set: a few clients that send a
byte a minute would hold all threads of a process. So whoever waits for a body is noted here, and a thread
of its own shuts as many connections of a peer as kept us waiting for too long. Which ones they are the web
server does not tell; the kernel does: those on which we have owed an answer the longest.

On Linux only. Elsewhere, and against many such clients at once, a proxy that takes in whole requests before
it passes them on (as nginx does) is the answer (docs/how-to/run-in-production.md).
"""

import ipaddress
import logging
import os
import socket
import stat
import struct
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Final

from django.conf import settings

from pointsystem.api.headers import Environ
from pointsystem.observability import metrics

logger = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS: Final = 1.0
#: Of the kernel's `struct tcp_info`: milliseconds since data was last sent, and last received, and how
#: many segments with data were ever sent.
_TCP_INFO: Final = struct.Struct("@44xI4xI100xI")

_waiting: dict[int, tuple[float, str, str]] = {}
_watch_lock = threading.Lock()
_is_watched = False


def read(environ: Environ, length: int) -> bytes:
    """The body, or what came of it until its connection was shut."""
    thread = threading.get_ident()
    _waiting[thread] = (time.monotonic(), environ.get("REMOTE_ADDR", ""), environ.get("SERVER_PORT", ""))
    if not _is_watched:
        _start_watching()
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        # A connection that was reset, by its client or by us.
        return b""
    finally:
        _waiting.pop(thread, None)
    return body


def _start_watching() -> None:
    global _is_watched
    with _watch_lock:
        if not _is_watched:
            _is_watched = True
            if sys.platform == "linux":
                threading.Thread(target=_watch, name="slow-bodies", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(_LOOK_EVERY_SECONDS)
        longest = settings.POINTS_BODY_TIMEOUT_SECONDS
        now = time.monotonic()
        late = Counter((peer, port) for since, peer, port in list(_waiting.values()) if now - since > longest)
        for (peer, port), threads in late.items():
            try:
                _shut(peer=peer, port=port, most=threads, silent_milliseconds=int(longest * 1000))
            except Exception:
                logger.exception("slow connections could not be shut")


def _shut(*, peer: str, port: str, most: int, silent_milliseconds: int) -> None:
    """Shut the `most` connections of `peer` to `port` on which we have owed an answer the longest."""
    owed: list[tuple[int, int]] = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError), _duplicate(descriptor) as connection:
            silent = _owed_milliseconds(connection) if _is_of(connection, peer=peer, port=port) else 0
            if silent >= silent_milliseconds:
                owed.append((silent, descriptor))
    for _, descriptor in sorted(owed, reverse=True)[:most]:
        with suppress(OSError), _duplicate(descriptor) as connection:
            if _is_of(connection, peer=peer, port=port) and _owed_milliseconds(connection):
                connection.shutdown(socket.SHUT_RDWR)
                metrics.SLOW_BODIES.inc()
                logger.warning("a connection was shut: its body did not come", extra={"peer": peer})


def _duplicate(descriptor: int) -> socket.socket:
    """A socket object of its own on that connection. Raises OSError where it is none."""
    if not stat.S_ISSOCK(os.stat(descriptor).st_mode):
        raise OSError("not a socket")
    return socket.socket(fileno=os.dup(descriptor))


def _is_of(connection: socket.socket, *, peer: str, port: str) -> bool:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    theirs, ours = connection.getpeername(), connection.getsockname()
    address = ipaddress.ip_address(theirs[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address) == peer and str(ours[1]) == port


def _owed_milliseconds(connection: socket.socket) -> int:
    """How long nothing was sent while something that came is unanswered; 0 for an idle connection."""
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    sent, received, segments_sent = _TCP_INFO.unpack(information)
    return int(sent) if received < sent or segments_sent == 0 else 0
