"""An operator in a process of its own, who goes there and back: `python -m bench.moves STAGE STAGE COUNT`.

Writes a line of JSON for each switch: from when to when it was under way, by the wall clock. Nothing is
checked before: it is the switch that is measured.
"""

import json
import sys
import time

import django

_BETWEEN_SECONDS = 0.5


def main(here: str, there: str, count: int) -> None:
    django.setup()
    from cutover.models import DEFAULT_COHORT, Stage
    from cutover.switching import following, moving
    from cutover.switching.journal import Act, refusals_kept
    from cutover.switching.moving import Change

    for number in range(count):
        act = Act(action="move", cohort=DEFAULT_COHORT, actor="bench", reason="The bench measures it.")
        began = time.time()
        with refusals_kept(act):
            seen = moving.begin(act, expected_epoch=None)
            following.follow_tail_if_it_answers()
            moving.change(act, Change(stage=Stage((there, here)[number % 2])), seen=seen)
        print(json.dumps({"began": began, "ended": time.time()}), flush=True)
        time.sleep(_BETWEEN_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
