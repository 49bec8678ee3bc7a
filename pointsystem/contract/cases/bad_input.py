"""What cannot be read or accepted: told precisely, and without a trace."""

import json
from collections.abc import Iterator

from pointsystem.contract import forms
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal
from pointsystem.contract.world import World, balance_path, cancel_path, earn_path, history_path, spend_path

#: JSON that is none, or says something twice.
NOT_JSON = (
    b"",
    b" ",
    b"{",
    b'{"points": 10, "reason": "ORDER_PAYMENT"',
    b'{"points": 10, "reason": "ORDER_PAYMENT",}',
    b'{"points": 10, "reason": "ORDER_PAYMENT"} x',
    b'\xef\xbb\xbf{"points": 10, "reason": "ORDER_PAYMENT"}',
    '{"points": 10, "reason": "ORDER_PAYMENT"}'.encode("utf-16"),
    b'{"points": 10, "reason": "\xff"}',
    b'{"points": 10, "points": 1, "reason": "ORDER_PAYMENT"}',
    b'{"points": 10, "reason": "ORDER_PAYMENT", "metadata": {"a": 1, "a": 2}}',
    b'{"points": 10, "reason": "ORDER_PAYMENT", "metadata": {"a": "\\ud800"}}',
    b"[]",
    b"null",
    b"10",
    b'"points"',
    b"[" * 10_000,
)
#: Numbers that JSON does not have.
NO_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b".5", b"1.", b"0x10", b"1_000")
#: Points that are of another JSON type than a whole number, and what is out of range.
WRONG_TYPES = (
    b"1.5",
    b"1.0",
    b"1e3",
    b'"10"',
    b'""',
    '"\u0661\u0662"'.encode(),
    '"\uff11\uff12"'.encode(),
    b"true",
    b"null",
    b"[]",
    b"{}",
)
OUT_OF_RANGE = (b"0", b"-0", b"-1", b"1000000001", b"9223372036854775807", b"9223372036854775808", b"9" * 400)


def with_points(literal: bytes) -> bytes:
    return b'{"reason": "ORDER_PAYMENT", "points": ' + literal + b"}"


