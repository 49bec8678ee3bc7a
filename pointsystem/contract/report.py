"""What a run came to, for people."""

from __future__ import annotations

import textwrap

from pointsystem.contract.client import Exchange
from pointsystem.contract.results import Result, Results, Verdict

#: Enough of a body to see what is wrong with it.
_MOST_BODY_CHARACTERS = 1500
_TELLING_HEADERS = (
    "allow",
    "content-type",
    "idempotency-replayed",
    "location",
    "preference-applied",
    "retry-after",
    "x-request-id",
)


def progress(result: Result, *, place: int, total: int) -> str:
    """One line, for while the suite runs."""
    untold = f"  (not told: {', '.join(sorted(result.cannot_tell))})" if result.cannot_tell else ""
    message = f": {result.message.splitlines()[0]}" if result.message else ""
    return f"{place:>4}/{total} {result.verdict:<11} {result.case.name}{message}{untold}"


def failure(result: Result) -> str:
    """What was promised, how it is broken, and the exchange that broke it."""
    lines = [result.case.name, f"  {result.case.promise}", f"  -> {result.message}"]
    if result.exchange is not None:
        lines.append(textwrap.indent(exchange(result.exchange), "     "))
    return "\n".join(lines)


def exchange(shown: Exchange) -> str:
    """Request and answer as they went over the wire, without the key of the client."""
    request = [f"{shown.method} {shown.path}"]
    request += [f"{name}: {value}" for name, value in shown.sent_headers]
    if shown.sent_body:
        request.append(_body(shown.sent_body))
    answer = [f"{shown.status} ({shown.seconds * 1000:.0f} ms)"]
    answer += [f"{name}: {shown.headers[name]}" for name in _TELLING_HEADERS if name in shown.headers]
    if shown.body:
        answer.append(_body(shown.body))
    return "\n".join([*(f"> {line}" for line in request), *(f"< {line}" for line in answer)])


def _body(body: bytes) -> str:
    text = body.decode("utf-8", "backslashreplace")
    if len(text) > _MOST_BODY_CHARACTERS:
        return f"{text[:_MOST_BODY_CHARACTERS]}... ({len(body)} bytes)"
    return text


def summary(results: Results) -> str:
    """The failures with their exchanges, what is not available and not told, and the totals."""
    parts = [failure(result) for result in results.of(Verdict.FAILED)]
    if unavailable := results.of(Verdict.UNAVAILABLE):
        parts.append(
            "Not available here:\n" + "\n".join(f"  {r.case.name}: {r.message}" for r in unavailable)
        )
    if skipped := results.of(Verdict.SKIPPED):
        parts.append("Skipped:\n" + "\n".join(f"  {r.case.name}: {r.message}" for r in skipped))
    if results.cannot_tell:
        parts.append("Not told here: " + ", ".join(sorted(results.cannot_tell)))
    totals = ", ".join(f"{len(results.of(verdict))} {verdict}" for verdict in Verdict)
    parts.append(f"{len(results.results)} cases: {totals}")
    return "\n\n".join(parts)
