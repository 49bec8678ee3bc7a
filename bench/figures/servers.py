"""Figures of the SQL: P4 against other ledgers, P5 against pgbench, P18 what is written."""

import psycopg
from psycopg import sql

from bench import compare, database_load, inside, statements
from bench.compare import Side
from bench.figures.http import writing
from bench.figures.options import Options
from bench.row import Row, against, missing
from bench.world import World

_PGBENCH = "pgbench is not on PATH"
_PGLEDGER_ACCOUNTS = 10_000
_PGLEDGER = "pgledger"


def scripts(world: World) -> dict[str, str]:
    known = world.known
    return {
        "earn": statements.pgbench_script(statements.earn(), known, reason_id=known.earn_reason_id),
        "spend": statements.pgbench_script(statements.spend(), known, reason_id=known.spend_reason_id),
    }


# --- P5 -------------------------------------------------------------------------------------------------
def database_alone(world: World, options: Options) -> list[Row]:
    """P5: the API against the same statements from pgbench, with as many clients."""
    rows = []
    for kind, script in scripts(world).items():
        what = f"POST {kind}"
        if not database_load.is_there():
            rows.append(missing("P5", what, other="pgbench", target=">= 0.35", note=_PGBENCH))
            continue
        sides = [
            world.http_side("ours", world.web(), writing(world, kind)),
            database_load.side(world, "pgbench", script),
        ]
        measured = compare.interleaved(
            sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell
        )
        rows.append(against("P5", what, measured["ours"], measured["pgbench"], least=0.35))
    return rows


# --- P4 -------------------------------------------------------------------------------------------------
def other_ledgers(world: World, options: Options) -> list[Row]:
    return [*_pgledger_rows(world, options), *_hordak_rows(world, options)]


def _pgledger_rows(world: World, options: Options) -> list[Row]:
    if not options.pgledger_sql:
        note = "give its SQL files with --pgledger-sql (pgr0ss/pgledger, and uuid_to_ulid before it)"
        return [missing("P4", "earn, spend in SQL", other=_PGLEDGER, target=">= 3 its transfer", note=note)]
    if not database_load.is_there():
        return [missing("P4", "earn, spend in SQL", other=_PGLEDGER, target=">= 3", note=_PGBENCH)]
    identifiers = _install_pgledger(world, options)
    script = _pgledger_script(world, identifiers)
    sides: list[Side] = [database_load.side(world, name, text) for name, text in scripts(world).items()]
    sides.append(database_load.side(world, _PGLEDGER, script, url=_pgledger_url(world)))
    measured = compare.interleaved(sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell)
    rows = [
        against("P4", f"{kind} in SQL (pgbench)", measured[kind], measured[_PGLEDGER], least=3.0)
        for kind in ("earn", "spend")
    ]
    sides = [
        world.http_side("HTTP earn", world.web(), writing(world, "earn")),
        world.http_side("HTTP spend", world.web(), writing(world, "spend")),
        inside.side(world, "pgledger from psycopg", "pgledger", url=_pgledger_url(world)),
    ]
    measured = compare.interleaved(sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell)
    rows += [
        against("P4", f"whole {name}", measured[name], measured["pgledger from psycopg"], least=1.0)
        for name in ("HTTP earn", "HTTP spend")
    ]
    return rows


def _pgledger_url(world: World) -> str:
    return world.superuser_url.rsplit("/", 1)[0] + f"/{_PGLEDGER}"


def _install_pgledger(world: World, options: Options) -> int:
    """A database with its functions and accounts; how many accounts there are."""
    with world.superuser("postgres") as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(_PGLEDGER)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_PGLEDGER)))
    with world.superuser(_PGLEDGER) as connection:
        for path in options.pgledger_sql:
            connection.execute(path.read_text().encode())
        connection.execute(
            "CREATE TABLE bench_account AS SELECT number, (pgledger_create_account('a' || number, 'KRW')).id"
            " FROM generate_series(0, %s) AS number" % (_PGLEDGER_ACCOUNTS - 1)
        )
        connection.execute("CREATE UNIQUE INDEX ON bench_account (number) INCLUDE (id)")
        connection.execute("VACUUM ANALYZE")
    return _PGLEDGER_ACCOUNTS


def _pgledger_script(world: World, accounts: int) -> str:
    """Accounts are found by a number of their own, as a caller would know them."""
    return (
        f"\\set source random(0, {accounts // 2 - 1})\n\\set target random({accounts // 2}, {accounts - 1})\n"
        "\\set amount random(1, 100)\n"
        "SELECT * FROM pgledger_create_transfer("
        "(SELECT id FROM bench_account WHERE number = :source),"
        " (SELECT id FROM bench_account WHERE number = :target), :amount::bigint);\n"
    )


