"""One line for each request that wrote, or was refused; reads that went well are counted, not told.

The line is encoded and written directly: through the logging library it would cost as much as the answer of
a cached balance. It looks like every other line, and LOG_LEVEL and LOG_FORMAT hold for it too.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.conf import settings

if TYPE_CHECKING:
    from pointsystem.api.exchange import Answer, Request
    from pointsystem.api.problems import Problem

logger = logging.getLogger(__name__)

_IS_JSON: Final = settings.LOG_FORMAT == "json"
_encoder = msgspec.json.Encoder()


def _is_told(endpoint: str, status: int) -> bool:
    if status == 200 and endpoint != "batch":
        return logger.isEnabledFor(logging.DEBUG)
    return logger.isEnabledFor(logging.INFO)


def write(
    *, request: "Request", endpoint: str, answer: "Answer", problem: "Problem | None", seconds: float
) -> None:
    """Tell of a request: who asked what, and what became of it. Never the key, the body or the query."""
    if not _is_told(endpoint, answer.status):
        return
    environ = request.environ
    line: dict[str, Any] = {
        "at": datetime.now(UTC),
        "level": "error" if answer.status == 500 else "info",
        "event": "request",
        "request_id": request.request_id,
        "endpoint": endpoint,
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "status": answer.status,
        "milliseconds": round(seconds * 1000, 2),
        "client": request.principal.name if request.principal else None,
    }
    if problem is not None:
        line["code"] = problem.code
        if not isinstance(problem.operation_id, msgspec.UnsetType):
            line["operation_id"] = problem.operation_id
    if _IS_JSON:
        sys.stderr.write(_encoder.encode(line).decode() + "\n")
    else:
        logger.log(logging.ERROR if answer.status == 500 else logging.INFO, "request", extra=line)
