"""P12: the migration of a whole history, against raw COPY of the legacy's tables between the two databases.

Ledger and reference legacy share one PostgreSQL. The other side is measured twice: into bare tables, and into
tables with the legacy's own keys and indexes, which is what a copy that can be asked anything takes.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench import compare, processor_time
from bench.compare import Run, Side
from bench.figures.options import Options
from bench.row import Row, against
from bench.world import DATABASE, World
from pointsystem.embedded.stack import ROOT, Stack

_TABLES = ("pt_mbr", "pt_lot", "pt_hist", "pt_hist_lot")
_DEFINITIONS = ROOT / "legacy_bridge" / "reference" / "postgresql" / "01_tables.sql"
_ROWS_AN_ACCOUNT = 10
#: The share of members whose history does not explain what they have.
_FLAWED = 0.03
_EMPTY, _FILLED, _COPY = "points_empty", "points_filled", "legacy_copy"
_MOST_BYTES = 300 * 2**20
_COLUMNS = """
SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
_IS_CAPTURED = """
INSERT INTO cutover_route (cohort, stage, epoch, capture, changed_at)
VALUES ('default', 'LEGACY_ONLY', 1, true, clock_timestamp())
"""


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A command of the product that has ended."""

    said: dict[str, Any]
    seconds: float
    processor_seconds: float
    database_seconds: float
    bytes: int


class _Legacy:
    """A reference legacy with a history, and a ledger beside it that is empty again for each run."""

    def __init__(self, stack: Stack, *, accounts: int) -> None:
        self.stack = stack
        self.accounts = accounts
        stack.prepare()
        stack.manage("legacy", "install")
        stack.manage(
            "legacy",
            "load",
            f"--accounts={accounts}",
            f"--rows={accounts * _ROWS_AN_ACCOUNT}",
            f"--flawed={_FLAWED}",
        )
        with stack.postgres.connect(DATABASE) as connection:
            # As a migration beside live traffic has it (docs/concepts/migration.md).
            connection.execute(_IS_CAPTURED)
        with stack.postgres.connect("legacy") as connection:
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE")
            row = connection.execute("SELECT count(*) FROM legacy.pt_hist").fetchone()
        assert row is not None
        self.rows = int(row[0])
        self._anew(_EMPTY, template=DATABASE)
        #: What the start of a command takes is none of its rate.
        self._start_seconds = self.command("migrate_legacy", "--help").processor_seconds
        self.most_bytes = 0

    # --- the other side -----------------------------------------------------------------------------
    def copy_bare(self, seconds: float) -> Run:
        return self._copied(with_indexes=False)

    def copy_with_indexes(self, seconds: float) -> Run:
        return self._copied(with_indexes=True)

    def _copied(self, *, with_indexes: bool) -> Run:
        self._anew(_COPY)
        with self.stack.postgres.connect("legacy") as legacy, self.stack.postgres.connect(_COPY) as copy:
            if with_indexes:
                copy.execute(_DEFINITIONS.read_text().encode())
            else:
                _make_bare(legacy, copy)
            copy.commit()
            began, used, database = time.perf_counter(), time.process_time(), self._database_seconds()
            for table in _TABLES:
                _copy_table(legacy, copy, table)
            copy.commit()
            return Run(
                rate=self.rows / (time.perf_counter() - began),
                server_processor=(time.process_time() - used) / self.rows * 1e6,
                database_processor=(self._database_seconds() - database) / self.rows * 1e6,
            )

    # --- our side -----------------------------------------------------------------------------------
    def migrate(self, seconds: float) -> Run:
        self._anew(_FILLED, template=_EMPTY)
        done = self.command("migrate_legacy", "--json")
        if done.said["rows_done"] != self.rows:
            raise RuntimeError(f"{done.said['rows_done']} of {self.rows} rows were migrated")
        self.most_bytes = max(self.most_bytes, done.bytes)
        began, ended = (datetime.fromisoformat(done.said[name]) for name in ("started_at", "finished_at"))
        return Run(
            rate=self.rows / (ended - began).total_seconds(),
            server_processor=(done.processor_seconds - self._start_seconds) / self.rows * 1e6,
            database_processor=done.database_seconds / self.rows * 1e6,
        )

    def command(self, *arguments: str) -> _Command:
        """Run a command on the ledger that was filled last."""
        environment = {**os.environ, **self.stack.environment(database=_FILLED)}
        database, began = self._database_seconds(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(arguments)} ended with {process.returncode}: {said.decode()[:500]}"
            )
        return _Command(
            said=json.loads(said) if "--json" in arguments else {},
            seconds=time.perf_counter() - began,
            processor_seconds=used.ru_utime + used.ru_stime,
            database_seconds=self._database_seconds() - database,
            bytes=used.ru_maxrss * 1024,
        )

    def _anew(self, database: str, *, template: str = "template1") -> None:
        with self.stack.postgres.connect() as connection:
            connection.autocommit = True
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    sql.Identifier(database), sql.Identifier(template)
                )
            )
            # What one run left to be written is not the next one's.
            connection.execute("CHECKPOINT")

    def _database_seconds(self) -> float:
        server = self.stack.postgres.child
        return processor_time.used_seconds([server.pid] if server else [])


def _make_bare(legacy: psycopg.Connection, copy: psycopg.Connection) -> None:
    copy.execute("CREATE SCHEMA legacy")
    for table in _TABLES:
        row = legacy.execute(_COLUMNS, [f"legacy.{table}"]).fetchone()
        assert row is not None
        copy.execute(f"CREATE TABLE legacy.{table} ({row[0]})".encode())


def _copy_table(legacy: psycopg.Connection, copy: psycopg.Connection, table: str) -> None:
    source = f"COPY legacy.{table} TO STDOUT (FORMAT binary)".encode()
    target = f"COPY legacy.{table} FROM STDIN (FORMAT binary)".encode()
    with legacy.cursor().copy(source) as reading, copy.cursor().copy(target) as writing:
        for data in reading:
            writing.write(data)


@contextmanager
def _legacy(world: World, options: Options) -> Iterator[_Legacy]:
    stack = Stack(
        data_dir=Path(world.stack.data_dir) / "migrating",
        durable=True,
        listed=False,
        with_legacy=True,
        say=options.tell,
    )
    with stack:
        yield _Legacy(stack, accounts=options.migrated_accounts)


def migrated(world: World, options: Options) -> list[Row]:
    """P12: rows of history a second; then what verification and a delta of nothing take."""
    with _legacy(world, options) as legacy:
        options.tell(f"    {legacy.accounts:,} accounts, {legacy.rows:,} rows")
        sides = [
            Side(name="COPY into bare tables", run=legacy.copy_bare),
            Side(name="COPY into tables with the legacy's indexes", run=legacy.copy_with_indexes),
            Side(name="migrate_legacy", run=legacy.migrate),
        ]
        measured = compare.interleaved(sides, seconds=0, rounds=options.rounds, tell=options.tell)
        rows = [
            against(
                "P12",
                f"migration of {legacy.accounts:,} accounts, {legacy.rows:,} rows",
                measured["migrate_legacy"],
                measured[side.name],
                least=0.25,
            )
            for side in sides[1::-1]
        ]
        return [*rows, _memory(legacy), *_afterwards(legacy)]


def _memory(legacy: _Legacy) -> Row:
    return Row(
        figure="P12",
        what="memory of the process that migrates",
        ours=f"{legacy.most_bytes / 2**20:.0f} MB",
        other="-",
        target="<= 300 MB",
        met=legacy.most_bytes <= _MOST_BYTES,
    )


def _afterwards(legacy: _Legacy) -> Iterator[Row]:
    for what, arguments in (
        ("verify_migration", ("verify_migration", "--json")),
        ("a delta of nothing", ("migrate_legacy", "--delta", "--json")),
    ):
        done = legacy.command(*arguments)
        rate, megabytes = legacy.rows / done.seconds, done.bytes / 2**20
        yield Row(
            figure="P12",
            what=f"{what}, {legacy.rows:,} rows",
            ours=f"{done.seconds:.1f} s ({rate:,.0f} rows/s), {megabytes:.0f} MB",
            other="-",
            note=f"CPU s, process + database: {done.processor_seconds:.1f} + {done.database_seconds:.1f}",
        )
