"""Who asks: the key of the Authorization header, remembered in this process for one second.

So a revoked key is refused everywhere within a second, and a busy client costs one query a second. What is
remembered is found by the digest of the key, which nobody can steer towards another's; a miss compares
digests in constant time (`ledger.clients.authenticate`).
"""

import hashlib
import time
from typing import Final

from ledger.clients import Principal, authenticate
from pointsystem.api.headers import Environ
from pointsystem.api.problems import Refused

REMEMBERED_SECONDS: Final = 1.0
_MOST_REMEMBERED: Final = 10_000
_MOST_HEADER_CHARACTERS: Final = 200

_remembered: dict[bytes, tuple[float, Principal | None]] = {}


def principal_of(environ: Environ) -> Principal:
    """The client of this request. Raises Refused (`not_authenticated`), always with the same words, and
    OperationalError when PostgreSQL is away."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if len(header) > _MOST_HEADER_CHARACTERS or header[:7].lower() != "bearer ":
        raise _not_authenticated()
    key = header[7:]
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    now = time.monotonic()
    known = _remembered.get(digest)
    if known is None or known[0] < now:
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        # The second runs from before the query: what it saw may be as old as that.
        known = (now + REMEMBERED_SECONDS, authenticate(key=key))
        _remembered[digest] = known
    if known[1] is None:
        raise _not_authenticated()
    return known[1]


def forget() -> None:
    """Ask the database again at the next request (tests)."""
    _remembered.clear()


def _not_authenticated() -> Refused:
    return Refused(
        "not_authenticated",
        "A valid key is needed: Authorization: Bearer KEY.",
        headers=[("WWW-Authenticate", 'Bearer realm="points"')],
    )
