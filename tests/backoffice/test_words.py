"""English and Korean: no text of ours is missing in Korean, and what is compiled is what was written."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import override
from django.utils.translation.template import templatize

from pointsystem.backoffice.roles import ROLES

ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "pointsystem" / "locale" / "ko" / "LC_MESSAGES"
CODE = ("ledger", "legacy_bridge", "cutover", "pointsystem")
MARKS = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
_STRING = r"u?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_PLACE = re.compile(r"%\(\w+\)[sd]|%[sd]")


def texts_of_code(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def texts_of_template(source: str) -> Iterator[str]:
    for literal in re.findall(rf"gettext\(({_STRING})", templatize(source)):
        yield ast.literal_eval(literal)


def texts() -> set[str]:
    found: set[str] = set()
    for package in CODE:
        for module in (ROOT / package).rglob("*.py"):
            if "migrations" not in module.parts:
                found |= set(texts_of_code(module.read_text()))
    for template in (ROOT / "templates").rglob("*.html"):
        found |= set(texts_of_template(template.read_text()))
    return found


@pytest.fixture(scope="module")
def korean() -> dict[str, str]:
    with (CATALOG / "django.mo").open("rb") as compiled:
        catalog = gettext.GNUTranslations(compiled)._catalog  # type: ignore[attr-defined]
    return {key[0] if isinstance(key, tuple) else key: value for key, value in catalog.items() if key}


def test_texts_are_found_in_code_and_templates() -> None:
    assert list(texts_of_code('x = _("a" "b"); y = ngettext("c", "d", 2); _(z)')) == ["ab", "c"]
    assert list(
        texts_of_template(
            '{% load i18n %}{% translate "e" %}{% blocktranslate with a=b %}f {{ a }}{% endblocktranslate %}'
        )
    ) == [
        "e",
        "f %(a)s",
    ]
    assert len(texts()) > 300


def test_no_text_is_missing_in_korean(korean: dict[str, str]) -> None:
    assert sorted(text for text in texts() if not korean.get(text)) == []


def test_every_text_keeps_its_places(korean: dict[str, str]) -> None:
    odd = [text for text, ko in korean.items() if sorted(_PLACE.findall(text)) != sorted(_PLACE.findall(ko))]

    assert odd == []


def test_what_is_compiled_is_what_was_written(korean: dict[str, str]) -> None:
    written = {}
    for block in (CATALOG / "django.po").read_text().split("\n\n")[1:]:
        texts_by_name = dict(
            re.findall(r'^(msgid|msgstr)(?:\[0\])?((?: ?"(?:[^"\\]|\\.)*"\n?)+)', block, re.M)
        )
        text, korean_text = (
            "".join(ast.literal_eval(line) for line in re.findall(_STRING, texts_by_name[name]))
            for name in ("msgid", "msgstr")
        )
        written[text] = korean_text

    assert len(written) > 300
    assert written == korean


def test_roles_are_told_in_korean() -> None:
    with override("ko"):
        assert [str(role.title) for role in ROLES][:2] == ["고객 지원", "고객 지원 책임자"]
    with override("en"):
        assert [str(role.title) for role in ROLES][:2] == ["Support", "Support lead"]
