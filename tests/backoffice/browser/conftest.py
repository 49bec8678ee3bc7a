"""A real browser before the whole product: its own servers, a web server, and a legacy beside it.

The tests take no database of Django's: Playwright keeps an event loop in this thread, which Django's ORM
refuses to work beside. What they ask of the database they ask by SQL.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = os.environ.get("POINTS_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
#: With POINTS_SCREENSHOTS=1 a run writes the pictures of the documentation; a plain run changes no file.
SCREENSHOTS = ROOT / "docs" / "screenshots" if os.environ.get("POINTS_SCREENSHOTS") == "1" else None
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}


def _why_not() -> str:
    if not Path(CHROMIUM).exists():
        return f"there is no Chromium at {CHROMIUM} (POINTS_CHROMIUM names another)"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "Playwright is not installed"
    return ""


@pytest.fixture(scope="package", autouse=True)
def _needs_a_browser() -> None:
    if why_not := _why_not():
        pytest.skip(f"No browser: {why_not}.")


@dataclass(frozen=True, kw_only=True)
class House:
    """The product that the browser looks at."""

    url: str
    database_url: str
    environment: dict[str, str] = field(default_factory=dict)

    def ask(self, statement: str, *values: Any) -> Any:
        """The first value that a statement answers."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(statement, values).fetchone()
        return row[0] if row else None

    def works(self, task: str) -> None:
        """Does what a worker would: calls this task, once."""
        module, _dot, name = task.rpartition(".")
        code = f"import django; django.setup(); from {module} import {name}; {name}()"
        subprocess.run([sys.executable, "-c", code], env=self.environment, cwd=ROOT, check=True)


@pytest.fixture(scope="package")
def house(_needs_a_browser: None) -> Iterator[House]:
    from pointsystem.embedded.stack import Stack

    settings = {"POINTS_CLOCK": "simulated", "POINTS_WEB_PROCESSES": "1", "POINTS_APPROVAL_LIMIT": "5000"}
    with Stack.temporary(
        "browser", durable=False, listed=False, stack_kind="test", with_legacy=True, settings=settings
    ) as stack:
        stack.prepare()
        stack.manage("legacy", "install")
        environment = {
            **os.environ,
            **stack.environment(),
            "DJANGO_SETTINGS_MODULE": "pointsystem.settings",
        }
        subprocess.run(
            [sys.executable, "-m", "tests.backoffice.browser.seeding"], env=environment, cwd=ROOT, check=True
        )
        stack.start_web()
        yield House(url=stack.url, database_url=environment["DATABASE_URL"], environment=environment)


@dataclass(kw_only=True)
class Visit:
    """One tab of somebody's, and what the browser complained of."""

    page: Any
    house: House
    complaints: list[str] = field(default_factory=list)

    def goes_to(self, address: str) -> Any:
        return self.page.goto(f"{self.house.url}{address}")

    @property
    def words(self) -> str:
        return " ".join(self.page.inner_text("body").split())

    def presses(self, name: str, *, exact: bool = True) -> None:
        self.page.get_by_role("button", name=name, exact=exact).click()

    def follows(self, name: str, *, exact: bool = True) -> None:
        self.page.get_by_role("link", name=name, exact=exact).first.click()

    def is_drawn_as(self, name: str, *, whole: bool = False) -> None:
        """A picture for the documentation, where one is asked for."""
        if SCREENSHOTS is not None:
            SCREENSHOTS.mkdir(exist_ok=True)
            self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole, animations="disabled")


@pytest.fixture(scope="package")
def chromium(_needs_a_browser: None) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def sessions() -> dict[str, Any]:
    """The cookies of those who have signed in already."""
    return {}


@pytest.fixture
def visit(chromium: Any, house: House, sessions: dict[str, Any]) -> Iterator[Callable[..., Visit]]:
    """`visit("sora")` is a tab in which that person is signed in; `visit()` one of a stranger."""
    visits: list[Visit] = []

    def make(name: str | None = None, *, scheme: str = "light", size: dict[str, int] = DESK) -> Visit:
        context = chromium.new_context(
            viewport=size,
            color_scheme=scheme,
            storage_state=sessions.get(name or ""),
            locale="en-GB",
            reduced_motion="reduce",
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        made = Visit(page=page, house=house)
        page.on("console", lambda message: _hear(made, message))
        page.on("pageerror", lambda error: made.complaints.append(str(error)))
        visits.append(made)
        if name is not None and name not in sessions:
            signs_in(made, name)
            sessions[name] = context.storage_state()
        return made

    yield make
    complaints = [complaint for each in visits for complaint in each.complaints]
    for each in visits:
        each.page.context.close()
    assert complaints == [], sorted(set(complaints))


def signs_in(visit: Visit, name: str, password: str | None = None) -> None:
    from tests.backoffice.browser.seeding import PASSWORD

    visit.goes_to("/admin/login/")
    visit.page.fill("#id_username", name)
    visit.page.fill("#id_password", password or PASSWORD)
    visit.presses("Log in")


def _hear(visit: Visit, message: Any) -> None:
    # A page that is refused on purpose is told to the console too.
    if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
        visit.complaints.append(f"{visit.page.url}: {message.text}")
