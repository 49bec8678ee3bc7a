"""One run: the cache, then one snapshot on which statements and replay work side by side."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from ledger.balances import RedisUnavailable
from ledger.verification import cache as cache_checks
from ledger.verification import guards as guard_checks
from ledger.verification import replay as replay_checks
from ledger.verification.collector import Collector
from ledger.verification.operation_statements import STATEMENTS_OF_OPERATIONS
from ledger.verification.replay import Replayed
from ledger.verification.report import Report, Skipped
from ledger.verification.statements import ORPHANS, STATEMENTS_OF_POSTINGS, UNGRANTED, Statement

_STATEMENTS = (*STATEMENTS_OF_POSTINGS, *STATEMENTS_OF_OPERATIONS)
_TOTAL = {
    "points_conserved_in_total": ("I1", "entries, lots, open lots and accounts hold the same points in total")
}
#: Every check there is: name to (invariant, meaning).
CHECKS: dict[str, tuple[str, str]] = {
    **_TOTAL,
    **replay_checks.CHECKS,
    **{
        name: known
        for statement in (*_STATEMENTS, ORPHANS, UNGRANTED)
        for name, known in statement.checks.items()
    },
    **guard_checks.CHECKS,
    **cache_checks.CHECKS,
}

_FIGURES = """
SELECT (SELECT count(*) FROM ledger_account), (SELECT count(*) FROM ledger_operation), count(*),
    (SELECT count(*) FROM ledger_lot), coalesce(sum(points), 0)::bigint
FROM ledger_entry
"""
_TOTALS = """
SELECT count(*), coalesce(sum(points), 0)::bigint,
    (SELECT coalesce(sum(remaining), 0)::bigint FROM ledger_open_lot),
    (SELECT coalesce(sum(balance), 0)::bigint FROM ledger_account)
FROM ledger_allocation
"""


def verify(
    *,
    examples: int = 5,
    guards: bool = True,
    cache: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Prove everything once more, and report what does not hold with up to `examples` of each.

    Inside the caller's transaction it sees what that transaction sees. Otherwise it opens a read-only
    snapshot of its own, and a second connection on the same snapshot, so that two processors are used.
    `guards` and `cache` leave out the catalogue and Redis. Raises DatabaseError.
    """
    started = time.monotonic()
    report = Report()
    collector = Collector(known=CHECKS, examples=examples)
    if cache:
        _check_cache(report, collector, say)
    with _snapshot() as snapshot:
        if guards:
            _check_guards(report, collector, say)
        if snapshot is None:
            _run_statements(report, collector, say)
            replayed = _replay(report, collector, say)
        else:
            replayed = _side_by_side(snapshot, report, collector, say)
        _name_what_did_not_pass_by(replayed, report, collector)
    report.breaches = collector.breaches()
    report.seconds = time.monotonic() - started
    return report


@contextmanager
def _snapshot() -> Iterator[str | None]:
    """A read-only snapshot and its name for others; None inside the caller's transaction."""
    if connection.in_atomic_block:
        yield None
        return
    with transaction.atomic(), connection.cursor() as cursor:
        _set_up(cursor.execute)
        cursor.execute("SELECT pg_export_snapshot()")
        (name,) = cursor.fetchone()
        yield name


def _set_up(execute: Callable[[str], object]) -> None:
    execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    # The limits of a request are not those of a proof; nothing here waits for a lock.
    execute("SET LOCAL statement_timeout = 0")
    execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    execute("SET LOCAL work_mem = '128MB'")


def _side_by_side(
    snapshot: str, report: Report, collector: Collector, say: Callable[[str], None]
) -> Replayed:
    """The statements on a second connection, and the replay on this one."""
    failures: list[BaseException] = []

    def run() -> None:
        # A thread has a connection of its own.
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                _set_up(cursor.execute)
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                _run_statements(report, collector, say)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="verify-ledger")
    thread.start()
    try:
        replayed = _replay(report, collector, say)
    finally:
        thread.join()
    if failures:
        raise failures[0]
    return replayed


def _run_statements(report: Report, collector: Collector, say: Callable[[str], None]) -> None:
    _check_totals(report, collector)
    say("{accounts} accounts, {entries} entries, {allocations} allocations".format(**report.figures))
    for statement in _STATEMENTS:
        started = time.monotonic()
        _run_statement(statement, collector)
        report.checked.extend(statement.checks)
        say(f"checked {statement.about} ({time.monotonic() - started:.1f} s)")


def _run_statement(statement: Statement, collector: Collector) -> None:
    counts: dict[str, int] = {}
    found: dict[str, list[dict[str, object]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(statement.with_examples(), {"examples": collector.examples_at_most})
        names = [column.name for column in cursor.description]
        for values in cursor.fetchall():
            row = dict(zip(names, values, strict=True))
            check = row.pop("check")
            counts[check] = row.pop("found_count")
            row.pop("found_number")
            found.setdefault(check, []).append(
                {name: value for name, value in row.items() if value is not None}
            )
    for check, count in counts.items():
        collector.note_many(check, count=count, examples=found[check])


def _check_totals(report: Report, collector: Collector) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES)
        accounts, operations, entries, lots, in_entries = cursor.fetchone()
        cursor.execute(_TOTALS)
        allocations, in_lots, in_open_lots, in_accounts = cursor.fetchone()
    report.figures = {
        "accounts": accounts,
        "operations": operations,
        "entries": entries,
        "lots": lots,
        "allocations": allocations,
        "points": in_entries,
    }
    report.checked.extend(_TOTAL)
    totals = {"entries": in_entries, "lots": in_lots, "open_lots": in_open_lots, "accounts": in_accounts}
    if len(set(totals.values())) > 1:
        collector.note("points_conserved_in_total", **totals)


def _replay(report: Report, collector: Collector, say: Callable[[str], None]) -> Replayed:
    started = time.monotonic()
    replayed = replay_checks.replay(collector=collector, say=lambda done: say(f"replayed {done} allocations"))
    report.checked.extend(replay_checks.CHECKS)
    say(f"replayed the history of {replayed.allocations} allocations ({time.monotonic() - started:.1f} s)")
    return replayed


def _name_what_did_not_pass_by(replayed: Replayed, report: Report, collector: Collector) -> None:
    """The replay starts from entries: what is in the tables beyond it belongs to none."""
    if replayed.allocations != report.figures["allocations"]:
        _run_statement(ORPHANS, collector)
    if replayed.granted_lots != report.figures["lots"]:
        _run_statement(UNGRANTED, collector)
    report.checked.extend([*ORPHANS.checks, *UNGRANTED.checks])


def _check_guards(report: Report, collector: Collector, say: Callable[[str], None]) -> None:
    unknown_privileges = guard_checks.check_guards(collector=collector)
    report.checked.extend(guard_checks.CHECKS)
    if unknown_privileges:
        report.checked.remove("insert_only_by_privilege")
        report.skipped.append(
            Skipped(invariant="I19", check="insert_only_by_privilege", because=unknown_privileges)
        )
    say("checked the guards in the catalogue")


def _check_cache(report: Report, collector: Collector, say: Callable[[str], None]) -> None:
    try:
        found = cache_checks.check_cache(collector=collector)
    except RedisUnavailable as error:
        report.skipped.extend(
            Skipped(invariant="I12", check=check, because=f"Redis is not there: {error}")
            for check in cache_checks.CHECKS
        )
        say("skipped the balances in Redis: it is not there")
        return
    report.checked.extend(cache_checks.CHECKS)
    say(f"checked {found} balances in Redis")
