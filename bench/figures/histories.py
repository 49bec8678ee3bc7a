"""P6: what a spend and a read of a balance cost, on long histories and in big ledgers."""

import re
import secrets

from bench import compare, database_load, inside, statements
from bench.compare import Measured, Run, Side
from bench.datasets import History
from bench.figures.http import SPEND_BODY
from bench.figures.options import Options
from bench.load import Requests
from bench.row import Row, missing
from bench.world import World

_MOST = 1.2
_ENTRIES = 100_000
_OPEN = 10
_SMALL_LEDGER = 100_000
_ENTRIES_EACH = 10
_NUMBER = re.compile(r":number(?!\w)")
BIG = "points_big"
_SMALL = "points_small"


def long_histories(world: World, options: Options) -> list[Row]:
    """Every side has one client: the figure is the median time, and not what two cores can do."""
    world.write(History(prefix="L", accounts=1, used_lots=(_ENTRIES - _OPEN) // 2, open_lots=_OPEN))
    world.write(History(prefix="S", accounts=1, open_lots=_OPEN))
    world.write(History(prefix="O", accounts=1, open_lots=_ENTRIES, points=1000))
    return [
        *pages_of_a_spend(world),
        *_accounts(world, options, kind="spend"),
        *_accounts(world, options, kind="balance, cached"),
        *_accounts(world, options, kind="balance, from PostgreSQL"),
        *_ledgers(world, options),
    ]


def pages_of_a_spend(world: World) -> list[Row]:
    """Pages that a spend of one point touches, by EXPLAIN: the same however busy the machine is."""
    pages = {number: _pages(world, number) for number in ("S0", "L0", "O0")}
    short = pages.pop("S0")
    names = {"L0": f"{_ENTRIES:,} entries", "O0": f"{_ENTRIES:,} open lots"}
    return [
        Row(
            figure="P6",
            what=f"pages a spend touches, an account with {names[number]}",
            ours=f"{found} pages",
            other=f"10 entries: {short} pages",
            ratio=found / short,
            target=f"<= {_MOST}" if number == "L0" else "",
            met=found / short <= _MOST if number == "L0" else None,
            details={"pages": found, "pages_with_10_entries": short},
        )
        for number, found in pages.items()
    ]


def _pages(world: World, account: str) -> int:
    script = statements.pgbench_script(
        statements.spend(), world.known, reason_id=world.known.spend_reason_id, account=account
    )
    body = script.splitlines()[-1].rstrip(";").replace(":points", "1")
    with world.superuser() as connection, connection.transaction(force_rollback=True):
        # The first one fills what the session caches.
        for number in (secrets.randbits(60), secrets.randbits(60)):
            statement = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + _NUMBER.sub(str(number), body)
            row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _accounts(world: World, options: Options, *, kind: str) -> list[Row]:
    names = {
        "10 entries": "S0",
        f"{_ENTRIES:,} entries": "L0",
        f"{_ENTRIES:,} open lots": "O0",
    }
    sides = [_account_side(world, name, number, kind=kind) for name, number in names.items()]
    measured = compare.interleaved(
        sides, seconds=options.seconds / 2, rounds=options.rounds, tell=options.tell
    )
    short, *long = measured.values()
    return [_row(f"{kind}, an account with {side.name}", side, short) for side in long]


def _account_side(world: World, name: str, number: str, *, kind: str) -> Side:
    if kind == "balance, from PostgreSQL":

        def run(seconds: float) -> Run:
            result = inside.call(world, "balance", BENCH_ACCOUNT=number, BENCH_SECONDS=str(seconds))
            return Run(rate=result["count"] / seconds, p50=result["p50"], p99=result["p99"])

        return Side(name=name, run=run)
    path = f"/api/v1/accounts/{number}/"
    if kind == "spend":
        requests = Requests(
            method="POST",
            path=path + "spend",
            accounts=1,
            body=SPEND_BODY,
            headers=world.authorization(),
            key_header=True,
            most_points=1,
        )
    else:
        requests = Requests(method="GET", path=path + "balance", accounts=1, headers=world.authorization())
    return world.http_side(name, world.web(), requests, connections=1)


def _ledgers(world: World, options: Options) -> list[Row]:
    what = f"in a ledger of {options.ledger_allocations:,} allocations"
    other = f"in one of {_SMALL_LEDGER:,}"
    if not database_load.is_there():
        return [missing("P6", f"spend {what}", other=other, target="<= 1.2", note="pgbench is not on PATH")]
    rows = []
    sizes = {_SMALL: _SMALL_LEDGER, BIG: options.ledger_allocations}
    for database, allocations in sizes.items():
        world.add_ledger(database, allocations=allocations, entries_each=_ENTRIES_EACH)
    for kind, statement in (("spend", statements.spend()), ("balance", statements.balance())):
        sides = [
            database_load.side(
                world,
                database,
                statements.pgbench_script(
                    statement,
                    world.known_in(database, accounts=allocations // _ENTRIES_EACH),
                    reason_id=world.known.spend_reason_id,
                ),
                url=world.url_of(database),
                clients=1,
            )
            for database, allocations in sizes.items()
        ]
        measured = compare.interleaved(
            sides, seconds=options.seconds / 2, rounds=options.rounds, tell=options.tell
        )
        rows.append(_row(f"{kind} in SQL, {what}", measured[BIG], measured[_SMALL], name=other))
    return rows


def _row(what: str, long: Measured, short: Measured, *, name: str = "") -> Row:
    ours, other = long.median("p50") or 0.0, short.median("p50") or 0.0
    ratio = ours / other if other else None
    return Row(
        figure="P6",
        what=what,
        ours=f"p50 {ours:.2f} ms",
        other=f"{name or short.name}: p50 {other:.2f} ms",
        ratio=ratio,
        target=f"<= {_MOST}",
        met=ratio is not None and ratio <= _MOST,
        details={"sides": [long.as_json(), short.as_json()]},
    )
