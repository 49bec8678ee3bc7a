"""One lock for everybody: complete, with hashes, and without the address of any registry."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
WANTED = [
    *PROJECT["project"]["dependencies"],
    *(line for group in PROJECT["dependency-groups"].values() for line in group),
]


def _locked() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ \\;]+)", LOCK, flags=re.MULTILINE))


@pytest.mark.parametrize("wanted", WANTED)
def test_what_the_project_wants_is_locked_to_a_version_it_accepts(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert _locked()[requirement.name.lower()] in requirement.specifier


def test_every_package_has_hashes() -> None:
    without = [entry for entry in re.split(r"\n(?=\S)", LOCK.strip()) if "--hash=sha256:" not in entry]
    assert without == []


def test_no_address_is_in_it() -> None:
    assert not re.search(r"://|--index|--extra-index|--find-links| @ ", LOCK)
