"""The operator, who works with the commands of the cutover while the services go on working.

Each step is done in a thread of its own, by the commands that anybody would give, and leaves what was said.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from django.core.management import call_command
from django.core.management.base import CommandError

from cutover.switching import following

OPERATOR: Final = "operator"
APPROVER: Final = "approver"
_READY_SECONDS: Final = 120.0
_FREEZE_MINUTES: Final = "5"
_POLL_SECONDS: Final = 0.1
#: Operations that are always on their way while services go on.
_UNDER_WAY: Final = 5
#: Why the operator sets aside what the shadow compare found.
_WAS_BEHIND: Final = "The side that follows was behind when it was read, and has caught up."


class StepFailed(Exception):
    """A command of the operator was refused, and the story cannot go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one command said. `record` is its last line of JSON; None where there was none."""

    code: int
    record: Any
    said: str


@dataclass(slots=True, kw_only=True)
class Step:
    """One step of the operator: from when to when, by the monotonic clock, and what it came to."""

    name: str
    began: float
    ended: float = 0.0
    #: When the command that changed the route was under way; 0 where none was.
    switch_began: float = 0.0
    switch_ended: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def command(*arguments: str) -> Ran:
    """Give a command, in this process; whatever it ends with is answered."""
    out, errors = StringIO(), StringIO()
    code = 0
    try:
        call_command(*arguments, stdout=out, stderr=errors)
    except CommandError as error:
        code = error.returncode
        errors.write(str(error))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    record = None
    for line in out.getvalue().splitlines():
        if line[:1] in "{[" and line:
            record = json.loads(line)
    return Ran(code=code, record=record, said=(errors.getvalue() or out.getvalue()).strip())


def must(*arguments: str) -> Any:
    """Give a command that has to succeed; its JSON. Raises StepFailed."""
    ran = command(*arguments)
    if ran.code:
        raise StepFailed(f"`{' '.join(arguments)}` ended with {ran.code}: {ran.said[-1500:]}")
    return ran.record


class ControlRoom:
    """Does one step after the other, in another thread."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="operator")
        self._under_way: list[Future[None]] = []
        self._has_failed = False
        self.steps: list[Step] = []

    # --- by the thread that plays the days ----------------------------------------------------------
    def begin(self, name: str, work: Callable[[Step], None]) -> None:
        """Do `work` once all steps before are done."""
        self._under_way.append(self._pool.submit(self._do, name, work))

    def wait(self) -> None:
        """Raises what a step raised."""
        while self._under_way:
            self._under_way[0].result()
            self._under_way.pop(0)

    @property
    def is_busy(self) -> bool:
        return not all(future.done() for future in self._under_way)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.name == name), None)

    def _do(self, name: str, work: Callable[[Step], None]) -> None:
        if self._has_failed:
            return
        step = Step(name=name, began=time.monotonic())
        try:
            work(step)
        except BaseException:
            # What was to come after it may rest on it.
            self._has_failed = True
            raise
        step.ended = time.monotonic()
        self.steps.append(step)

    # --- what the operator does ---------------------------------------------------------------------
    def tell_callers(self, step: Step, *, since: str) -> None:
        """Who calls procedures, and who the API."""
        record = must("legacy", "callers", "--since", since, "--json")
        direct = sorted({one["caller"].lower() for one in record["callers"]} - {"batch"})
        rows = sum(one["rows"] for one in record["through_api"])
        step.record = {"direct": direct, "rows_through_api": rows}
        self.say(
            f"`legacy callers --since {since}`: directly {', '.join(direct) or 'nobody'};"
            f" through the API {rows:,} rows"
        )

    def capture(self, step: Step) -> None:
        step.record = self._switch(step, "capture")
        self.say(f"`cutover capture`: epoch {step.record['epoch']}; what the legacy decides is recorded")

    def migrate(self, step: Step) -> None:
        step.record = _of(must("migrate_legacy", "--json"))
        self.say(f"`migrate_legacy` in {_since(step)}: {_figures(step.record)}")

    def catch_up(self, step: Step) -> None:
        """Wait until the side that follows has all that was decided until now. Raises StepFailed."""
        strangers = following.follow_tail()
        give_up_at = time.monotonic() + _READY_SECONDS
        waited_for = must("cutover", "status", "--json")["backlog"]["count"]
        while (backlog := must("cutover", "status", "--json")["backlog"])["count"]:
            if time.monotonic() > give_up_at:
                raise StepFailed(f"The side that follows does not catch up: {backlog}")
            if backlog["count"] <= _UNDER_WAY:
                break
            time.sleep(_POLL_SECONDS)
        step.record = {"waited_for": waited_for, "strangers": strangers}
        self.say(f"The side that follows has caught up: {waited_for:,} operations in {_since(step)}")

    def verify(self, step: Step) -> None:
        """Compare both sides by the product's own command. What it found is for the proofs to judge."""
        ran = command("verify_migration", "--json")
        step.record = {**_of(ran.record), "exit_code": ran.code}
        self.say(f"`verify_migration` in {_since(step)}: {_figures(step.record)}")

    def advance(self, step: Step) -> None:
        """Wait until every check is green, and go one stage on."""
        give_up_at = time.monotonic() + _READY_SECONDS
        while True:
            self._wait_until_green()
            try:
                step.record = self._switch(step, "advance")
                break
            except StepFailed:
                # Services go on: what was green a moment ago may be red when the command looks itself.
                if time.monotonic() > give_up_at:
                    raise
        self.say(_switched("cutover advance", step))

    def rollback(self, step: Step) -> None:
        step.record = self._switch(step, "rollback")
        self.say(_switched("cutover rollback", step))

    def freeze(self, step: Step) -> None:
        step.record = self._switch(step, "freeze", "--minutes", _FREEZE_MINUTES)
        self.say(f"`cutover freeze`: epoch {step.record['epoch']}")

    def thaw(self, step: Step) -> None:
        step.record = self._switch(step, "thaw")
        self.say(f"`cutover thaw`: epoch {step.record['epoch']}")

    def reconcile(self, step: Step, *, month: str) -> None:
        ran = command("reconcile", "--month", month, "--json")
        step.record = {**_of(ran.record), "exit_code": ran.code}
        lines = [] if ran.record is None else step.record.get("lines", [])
        unequal = [f"{one['kind']} {one['reason'] or ''}".strip() for one in lines if not one["is_equal"]]
        told = f"{len(lines)} totals, different {len(unequal)}" if lines else ran.said[-200:]
        self.say(f"`reconcile --month {month}`: {told} {', '.join(unequal)}".rstrip())

    def finish(self, step: Step) -> None:
        """Two persons: one says yes to the plan, the other carries it out."""
        self._wait_until_green()
        plan = must("cutover", "plan", "--for", "finish", "--json")
        must(
            "cutover", "approve", "--for", "finish", "--digest", plan["digest"], "--actor", APPROVER, "--json"
        )
        step.record = self._switch(step, "finish")
        self.say("`cutover finish`: approved by a second person; the ledger stands alone")

    def _switch(self, step: Step, *arguments: str) -> dict[str, Any]:
        step.switch_began = time.monotonic()
        try:
            record = must(
                "cutover", *arguments, "--actor", OPERATOR, "--reason", f"the demo: {step.name}", "--json"
            )
        finally:
            step.switch_ended = time.monotonic()
        return _of(record)

    def _wait_until_green(self) -> None:
        """Raises StepFailed with what is still red after two minutes."""
        give_up_at = time.monotonic() + _READY_SECONDS
        while True:
            must("legacy", "callers", "--json")
            self._set_aside_what_was_behind()
            ran = command("cutover", "preflight", "--json")
            if ran.code == 0:
                return
            if time.monotonic() > give_up_at:
                checks = _of(ran.record).get("checks", [])
                red = [f"{one['name']}: {one['sentence']}" for one in checks if not one["is_green"]]
                raise StepFailed(f"`cutover preflight` stays red: {' '.join(red) or ran.said}")
            time.sleep(0.5)

    def _set_aside_what_was_behind(self) -> None:
        """A read that met an operation on its way is no difference; a real one is found again."""
        given = ("--found-by", "shadow", "--class", "behind", "--reason", _WAS_BEHIND, "--by", OPERATOR)
        command("mismatch", "resolve", *given, "--json")


def _of(record: Any) -> dict[str, Any]:
    return record if isinstance(record, dict) else {}


def _since(step: Step) -> str:
    return f"{time.monotonic() - step.began:.1f} s"


def _figures(record: dict[str, Any]) -> str:
    """The whole numbers of a record, in its own words."""
    found = [f"{name.replace('_', ' ')} {value:,}" for name, value in record.items() if type(value) is int]
    return ", ".join(found) or "done"


def _switched(what: str, step: Step) -> str:
    record = step.record
    held = record.get("held_ms")
    lasted = "" if held is None else f"; the lock was held for {held:.0f} ms"
    return f"`{what}`: {record['from_stage']} -> {record['to_stage']}, epoch {record['epoch']}{lasted}"
