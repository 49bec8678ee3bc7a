"""UUIDv7 (RFC 9562): ids that sort by the millisecond they were made in."""

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last_timestamp = 0
_counter = 0


def uuid7() -> UUID:
    """A new UUIDv7, greater than every one that this process made before.

    The 12 bits after the milliseconds are a counter (RFC 9562, 6.2, method 1), so that lots made
    in one millisecond keep their order.
    """
    global _last_timestamp, _counter
    random = int.from_bytes(os.urandom(8), "big")
    with _lock:
        timestamp = time.time_ns() // 1_000_000
        if timestamp > _last_timestamp:
            _last_timestamp, _counter = timestamp, random >> 54 & 0x1FF
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_timestamp, _counter = _last_timestamp + 1, 0
        timestamp, counter = _last_timestamp, _counter
    return UUID(int=timestamp << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random & 0x3FFFFFFFFFFFFFFF)
