"""With POINTS_CUTOVER=false neither `legacy_bridge` nor `cutover` is there. CI runs tests of the ledger
and of the API so."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
import django
django.setup()
import pointsystem.wsgi, pointsystem.celery, ledger.admin
from django.apps import apps
from ledger.door import face
print([app.label for app in apps.get_app_configs() if app.label in ("legacy_bridge", "cutover")])
print(sorted(name for name in sys.modules if name.split(".")[0] in ("legacy_bridge", "cutover")))
print(face().__name__)
"""


def loaded(**settings: str) -> list[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "pointsystem.settings", **settings}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_it_nothing_of_it_is_loaded(django_db_setup: None) -> None:
    assert loaded(POINTS_CUTOVER="false") == ["[]", "[]", "ledger.face"]


def test_a_legacy_is_not_asked_without_it(django_db_setup: None) -> None:
    url = "postgres://nobody@127.0.0.1:1/none"
    assert loaded(POINTS_CUTOVER="false", LEGACY_DATABASE_URL=url)[2] == "ledger.face"
    assert loaded(POINTS_CUTOVER="true", LEGACY_DATABASE_URL=url)[2] == "cutover.face"
