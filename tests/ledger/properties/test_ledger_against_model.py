"""Histories that nobody thought of: the ledger against a plain model, on real PostgreSQL.

`--histories N` runs N of them. A failure prints the shortest history that shows it, and the
`@reproduce_failure` line that plays it again.
"""

import hypothesis
import pytest
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
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
