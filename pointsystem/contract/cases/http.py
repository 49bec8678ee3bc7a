"""Headers, addresses and methods."""

from pointsystem.contract import forms
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal, true
from pointsystem.contract.world import World, balance_path, earn_path, spend_path

SPEND = {"points": 10, "reason": "ORDER_PAYMENT"}


@case()
def without_a_valid_key_nothing_is_told(w: World) -> None:
    """Without a key, with a malformed or an unknown one, every address answers the same 401."""
    account = w.account_with(50)
    unknown = "Bearer ps_000000000000_" + "a" * 43
    bodies = set()
    with w.nothing_changes(account):
        for given in ("", "Bearer", "Bearer x", "Basic eDp5", unknown, "Bearer " + "a" * 500):
            headers = [("Authorization", given), ("X-Request-ID", "the-same")]
            for exchange in (
                w.api.get(balance_path(account), headers),
                w.api.get("/api/v1/nowhere", headers),
                w.api.post(spend_path(account), SPEND, headers=headers),
            ):
                forms.refused(exchange, "not_authenticated")
                challenge = exchange.headers.get("www-authenticate", "")
                true("WWW-Authenticate asks for Bearer", challenge.startswith("Bearer"), exchange)
                bodies.add(exchange.body)
    equal("number of different bodies", len(bodies), 1, w.last_exchange)


@case()
def an_unknown_address_is_not_found(w: World) -> None:
    """An address that there is not answers 404 not_found."""
    account = w.account()
    for path in (
        "/api/v1/nowhere",
        f"/api/v1/accounts/{account}",
        f"/api/v1/accounts/{account}/balance/",
        f"/api/v1/accounts/{account}/grant",
        "/api/v1/accounts//balance",
        "/api/v2/operations",
    ):
        exchange = w.api.get(path)
        forms.refused(exchange, "not_found")


@case()
def another_method_is_not_allowed(w: World) -> None:
    """A method that an address does not have answers 405, with those it has in Allow."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for path, allowed in ((earn_path(account), "POST"), (balance_path(account), "GET")):
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "FOO"} - {allowed}:
                exchange = w.api.send(method, path, body=b"{}" if method != "GET" else None)
                forms.refused(exchange, "method_not_allowed")
                equal("Allow", exchange.headers.get("allow"), allowed, exchange)


@case()
def a_method_cannot_be_overridden(w: World) -> None:
    """X-HTTP-Method-Override has no effect."""
    account = w.account_with(50)
    headers = [("X-HTTP-Method-Override", "GET")]
    w.done(w.api.spend(account, 10, headers=headers))
    equal("status", w.api.get(balance_path(account), [("X-HTTP-Method-Override", "DELETE")]).status, 200)
    w.has(account, 40)


@case()
def answers_are_json_or_nothing(w: World) -> None:
    """Who does not accept application/json gets 406, and nothing is done; any range of it will do."""
    account = w.account_with(50)
    with w.nothing_changes(account):
        for accept in ("text/html", "application/xml", "application/json;q=0, */*", "text/*"):
            headers = [("Accept", accept)]
            forms.refused(w.api.get(balance_path(account), headers), "not_acceptable")
            forms.refused(w.api.post(spend_path(account), SPEND, headers=headers), "not_acceptable")
    for accept in ("*/*", "application/*", "text/html, application/json;q=0.1"):
        equal("status", w.api.get(balance_path(account), [("Accept", accept)]).status, 200, w.last_exchange)


@case()
def bodies_are_json_in_utf_8(w: World) -> None:
    """A body of another type, charset or encoding answers 415, and nothing is done."""
    account = w.account_with(50)
    types = ("text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonx", "")
    with w.nothing_changes(account):
        for given in (*types, "application/json; charset=latin-1", "application/json; charset=utf-7"):
            exchange = w.api.post(spend_path(account), SPEND, headers=[("Content-Type", given)])
            forms.refused(exchange, "unsupported_media_type")
        exchange = w.api.post(spend_path(account), SPEND, headers=[("Content-Encoding", "gzip")])
        forms.refused(exchange, "unsupported_media_type")
    for given in ("application/json; charset=UTF-8", "Application/JSON"):
        w.done(w.api.post(spend_path(account), SPEND, headers=[("Content-Type", given)]))
    w.has(account, 30)


@case()
def a_request_id_comes_back(w: World) -> None:
    """An X-Request-ID of the caller comes back, in answers and in problems."""
    account, headers = w.account_with(50), [("X-Request-ID", "order-service:8f3a._-")]
    good = w.api.post(spend_path(account), SPEND, headers=headers)
    bad = w.api.post(spend_path(account), {**SPEND, "points": 0}, headers=headers)
    for exchange in (good, bad):
        equal("X-Request-ID", exchange.headers["x-request-id"], "order-service:8f3a._-", exchange)
    equal("request_id", bad.json["request_id"], "order-service:8f3a._-", bad)


@case()
def a_request_id_is_made_where_none_was_given(w: World) -> None:
    """Without an X-Request-ID, or with one that is none, each request gets an id of its own."""
    account = w.account()
    given = ("", "a b", "x" * 65, "caf\u00e9", "{}")
    made = {w.api.get(balance_path(account)).headers["x-request-id"]}
    for name in given:
        made.add(w.api.get(balance_path(account), [("X-Request-ID", name)]).headers["x-request-id"])
    equal("different ids", len(made - set(given)), len(given) + 1, w.last_exchange)


@case()
def an_operation_is_named_like_its_request(w: World) -> None:
    """The id that is made for a write without an X-Request-ID is the id of its operation."""
    exchange = w.api.earn(w.account(), 10)
    equal("X-Request-ID", exchange.headers["x-request-id"], w.done(exchange)["id"], exchange)


@case()
def it_says_that_it_is_alive(w: World) -> None:
    """/healthz and /readyz answer without a key, and say what is down."""
    nobody = [("Authorization", "")]
    alive = w.api.get("/healthz", nobody)
    equal("body", forms.answered(alive, 200), {"status": "alive"}, alive)
    ready = w.api.get("/readyz", nobody)
    found = forms.answered(ready, 200)
    members = {"status": forms.one_of("ready", "degraded"), "down": lambda value: isinstance(value, list)}
    forms.well_formed("readiness", found, members, ready)
    equal("degraded when something is down", found["status"] == "degraded", bool(found["down"]), ready)
