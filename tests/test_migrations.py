"""Migrations run while the former version still serves: they are linted for what would break it."""

from io import StringIO

import pytest
from django.core.management import call_command
from django_migration_linter import MigrationLinter

from pointsystem.embedded.stack import ROOT

OUR_APPS = ["ledger", "cutover", "backoffice"]


@pytest.mark.django_db
def test_no_migration_breaks_the_version_before_it() -> None:
    linter = MigrationLinter(str(ROOT), include_apps=OUR_APPS, no_cache=True)
    linter.lint_all_migrations()
    assert linter.nb_total > 0, "nothing was linted"
    assert not linter.has_errors, "the linter's words are in the captured output"


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    output = StringIO()
    try:
        call_command("makemigrations", check_changes=True, dry_run=True, stdout=output)
    except SystemExit:
        pytest.fail(output.getvalue())
