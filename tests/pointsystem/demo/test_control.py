"""The operator of the demo: one step after the other, and none after one that failed."""

import threading

import pytest

from pointsystem.demo.control import ControlRoom, Step, StepFailed, command, must


def test_a_command_that_is_refused_says_why_and_with_which_code() -> None:
    ran = command("create_client", "shop", "--scope", "points:nothing")
    assert ran.code != 0
    assert "points:nothing" in ran.said
    assert ran.record is None
    with pytest.raises(StepFailed, match="points:nothing"):
        must("create_client", "shop", "--scope", "points:nothing")


def test_steps_are_done_in_their_order_while_others_go_on() -> None:
    room = ControlRoom(lambda text: None)
    may_end = threading.Event()
    done: list[str] = []

    def first(step: Step) -> None:
        assert may_end.wait(10)
        done.append("first")

    room.begin("first", first)
    room.begin("second", lambda step: done.append("second"))
    assert room.is_busy
    assert done == []
    may_end.set()
    room.wait()
    assert not room.is_busy
    assert done == ["first", "second"]
    assert [step.name for step in room.steps] == ["first", "second"]
    assert all(step.ended >= step.began > 0 for step in room.steps)
    room.close()


def test_nothing_is_done_after_a_step_that_failed() -> None:
    room = ControlRoom(lambda text: None)
    done: list[str] = []

    def refused(step: Step) -> None:
        raise StepFailed("not ready")

    room.begin("advance", refused)
    room.begin("thaw", lambda step: done.append("thaw"))
    with pytest.raises(StepFailed, match="not ready"):
        room.wait()
    room.close()
    assert done == []
    assert room.step("advance") is None
