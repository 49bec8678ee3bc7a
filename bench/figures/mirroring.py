"""P9: what a follower costs the API. P10: how fast a backlog is drained, against the API's own peak.

Ledger, reference legacy, web server and workers share one machine and one PostgreSQL, as far as possible from
what a cutover would have: whatever the follower does is taken from the API.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import compare, processor_time
from bench.compare import Run, Side
from bench.figures.http import EARN_BODY, SPEND_BODY
from bench.figures.options import Options
from bench.figures.wrapped import _ACCOUNTS, _ANALYZE, _OPEN
from bench.load import Requests
from bench.row import Row, against
from bench.world import DATABASE, PREFIX, SCOPES, World
from pointsystem.embedded.processes import Child
from pointsystem.embedded.stack import Stack

_STAGES = ("LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST", "NEW_ONLY")
_ROUTE = """
INSERT INTO cutover_route (cohort, stage, epoch, capture, changed_at)
VALUES ('default', 'LEGACY_ONLY', 1, false, clock_timestamp()) ON CONFLICT (cohort) DO NOTHING
"""
_DRAINED = """
SELECT count(*) / nullif(extract(epoch FROM max(settled_at) - min(settled_at)), 0)
FROM cutover_message WHERE settled_at > %s
"""
_DRAINED_WITHIN_SECONDS = 600.0
_SHARE_OF_SPENDS = 0.3


class Cutover:
    """A product over the reference legacy, whose stage can be set, and whose workers can be stopped."""

    def __init__(self, world: World, stack: Stack) -> None:
        self._world = world
        self.stack = stack
        stack.prepare()
        stack.manage("legacy", "install")
        made = stack.manage("create_client", "bench", *(f"--scope={scope}" for scope in SCOPES), "--json")
        with stack.postgres.connect("legacy") as connection:
            connection.execute(_OPEN.format(last=_ACCOUNTS - 1, prefix=PREFIX))
            connection.execute(_ANALYZE)
        with stack.postgres.connect(DATABASE) as connection:
            connection.execute(_ROUTE)
        self.key = str(json.loads(made)["key"])
        self.web = stack.start_web(), stack.url
        self.requests = Requests(
            method="POST",
            path=f"/api/v1/accounts/{PREFIX}{{account}}/earn",
            accounts=_ACCOUNTS,
            body=EARN_BODY,
            headers={"Authorization": f"Bearer {self.key}"},
            key_header=True,
            other=(_SHARE_OF_SPENDS, f"/api/v1/accounts/{PREFIX}{{account}}/spend", SPEND_BODY),
        )
        self.workers: list[Child] = []
        # Every account is followed from its first row on before anything is measured.
        self.start_workers()
        self.set_stage("LEGACY_FIRST")
        world.tell("following what the legacy has")
        self.drain()

    def start_workers(self) -> None:
        self.workers = self.stack.start_workers()

    def stop_workers(self) -> None:
        for child in self.workers:
            self.stack.supervisor.remove(child)
        self.workers = []

    def set_stage(self, stage: str) -> None:
        """One step after the other, as the database wants it; every process reads it within a moment."""
        with self.stack.postgres.connect(DATABASE) as connection:
            connection.execute("UPDATE cutover_route SET capture = true, epoch = epoch + 1 WHERE NOT capture")
            while (now := self._stage(connection)) != _STAGES.index(stage):
                step = _STAGES[now + 1] if now < _STAGES.index(stage) else _STAGES[now - 1]
                connection.execute("UPDATE cutover_route SET stage = %s, epoch = epoch + 1", [step])
        time.sleep(0.5)

    @staticmethod
    def _stage(connection: object) -> int:
        row = connection.execute("SELECT stage FROM cutover_route").fetchone()  # type: ignore[attr-defined]
        return _STAGES.index(row[0])

    def waiting(self) -> int:
        with self.stack.postgres.connect(DATABASE) as connection:
            row = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE state = 'parked') FROM cutover_message"
                " WHERE state IN ('waiting', 'parked')"
            ).fetchone()
        assert row is not None
        if row[1]:
            raise RuntimeError(f"{row[1]} messages were parked")
        return int(row[0])

    def drain(self) -> Run:
        """Wait until nothing is left to deliver; how many messages a second that were, from the first that
        was applied to the last, and their processor time: how workers start is another matter."""
        with self.stack.postgres.connect(DATABASE) as connection:
            begun = connection.execute("SELECT clock_timestamp()").fetchone()
            assert begun is not None
            self._wait(until_below=self.waiting())
            left, used = self.waiting(), self._processor_seconds()
            self._wait(until_below=1)
            workers, database = (
                after - before for before, after in zip(used, self._processor_seconds(), strict=True)
            )
            row = connection.execute(_DRAINED, [begun[0]]).fetchone()
        assert row is not None
        return Run(
            rate=float(row[0] or 0.0),
            server_processor=workers / max(left, 1) * 1e6,
            database_processor=database / max(left, 1) * 1e6,
        )

    def _wait(self, *, until_below: int) -> None:
        give_up_at = time.perf_counter() + _DRAINED_WITHIN_SECONDS
        while until_below and self.waiting() >= until_below:
            if time.perf_counter() > give_up_at:
                raise TimeoutError("the backlog was not drained")
            time.sleep(0.05)

    def _processor_seconds(self) -> tuple[float, float]:
        server = self.stack.postgres.child
        return (
            processor_time.used_seconds([child.pid for child in self.workers if child.pid]),
            processor_time.used_seconds([server.pid] if server else []),
        )

    def api(self, seconds: float) -> Run:
        side = self._world.http_side("api", self.web, self.requests, database=self.stack.postgres)
        return side.run(seconds)


@contextmanager
def over_a_legacy(world: World, options: Options, name: str) -> Iterator[Cutover]:
    stack = Stack(
        data_dir=world.stack.data_dir / name,
        durable=True,
        listed=False,
        with_legacy=True,
        say=options.tell,
    )
    with stack:
        yield Cutover(world, stack)


def followed(world: World, options: Options) -> list[Row]:
    """P9: the API with a follower against the API without one."""
    rows = []
    with over_a_legacy(world, options, "followed") as cutover:
        for followed_stage, alone_stage in (("LEGACY_FIRST", "LEGACY_ONLY"), ("NEW_FIRST", "NEW_ONLY")):
            sides = [_side(cutover, followed_stage, alone_stage), _side(cutover, alone_stage, followed_stage)]
            measured = compare.interleaved(
                sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell
            )
            rows.append(
                against(
                    "P9",
                    f"POST earn and spend in {followed_stage}",
                    measured[followed_stage],
                    measured[alone_stage],
                    least=0.7,
                )
            )
    return rows


def _side(cutover: Cutover, stage: str, followed_stage: str) -> Side:
    """The API in `stage`; what the run before has left is drained first."""
    delivering = stage if stage in ("LEGACY_FIRST", "NEW_FIRST") else followed_stage

    def run(seconds: float) -> Run:
        cutover.set_stage(delivering)
        cutover.drain()
        cutover.set_stage(stage)
        return cutover.api(seconds)

    return Side(name=stage, run=run)


def drained(world: World, options: Options) -> list[Row]:
    """P10: messages applied a second, against what the API decides a second while nobody follows."""
    rows = []
    with over_a_legacy(world, options, "drained") as cutover:
        for stage, what in (("LEGACY_FIRST", "to the ledger"), ("NEW_FIRST", "to the legacy")):
            cutover.set_stage(stage)
            cutover.drain()

            def peak(seconds: float) -> Run:
                cutover.stop_workers()
                return cutover.api(seconds)

            def drain(seconds: float) -> Run:
                cutover.start_workers()
                return cutover.drain()

            sides = [Side(name="the API's peak", run=peak), Side(name=f"drained {what}", run=drain)]
            measured = compare.interleaved(
                sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell
            )
            rows.append(
                against(
                    "P10",
                    f"backlog {what}, {len(cutover.workers)} children",
                    measured[f"drained {what}"],
                    measured["the API's peak"],
                    least=1.5,
                )
            )
    return rows