def _hordak_rows(world: World, options: Options) -> list[Row]:
    if not (world.peers_dir / "hordak").exists():
        note = "django-hordak is not installed; `manage.py bench --install-peers` gets it"
        return [missing("P4", "whole HTTP earn", other="django-hordak", target=">= 10", note=note)]
    inside.prepare_hordak(world)
    sides = [
        world.http_side("HTTP earn", world.web(), writing(world, "earn")),
        world.http_side("HTTP spend", world.web(), writing(world, "spend")),
        inside.side(world, "django-hordak, called in Python", "hordak", url=inside.hordak_url(world)),
    ]
    measured = compare.interleaved(sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell)
    return [
        against(
            "P4", f"whole {name}", measured[name], measured["django-hordak, called in Python"], least=10.0
        )
        for name in ("HTTP earn", "HTTP spend")
    ]


# --- P18 ------------------------------------------------------------------------------------------------
_TABLES = (
    "ledger_operation",
    "ledger_entry",
    "ledger_lot",
    "ledger_allocation",
    "ledger_open_lot",
    "ledger_account",
    "ledger_stale_balance",
)


def written(world: World, options: Options) -> list[Row]:
    """P18: WAL and rows of an operation; once without the page images that follow a checkpoint."""
    if not database_load.is_there():
        return [missing("P18", "WAL", other="", target="<= 1,300 bytes", note=_PGBENCH)]
    rows = []
    for kind, script in scripts(world).items():
        with world.superuser() as connection:
            without_images = _bytes_each(world, connection, kind, script, full_page_writes=False)
            with_images = _bytes_each(world, connection, kind, script, full_page_writes=True)
            changed = _rows_each(world, connection, kind, script)
            size = _disk_bytes_each(connection)
        rows.append(
            Row(
                figure="P18",
                what=f"WAL of a {kind}",
                ours=f"{without_images:,.0f} bytes",
                other="-",
                target="<= 1,300 bytes",
                met=without_images <= 1300,
                note=f"{with_images:,.0f} bytes with page images after a checkpoint; rows {changed}; {size}",
                details={"bytes": without_images, "bytes_with_page_images": with_images},
            )
        )
    return rows


def _bytes_each(
    world: World, connection: psycopg.Connection, kind: str, script: str, *, full_page_writes: bool
) -> float:
    connection.execute(
        sql.SQL("ALTER SYSTEM SET full_page_writes = {}").format("on" if full_page_writes else "off")
    )
    connection.execute("SELECT pg_reload_conf()")
    connection.execute("CHECKPOINT")
    side = database_load.side(world, kind, script, clients=4)
    side.run(1)
    before, first = _wal(connection), _count(connection)
    side.run(4)
    used, done = _wal(connection) - before, _count(connection) - first
    connection.execute("ALTER SYSTEM RESET full_page_writes")
    connection.execute("SELECT pg_reload_conf()")
    return used / max(done, 1)


def _wal(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").fetchone()
    assert row is not None
    return int(row[0])


def _count(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM ledger_operation").fetchone()
    assert row is not None
    return int(row[0])


def _rows_each(world: World, connection: psycopg.Connection, kind: str, script: str) -> str:
    """Rows inserted, updated and deleted by one operation, over all tables of the ledger."""
    query = (
        "SELECT sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_del)::bigint"
        " FROM pg_stat_user_tables WHERE relname = ANY (%s)"
    )
    before = connection.execute(query, [list(_TABLES)]).fetchone()
    first = _count(connection)
    database_load.side(world, kind, script, clients=4).run(2)
    # Sessions report what they did when they end.
    connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(1)")
    after = connection.execute(query, [list(_TABLES)]).fetchone()
    done = max(_count(connection) - first, 1)
    assert before is not None
    assert after is not None
    inserted, updated, deleted = ((new - old) / done for new, old in zip(after, before, strict=True))
    return f"inserted {inserted:.1f}, updated {updated:.1f}, deleted {deleted:.1f}"


def _disk_bytes_each(connection: psycopg.Connection) -> str:
    row = connection.execute(
        "SELECT sum(pg_table_size(relid)), sum(pg_indexes_size(relid)),"
        " (SELECT count(*) FROM ledger_operation) FROM pg_stat_user_tables WHERE relname = ANY (%s)",
        [list(_TABLES)],
    ).fetchone()
    assert row is not None
    return f"disk {row[0] / row[2]:,.0f} + {row[1] / row[2]:,.0f} bytes of indexes an operation"
