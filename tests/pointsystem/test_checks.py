"""What the system checks of the house refuse."""

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from pointsystem.checks import TAG, refuse_errors


def _ids(*, deploy: bool = False) -> list[str | None]:
    return [message.id for message in run_checks(tags=[TAG], include_deployment_checks=deploy)]


def test_nothing_is_refused_as_the_tests_run(db: None) -> None:
    assert _ids(deploy=True) == []
    refuse_errors()


def test_simulated_clock_is_refused_on_servers_of_ones_own(settings: pytest.FixtureRequest, db: None) -> None:
    settings.POINTS_CLOCK = "simulated"  # type: ignore[attr-defined]
    assert _ids() == []
    settings.ON_OWN_MACHINE = False  # type: ignore[attr-defined]
    assert _ids() == ["points.E002"]
    with pytest.raises(ImproperlyConfigured, match=r"points\.E002"):
        refuse_errors()


def test_simulated_clock_is_refused_in_every_deployment(settings: pytest.FixtureRequest) -> None:
    settings.POINTS_CLOCK = "simulated"  # type: ignore[attr-defined]
    assert _ids(deploy=True) == ["points.E003"]


@pytest.mark.parametrize(
    ("name", "value", "identifier"),
    [("POINTS_CLOCK", "wrong", "points.E001"), ("POINTS_TIME_ZONE", "Asia/Nowhere", "points.E004")],
)
def test_wrong_values_are_named(
    settings: pytest.FixtureRequest, name: str, value: str, identifier: str
) -> None:
    setattr(settings, name, value)
    assert _ids() == [identifier]