def writes(w: World, account: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The path and a good body of every write that any implementation can do."""
    spent = w.spent(account, 1)
    yield earn_path(account), {"points": 10, "reason": "ORDER_REWARD"}
    yield spend_path(account), {"points": 10, "reason": "ORDER_PAYMENT"}
    yield cancel_path(spent["id"]), {"points": 1}
    yield "/api/v1/transfers", {"from": account, "to": w.account(), "points": 10, "reason": "GIFT"}


@case()
def what_is_no_json_is_refused(w: World) -> None:
    """A body that is no JSON object, or says a name twice, answers 400 malformed_request."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for body in NOT_JSON:
            forms.refused(w.api.post(spend_path(account), body), "malformed_request")


@case()
def numbers_are_those_of_json(w: World) -> None:
    """A number that JSON does not have answers 400 malformed_request."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for literal in NO_NUMBERS:
            forms.refused(w.api.post(spend_path(account), with_points(literal)), "malformed_request")


@case()
def points_are_whole_numbers(w: World) -> None:
    """Points are an integer literal: no fraction, no exponent, no text, no true and no null."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for literal in WRONG_TYPES:
            forms.invalid(w.api.post(spend_path(account), with_points(literal)), points="wrong_type")


@case()
def points_are_from_1_to_a_billion(w: World) -> None:
    """Points below 1 or above 1,000,000,000 are out of range, however large."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for literal in OUT_OF_RANGE:
            forms.invalid(w.api.post(spend_path(account), with_points(literal)), points="out_of_range")


@case()
def unknown_members_are_refused(w: World) -> None:
    """A member that does not exist is refused by every write, in any spelling, and named."""
    account = w.account_with(50)
    requests = list(writes(w, account))
    with w.nothing_changes(account):
        for path, body in requests:
            for name in ("colour", "Points", "points ", "account", "idempotency_key"):
                exchange = w.api.post(path, {**body, name: 1})
                forms.invalid(exchange, **{name: "unknown_field"})


@case()
def missing_members_are_named(w: World) -> None:
    """A member that is missing is named, and so is everything else that is wrong, at once."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        forms.invalid(w.api.post(earn_path(account), {}), points="missing", reason="missing")
        forms.invalid(w.api.post(spend_path(account), {"points": 0}), points="out_of_range", reason="missing")
        body = {"points": "1", "reason": "no", "reference": "", "occurred_at": "now", "x": 1}
        exchange = w.api.post(spend_path(account), body)
        wanted = {
            "points": "wrong_type",
            "reason": "bad_format",
            "reference": "bad_format",
            "occurred_at": "bad_format",
            "x": "unknown_field",
        }
        forms.invalid(exchange, **wanted)
        transfer = dict.fromkeys(("from", "to", "points", "reason"), "missing")
        forms.invalid(w.api.post("/api/v1/transfers", {}), **transfer)


@case()
def identifiers_are_read_strictly(w: World) -> None:
    """References are 1 to 64 letters, digits and `._:-`, and never trimmed or mended."""
    account = w.account_with(50)
    bad = ("", "r" * 65, " r", "r ", "a b", "a\n", "a\u0000", "\u0661", "caf\u00e9", "%", "a/b", "';--")
    with w.nothing_changes(account):
        for reference in bad:
            forms.invalid(w.api.spend(account, 1, reference=reference), reference="bad_format")
        for other in (5, True, ["r"]):
            forms.invalid(w.api.spend(account, 1, reference=other), reference="wrong_type")


@case()
def account_numbers_are_read_strictly(w: World) -> None:
    """An account number that is none is refused in every address, by reads and writes alike."""
    for number in ("a b", "a" * 65, "caf\u00e9", "a\n", "a\u0000", "'", "a%2Fb", " a"):
        for path in (balance_path(number), history_path(number)):
            forms.invalid(w.api.get(path), account_number="bad_format")
        forms.invalid(w.api.earn(number, 1), account_number="bad_format")
        forms.invalid(w.api.spend(number, 1), account_number="bad_format")


@case()
def times_are_read_strictly(w: World) -> None:
    """A time is RFC 3339 with an offset, and one that there is."""
    account = w.account_with(50)
    bad = (
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "20260101T000000Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+0900",
        "2026-W01-1T00:00:00Z",
        "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
        "",
    )
    with w.nothing_changes(account):
        for moment in bad:
            forms.invalid(w.api.spend(account, 1, occurred_at=moment), occurred_at="bad_format")
            forms.invalid(w.api.earn(account, 1, expires_at=moment), expires_at="bad_format")
        forms.invalid(w.api.spend(account, 1, occurred_at=1767225600), occurred_at="wrong_type")


@case()
def metadata_is_bounded(w: World) -> None:
    """metadata has up to 20 keys of text, whole numbers and booleans, and up to 2 KiB."""
    account = w.account_with(50)
    bad = (
        {f"k{n}": n for n in range(21)},
        {"a": "x" * 2048},
        {"a": 1.5},
        {"a": None},
        {"a": {"b": 1}},
        {"a": [1]},
        {"": 1},
        {"a": "line\nbreak"},
        {"a": "\u0000"},
        {"a": 2**53},
    )
    with w.nothing_changes(account):
        for metadata in bad:
            forms.invalid(w.api.spend(account, 1, metadata=metadata), metadata="bad_value")
        for other in ("text", 5, [1]):
            forms.invalid(w.api.spend(account, 1, metadata=other), metadata="wrong_type")
    kept = {f"k{n}": n for n in range(20)}
    equal("metadata", w.spent(account, 1, metadata=kept)["metadata"], kept, w.last_exchange)


@case()
def deep_nesting_is_refused(w: World) -> None:
    """A body that nests deeper than 20 levels answers 400, however deep."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for depth in (21, 500, 10_000):
            body = b'{"points": 1, "reason": "ORDER_PAYMENT", "metadata": ' + b'{"a":' * depth
            body += b"1" + b"}" * depth + b"}"
            forms.refused(w.api.post(spend_path(account), body), "malformed_request")


@case()
def text_is_kept_as_text(w: World) -> None:
    """What looks like SQL, a path or a template is text like any other, and comes back as it was."""
    account = w.account()
    texts = (
        "'; DROP TABLE ledger_entry; --",
        "%s %(x)s",
        "../../etc/passwd",
        "${HOME}",
        "{{7*7}}",
        "\\",
        "<b>",
    )
    metadata = {f"k{n}": text for n, text in enumerate(texts)}
    earned = w.earned(account, 10, metadata=metadata)
    equal("metadata", earned["metadata"], metadata, w.last_exchange)
    equal("metadata", w.api.operation(earned["id"])["metadata"], metadata, w.last_exchange)


@case()
def a_large_body_is_refused(w: World) -> None:
    """A body above 64 KiB answers 413 payload_too_large; one just below is read."""
    account = w.account_with(50)
    body = json.dumps({"points": 10, "reason": "ORDER_PAYMENT"}).encode()
    with w.nothing_changes(account):
        large = w.api.post(spend_path(account), body.ljust(64 * 1024 + 1))
        forms.refused(large, "payload_too_large")
    w.done(w.api.post(spend_path(account), body.ljust(64 * 1024)))
    w.has(account, 40)


@case()
def a_null_byte_in_a_query_is_refused(w: World) -> None:
    """A query that is no text is refused, and never an error of the server."""
    account = w.account()
    for query in ("?as_of=%00", "?as_of=%FF", "?%00=1", "?=1"):
        forms.refused(w.api.get(balance_path(account) + query), "validation_failed")
