"""The database connection of a thread, kept over requests without asking it each time whether it lives.

Django asks (one round trip) at the first query of every request. Here a connection that was used a moment
ago is trusted: should it be lost after all, the request runs once more on a new one. That is safe for
writes too, because they find what they may have committed by their key, under the locks that a session
which still lives would hold (docs/adr/0008-lean-views.md).
"""

import threading
import time
from typing import Final

from django.db import close_old_connections, connection

TRUSTED_SECONDS: Final = 1.0
_CHECK_EVERY_SECONDS: Final = 5.0
_IS_POOLED: Final = connection.settings_dict.get("CONN_MAX_AGE") == 0


class _Thread(threading.local):
    used_at = 0.0
    checked_at = 0.0


_thread = _Thread()


def prepare() -> None:
    """Before a request: close what is too old or dead, when there is a reason to look."""
    now = time.monotonic()
    if now - _thread.used_at > TRUSTED_SECONDS or now - _thread.checked_at > _CHECK_EVERY_SECONDS:
        if not connection.in_atomic_block:
            close_old_connections()
            connection.close_if_health_check_failed()
        _thread.checked_at = now
    _thread.used_at = now


def suspect() -> None:
    """Look at the next request, whatever the time."""
    _thread.checked_at = 0.0


def is_lost() -> bool:
    """Whether the connection of this thread is gone, and a new one may help."""
    if connection.in_atomic_block:
        return False
    wrapped = connection.connection
    return wrapped is None or bool(wrapped.closed)


def renew() -> None:
    """Forget the connection; the next query opens another."""
    connection.close()


def release() -> None:
    """After a request: a pooled connection goes back (its greatest age is 0), any other stays."""
    if _IS_POOLED and not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
