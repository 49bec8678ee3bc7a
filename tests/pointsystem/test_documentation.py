"""What the documentation points at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("pointsystem/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    decisions = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    titles = [page.read_text().splitlines()[0].removeprefix("# ") for page in decisions]
    missing = [
        page.name
        for page, title in zip(decisions, titles, strict=True)
        if f"- [{title}]({page.name})" not in index
    ]
    assert missing == []


def test_every_page_can_be_reached_from_the_contents() -> None:
    contents = (ROOT / "docs" / "README.md").read_text() + (ROOT / "docs" / "adr" / "README.md").read_text()
    pages = [page for page in (ROOT / "docs").glob("**/*.md") if page.name != "README.md"]
    assert [page.name for page in pages if f"{page.name})" not in contents] == []


def test_files_that_the_code_names_as_its_source_are_there() -> None:
    named = set()
    for app in ("ledger", "pointsystem", "legacy_bridge", "cutover"):
        for module in (ROOT / app).rglob("*.py"):
            named |= set(re.findall(r"docs/[\w/-]+\.md", module.read_text()))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_readme_has_one_command_for_each_of_the_two_jobs() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [line.split("#")[0].strip() for line in blocks[0].splitlines()] == [
        "python3 manage.py demo",
        "python3 manage.py test",
    ]
