"""P8: the API wrapped around the legacy, against a bare web function that calls the same procedure.

Both sides call the reference legacy on the same PostgreSQL. Ours commits the operation's intent before the
call and its outcome after it, on that server too: three commits where the other side has one. A third side is
the bare function with just these two statements more: so much costs what makes a lost answer safe.
"""

import json
import os
import sys

from bench import compare
from bench.figures.http import EARN_BODY, SPEND_BODY
from bench.figures.options import Options
from bench.load import Requests
from bench.row import Row, against
from bench.world import PREFIX, SCOPES, World
from pointsystem.embedded.processes import Child, free_port
from pointsystem.embedded.stack import ROOT, Stack, _answers_http

#: Few enough to open them one by one before the runs.
_ACCOUNTS = 2_000
_OPEN = """
DO $$ DECLARE code varchar; words varchar; seq bigint; balance bigint; made timestamp; lots text; BEGIN
FOR number IN 0..{last} LOOP
    CALL legacy.PR_POINT_EARN('{prefix}' || number, '11', 1000000000, 'D', NULL, NULL, NULL, 'BENCH',
        code, words, seq, balance, made, lots);
END LOOP;
END $$
"""
#: A legacy that has run for years has figures of its tables; without them its plans change within a run.
_ANALYZE = "ANALYZE"


def legacy(world: World, options: Options) -> list[Row]:
    stack = Stack(
        data_dir=world.stack.data_dir / "wrapped",
        durable=True,
        listed=False,
        with_legacy=True,
        say=options.tell,
    )
    with stack:
        stack.prepare()
        stack.manage("legacy", "install")
        made = stack.manage("create_client", "bench", *(f"--scope={scope}" for scope in SCOPES), "--json")
        with stack.postgres.connect("legacy") as connection:
            connection.execute(_OPEN.format(last=_ACCOUNTS - 1, prefix=PREFIX))
            connection.execute(_ANALYZE)
        ours = stack.start_web(), stack.url
        bare = _bare(stack, "bare_legacy")
        noting = _bare(stack, "bare_noting")
        rows = []
        for kind, body in (("earn", EARN_BODY), ("spend", SPEND_BODY)):
            requests = Requests(
                method="POST",
                path=f"/api/v1/accounts/{PREFIX}{{account}}/{kind}",
                accounts=_ACCOUNTS,
                body=body,
                headers={"Authorization": f"Bearer {json.loads(made)['key']}"},
                key_header=True,
            )
            database = stack.postgres
            sides = [
                world.http_side("ours", ours, requests, database=database),
                world.http_side("bare granian WSGI", bare, requests, database=database),
                world.http_side("bare, with note and end", noting, requests, database=database),
            ]
            measured = compare.interleaved(
                sides, seconds=options.seconds, rounds=options.rounds, tell=options.tell
            )
            ours_of_kind = measured["ours"]
            what = f"POST {kind}, the legacy decides"
            rows += [
                against("P8", what, ours_of_kind, measured["bare granian WSGI"], least=0.6),
                against("P8", what, ours_of_kind, measured["bare, with note and end"]),
                against(
                    "P8",
                    f"bare {kind}, with note and end",
                    measured["bare, with note and end"],
                    measured["bare granian WSGI"],
                ),
            ]
        return rows


def _bare(stack: Stack, module: str) -> tuple[Child, str]:
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(os.cpu_count() or 1)]
    command += ["--blocking-threads", "4", "--blocking-threads-idle-timeout", "600"]
    command += ["--log-level", "warning", f"bench.peers.{module}:application"]
    environment = {**os.environ, **stack.environment(), "PYTHONPATH": str(ROOT)}
    child = Child(
        name=module,
        command=command,
        log=stack.log(module),
        environment=environment,
        directory=ROOT,
        is_ready=lambda: _answers_http("127.0.0.1", port),
    )
    stack.supervisor.add(child)
    return child, f"http://127.0.0.1:{port}"
