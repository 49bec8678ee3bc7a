"""How mirroring stands, as figures and as Prometheus sees it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cutover import face
from cutover.mirroring import status, worker
from cutover.mirroring.metrics import MirrorCollector
from cutover.models import Direction
from tests.cutover.conftest import set_stage
from tests.cutover.mirroring.telling import message_of, tell
from tests.factories import EarnFactory


def run(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("mirror", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.fixture
def drained(mine: dict[str, Any]) -> dict[str, Any]:
    """Nothing waits of what other tests have left."""
    worker.run()
    from cutover.mirroring import handling

    handling.skip(
        message_ids=[message.id for message in handling.parked()], actor="test", reason="of another test"
    )
    worker.run()
    return mine


def test_the_backlog_is_what_is_to_be_delivered(drained: dict[str, Any]) -> None:
    before = status.read().backlogs[Direction.TO_LEGACY]
    face.execute(EarnFactory(**drained, points=1))
    face.execute(EarnFactory(**drained, points=1))
    waiting = status.read().backlogs[Direction.TO_LEGACY]
    set_stage("NEW_ONLY")
    recorded = status.read().backlogs[Direction.TO_LEGACY]
    set_stage("NEW_FIRST")
    tell(drained["account_number"])
    after = status.read().backlogs[Direction.TO_LEGACY]

    assert (before.count, before.oldest_seconds, before.parked) == (0, None, 0)
    assert (waiting.count, waiting.parked, waiting.only_recorded) == (2, 0, 0)
    assert waiting.oldest_seconds is not None
    assert 0 <= waiting.oldest_seconds < 30
    assert (recorded.count, recorded.oldest_seconds, recorded.only_recorded) == (0, None, 2)
    assert (after.count, after.oldest_seconds) == (0, None)


def test_the_flow_is_that_of_the_last_minute(drained: dict[str, Any]) -> None:
    before = status.flows()[Direction.TO_LEGACY]
    face.execute(EarnFactory(**drained, points=1))
    tell(drained["account_number"])
    after = status.flows()[Direction.TO_LEGACY]

    assert after.applied == before.applied + 1
    assert after.applied_per_second == after.applied / 60
    assert after.lag_p50_seconds is not None
    assert after.lag_p99_seconds is not None
    assert 0 < after.lag_p50_seconds <= after.lag_p99_seconds


def test_what_nothing_is_known_of_is_null(drained: dict[str, Any]) -> None:
    shown = run("status", "--cohort=nobody")

    assert shown["to_ledger"]["lag_seconds"] == {"p50": None, "p95": None, "p99": None}
    assert (shown["to_ledger"]["count"], shown["to_ledger"]["oldest_seconds"]) == (0, None)
    assert shown["held"] == 0


def test_accounts_that_wait_at_a_switch_are_counted(drained: dict[str, Any]) -> None:
    face.execute(EarnFactory(**drained, points=1))
    assert status.held_accounts() == 0
    set_stage("LEGACY_FIRST")
    held = status.held_accounts()
    worker.run()

    assert held == 1
    assert status.held_accounts() == 0


def test_prometheus_is_told_by_direction(drained: dict[str, Any]) -> None:
    face.execute(EarnFactory(**drained, points=1))
    found = {
        (sample.name, sample.labels.get("direction")): sample.value
        for metric in MirrorCollector().collect()
        for sample in metric.samples
    }

    assert found["points_mirror_waiting", "to_legacy"] == 1
    assert found["points_mirror_waiting", "to_ledger"] == 0
    assert found["points_mirror_oldest_seconds", "to_legacy"] > 0
    assert found["points_mirror_parked_now", "to_legacy"] == 0
    assert found["points_mirror_held_accounts", None] == 0


# --- the command --------------------------------------------------------------------------------------------
def test_the_command_names_messages_in_one_way_only(drained: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="one way") as refused:
        run("resend", "--all-parked", "--account=x")
    assert refused.value.returncode == 2
    with pytest.raises(CommandError, match="one way"):
        run("skip")


def test_the_command_skips_for_a_reason_only(
    drained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from legacy_bridge import errors
    from tests.cutover.legacy_calls import instead_of_next_give

    def refuses(*_: Any) -> Any:
        raise errors.NotRepresentable("No form.")

    earn = face.execute(EarnFactory(**drained, points=1)).operation
    instead_of_next_give(monkeypatch, refuses)
    tell(drained["account_number"])
    message = message_of(earn.id)

    preview = run("resend", "--all-parked", "--preview")
    with pytest.raises(CommandError, match="Say why") as refused:
        run("skip", f"--message={message.id}")
    skipped = run("skip", f"--account={drained['account_number']}", "--reason=by hand", "--actor=kim")
    again = run("resend", f"--message={message.id}")

    assert [(each["id"], each["payload_now"]["points"]) for each in preview["messages"]] == [(message.id, 1)]
    assert refused.value.returncode == 2
    assert [(each["id"], each["outcome"]) for each in skipped["messages"]] == [(message.id, "skipped")]
    assert [each["outcome"] for each in again["messages"]] == ["already skipped"]
    assert message_of(earn.id).settled_by == "kim"


def test_the_figures_are_among_the_metrics_of_the_product(drained: dict[str, Any]) -> None:
    from pointsystem.observability.metrics import exposition

    assert b'points_mirror_waiting{direction="to_legacy"} 0.0' in exposition()
