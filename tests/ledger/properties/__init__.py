import pytest

# So that a failure in there shows its values, as in a test file.
pytest.register_assert_rewrite("tests.ledger.properties.machine")
