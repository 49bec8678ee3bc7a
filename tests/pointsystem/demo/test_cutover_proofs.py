"""The proofs of the demo's cutover, where they can be told without a run."""

from pointsystem.demo import cutover_proofs
from pointsystem.demo.control import ControlRoom, Step
from pointsystem.demo.cutover_proofs import Pause
from pointsystem.demo.traffic import Measurements, Sent


def room(*steps: Step) -> ControlRoom:
    made = ControlRoom(lambda text: None)
    made.close()
    made.steps.extend(steps)
    return made


def switch(name: str, began: float, ended: float) -> Step:
    return Step(name=name, began=began, switch_began=began, switch_ended=ended)


def test_a_switch_is_measured_by_the_requests_that_met_it() -> None:
    sent = [
        Sent(name="earn", began=9.0, seconds=0.5),
        Sent(name="earn", began=9.5, seconds=0.75),
        Sent(name="spend", began=10.5, seconds=0.25),
        Sent(name="spend", began=12.5, seconds=9.0),
    ]
    found = cutover_proofs.pauses(room(switch("capture", 10.0, 11.0)), Measurements(sent=sent))
    assert found == [Pause(name="capture", requests=2, p99_seconds=0.75, worst_seconds=0.75)]


def test_a_spend_that_a_freeze_refused_is_no_pause_of_a_switch() -> None:
    sent = [
        Sent(name="earn", began=10.5, seconds=0.25),
        Sent(name="spend", began=10.5, seconds=5.0, met_freeze=True),
    ]
    found = cutover_proofs.pauses(room(switch("freeze", 10.0, 11.0)), Measurements(sent=sent))
    assert found == [Pause(name="freeze", requests=1, p99_seconds=0.25, worst_seconds=0.25)]


def test_what_begins_under_the_next_switch_is_not_counted_to_the_one_before() -> None:
    sent = [Sent(name="spend", began=11.5, seconds=5.0)]
    steps = room(switch("capture", 10.0, 11.0), switch("to LEGACY_FIRST", 11.25, 11.5))
    before, after = cutover_proofs.pauses(steps, Measurements(sent=sent))
    assert (before.requests, after.requests) == (0, 1)


def verified(*codes: int) -> ControlRoom:
    names = cutover_proofs.VERIFICATIONS
    return room(
        *(
            Step(name=name, began=1.0, record={"exit_code": code})
            for name, code in zip(names, codes, strict=False)
        )
    )


def test_a_comparison_holds_only_if_each_of_its_commands_found_nothing() -> None:
    assert cutover_proofs._verified(verified(0, 0)).holds is True
    assert cutover_proofs._verified(verified(0, 1)).holds is False


def test_a_comparison_that_was_not_made_is_unknown() -> None:
    assert cutover_proofs._verified(verified(0)).holds is None
    assert cutover_proofs._verified(verified(0, 2)).holds is None
    assert cutover_proofs._verified(verified()).holds is None
