"""The list of cases, and the page that is written from it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from pointsystem.contract import find_cases, reference
from pointsystem.contract.capabilities import MEANINGS, Capability
from pointsystem.contract.registry import GROUPS, case
from tests.contract.lies import LIES

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_list_says() -> None:
    """`python3 manage.py contract --reference > docs/reference/contract.md` writes it."""
    assert (ROOT / "docs" / "reference" / "contract.md").read_text() == reference.page()


def test_every_case_is_a_promise_of_one_sentence() -> None:
    for each in find_cases():
        assert each.promise.count(". ") == 0, each.name
        assert len(each.promise) < 130, each.name


def test_promises_and_names_are_not_repeated() -> None:
    assert len({each.name for each in find_cases()}) == len(find_cases())
    assert len(find_cases()) >= 80


def test_every_capability_has_a_meaning_and_a_case() -> None:
    assert set(MEANINGS) == set(Capability)
    named = {capability for each in find_cases() for capability in each.needs}
    assert set(Capability) - named == set()


def test_every_group_has_cases_and_every_lie_names_one() -> None:
    assert {each.group for each in find_cases()} == set(GROUPS)
    names = {each.name for each in find_cases()}
    assert {name for _, named in LIES.values() for name in named} <= names


def test_cases_are_found_by_a_part_or_by_a_pattern() -> None:
    assert {each.group for each in find_cases("storms.")} == {"storms"}
    assert [each.name for each in find_cases("*.earns_add_u?")] == ["writes.earns_add_up"]
    assert find_cases("no such case") == []


def test_a_case_without_a_sentence_is_refused() -> None:
    with pytest.raises(TypeError):

        @case()
        def silent(w: object) -> None: ...


def test_the_suite_asks_the_standard_library_and_itself_alone() -> None:
    """It judges the product over HTTP, so it imports nothing of it."""
    for module in (ROOT / "pointsystem" / "contract").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or name.startswith("pointsystem.contract"), (
                    module,
                    name,
                )
