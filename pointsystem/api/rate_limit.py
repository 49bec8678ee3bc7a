"""At most so many requests of a client in a minute, counted by all processes together in Redis.

A client without a limit costs nothing here. Without Redis nobody is refused: the limit protects the
machine, not the points, and a store that is away must not stop a shop. Those requests are counted.
"""

import logging
from typing import Any, Final, cast

import redis
from django_redis import get_redis_connection

from ledger.clients import Principal
from pointsystem.api.problems import Refused
from pointsystem.observability import metrics

WINDOW_MILLISECONDS: Final = 60_000

logger = logging.getLogger(__name__)

# One step in Redis, so that no two requests read the same count. The minute begins with the first request.
_COUNT: Final = """
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    left = tonumber(ARGV[1])
end
return {count, left}
"""


def check(principal: Principal) -> None:
    """Count this request. Raises Refused (`rate_limited`) beyond the client's limit."""
    limit = principal.requests_per_minute
    if limit is None:
        return
    try:
        connection: Any = get_redis_connection("default")
        count, left = cast(
            "tuple[int, int]",
            connection.eval(_COUNT, 1, f"points:rate:{principal.client_id}", WINDOW_MILLISECONDS),
        )
    except (redis.RedisError, OSError):
        metrics.RATE_LIMIT_UNCOUNTED.inc()
        logger.warning("rate limit not counted: Redis did not answer", extra={"client": principal.name})
        return
    if count > limit:
        raise Refused(
            "rate_limited",
            f"{limit} requests a minute are allowed.",
            retry_after_seconds=max(1, -(-left // 1000)),
        )
