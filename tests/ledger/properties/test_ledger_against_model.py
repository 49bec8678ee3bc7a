"""Histories that nobody thought of: the ledger against a plain model, on real PostgreSQL.

`--histories N` runs N of them. A failure ends the run, and prints the `@reproduce_failure` line that plays it
again and the shortest history that shows it (of those that Hypothesis finds in its five minutes).
"""

import hypothesis
import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger.properties.machine import LedgerMachine

STEPS = 40


@pytest.mark.slow
def test_ledger_and_model_agree_on_every_history(db, settings, pytestconfig):
    settings.POINTS_CLOCK = "simulated"
    run_state_machine_as_test(
        LedgerMachine,
        settings=hypothesis.settings(
            max_examples=pytestconfig.getoption("histories"),
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            # Not explain: it would play hundreds of histories more to comment on the one that was found.
            phases=[phase for phase in Phase if phase is not Phase.explain],
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
