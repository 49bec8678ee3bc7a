"""Figures of the HTTP API: P1, P2, P3, P7 and P11."""

import json

from bench import compare
from bench.compare import Side
from bench.figures.options import Options
from bench.load import Requests
from bench.row import Row, against, missing
from bench.world import PREFIX, World

EARN_BODY = '{"points":{points},"reason":"ORDER_REWARD"}'
SPEND_BODY = '{"points":{points},"reason":"ORDER_PAYMENT"}'
_NO_FASTAPI = "FastAPI is not installed; `manage.py bench --install-peers` gets it"
#: The accounts whose balances are read: few enough to be in Redis after the warm-up.
_BALANCES = 500
_ITEMS = 100


def writing(world: World, kind: str, *, accounts: int | None = None) -> Requests:
    return Requests(
        method="POST",
        path=f"/api/v1/accounts/{PREFIX}{{account}}/{kind}",
        accounts=accounts or world.accounts,
        body=EARN_BODY if kind == "earn" else SPEND_BODY,
        headers=world.authorization(),
        key_header=True,
    )


def earn(world: World, options: Options) -> list[Row]:
    return _writing_rows(world, options, figure="P1", kind="earn")


def spend(world: World, options: Options) -> list[Row]:
    return _writing_rows(world, options, figure="P2", kind="spend")


def _writing_rows(world: World, options: Options, *, figure: str, kind: str) -> list[Row]:
    return _against_peers(
        world, options, figure=figure, what=f"POST {kind}", requests=writing(world, kind), least=0.6
    )


def balance(world: World, options: Options) -> list[Row]:
    requests = Requests(
        method="GET",
        path=f"/api/v1/accounts/{PREFIX}{{account}}/balance",
        accounts=_BALANCES,
        headers=world.authorization(),
    )
    body = json.dumps(
        {"account_number": f"{PREFIX}0", "available": 3_000_000, "as_of": "2026-01-01T00:00:00Z"}
    )
    with world.redis().pipeline(transaction=False) as pipeline:
        for number in range(_BALANCES):
            pipeline.set(f"bench:{PREFIX}{number}", body)
        pipeline.execute()
    return _against_peers(
        world, options, figure="P3", what="GET balance (cached)", requests=requests, least=0.5
    )


def _against_peers(
    world: World, options: Options, *, figure: str, what: str, requests: Requests, least: float
) -> list[Row]:
    bare = world.peer("bare")
    assert bare is not None
    sides = [
        world.http_side("ours", world.web(), requests),
        world.http_side("bare granian WSGI", bare, requests),
    ]
    fastapi = world.peer("fastapi")
    if fastapi:
        sides.append(world.http_side("FastAPI on uvicorn", fastapi, requests))
    measured = compare.interleaved(sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell)
    ours = measured["ours"]
    rows = [against(figure, what, ours, measured["bare granian WSGI"], least=least)]
    if fastapi:
        rows.append(against(figure, what, ours, measured["FastAPI on uvicorn"], least=1.0))
    else:
        rows.append(missing(figure, what, other="FastAPI on uvicorn", target=">= 1", note=_NO_FASTAPI))
    return rows


def hot_account(world: World, options: Options) -> list[Row]:
    """P7: 16 clients on one account, nine earns to a spend, against the same over all accounts."""

    def mixed(prefix: str, accounts: int) -> Requests:
        return Requests(
            method="POST",
            path=f"/api/v1/accounts/{prefix}/earn",
            accounts=accounts,
            body=EARN_BODY,
            headers=world.authorization(),
            key_header=True,
            other=(0.1, f"/api/v1/accounts/{prefix}/spend", SPEND_BODY),
        )

    sides = [
        world.http_side("one account", world.web(), mixed(f"{PREFIX}{world.accounts - 1}", 1)),
        world.http_side("all accounts", world.web(), mixed(f"{PREFIX}{{account}}", world.accounts)),
    ]
    measured = compare.interleaved(sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell)
    return [
        against(
            "P7",
            "90/10 earn/spend on one account",
            measured["one account"],
            measured["all accounts"],
            least=0.5,
        )
    ]


def batches(world: World, options: Options) -> list[Row]:
    """P11: operations per second in batches of 100 earns, against one earn a call."""
    item = (
        f'{{"kind":"earn","idempotency_key":"{{key}}","account_number":"{PREFIX}{{account}}",'
        '"points":{points},"reason":"ORDER_REWARD"}'
    )
    batch = Requests(
        method="POST",
        path="/api/v1/operations:batch",
        accounts=world.accounts,
        body=item,
        headers=world.authorization(),
        repeat=_ITEMS,
    )
    sides: list[Side] = [
        world.http_side("batches of 100", world.web(), batch),
        world.http_side("one a call", world.web(), writing(world, "earn")),
    ]
    measured = compare.interleaved(sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell)
    return [
        against(
            "P11",
            "earns in batches of 100",
            measured["batches of 100"],
            measured["one a call"],
            least=8.0,
            note="rates of operations, latencies of requests",
        ),
        missing(
            "P11",
            "earns against TigerBeetle",
            other="TigerBeetle",
            target=">= 0.5 in batches of 100, >= 1 unbatched",
            note="its server comes in no Python package: not measured",
        ),
    ]
