"""An operator who goes back and forth at random, in a process of its own: `python -m tests.faults.operating`.

Writes one line for each move: when it was asked for, how long it kept others waiting, and what came of it.
"""

import json
import random
import sys
import time

import django

STAGES = ("LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST", "NEW_ONLY")


def main(name: str, moves: int, seed: int) -> None:
    django.setup()
    from cutover.models import DEFAULT_COHORT, Stage
    from cutover.switching import errors, following, moving
    from cutover.switching.journal import Act, refusals_kept
    from cutover.switching.moving import Change

    chance = random.Random(seed)
    done = 0
    while done < moves:
        act = Act(action="move", cohort=DEFAULT_COHORT, actor=name, reason="A storm of switches.")
        started = time.time()
        try:
            with refusals_kept(act):
                seen = moving.begin(act, expected_epoch=None)
                now = STAGES.index(seen.stage.value)
                there = now + chance.choice([step for step in (-1, 1) if 1 <= now + step <= 3])
                following.follow_tail_if_it_answers()
                moving.change(act, Change(stage=Stage(STAGES[there])), seen=seen)
            done += 1
            came = "done"
        except (errors.RouteChanged, errors.NotDrained, errors.NoticeEnded, errors.IllegalMove) as error:
            came = type(error).__name__
        print(json.dumps({"at": started, "ended": time.time(), "came": came, "to": act.to_stage}), flush=True)
        time.sleep(chance.uniform(0.05, 0.4))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
