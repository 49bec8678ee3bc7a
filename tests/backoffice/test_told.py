"""What the code says in English is said again in Korean: every sentence of it, whole or kept in a row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation import override

import cutover.sentences
import ledger.sentences
from ledger.told import told

ROOT = Path(__file__).resolve().parents[2]
SPOKEN = {
    "ledger": ledger.sentences,
    "cutover": cutover.sentences,
    "legacy_bridge": cutover.sentences,
}
#: Read by people at a terminal, by developers or by machines, and never on a page.
_NOT_ON_PAGES = ("migrations", "management", "commands", "sentences.py", "callers_command.py", "metrics.py")
_NOT_TOLD = {
    "AssertionError", "ValueError", "TypeError", "RuntimeError", "NotImplementedError", "CommandError",
    "AdapterInvalid", "AnswerInvalid", "InsideTransaction", "add_argument", "_", "gettext", "gettext_lazy",
    "ngettext", "Warning", "Error", "Critical", "info", "warning", "error", "exception",
}  # fmt: skip


def _words(node: ast.AST) -> str | None:
    """A text of the code; `{}` stands for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def _is_sentence(text: str) -> bool:
    if "\n" in text or not re.search(r"[A-Za-z]", text):
        return False
    blanks = text.count(" ")
    if re.match(r"[A-Z]|\{\}|\d", text):
        return bool(re.search(r"(?:[.?]|: \{\})$", text)) and blanks >= 1
    return text.endswith(".") and blanks >= 3


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", "") or getattr(node.func, "attr", "")


def texts_of(node: ast.AST) -> Iterator[str]:
    """All texts below `node` but docstrings, and what is never on a page."""
    if isinstance(node, ast.Call) and _called(node) in _NOT_TOLD:
        return
    if isinstance(node, ast.FunctionDef) and node.name == "_contradictions":
        # For whoever writes an adapter.
        return
    text = _words(node)
    if text is not None:
        yield text
        inner = node.values if isinstance(node, ast.JoinedStr) else []
        for part in inner:
            if isinstance(part, ast.FormattedValue):
                yield from texts_of(part.value)
        return
    for child in ast.iter_child_nodes(node):
        is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not is_docstring:
            yield from texts_of(child)


def texts_of_app(app: str) -> set[str]:
    found: set[str] = set()
    for module in sorted((ROOT / app).rglob("*.py")):
        is_command = module.parent.name == "reference" and module.name != "adapters.py"
        if not set(module.parts) & set(_NOT_ON_PAGES) and not is_command:
            found |= set(texts_of(ast.parse(module.read_text())))
    return found


def test_sentences_are_found_in_code() -> None:
    code = 'def f():\n    """A docstring of f."""\n    raise Gone(f"Row {row} is not {why} there.")\n'
    code += '    log.info("Not told at all.")\n    x = "no sentence"\n'

    assert [text for text in texts_of(ast.parse(code)) if _is_sentence(text)] == ["Row {} is not {} there."]


@pytest.mark.parametrize("app", SPOKEN)
def test_every_sentence_of_the_code_can_be_told(app: str) -> None:
    known = set(SPOKEN[app].SENTENCES)

    assert sorted(text for text in texts_of_app(app) if _is_sentence(text) and text not in known) == []


def test_no_sentence_is_kept_that_nobody_says_any_more() -> None:
    said = set().union(*(texts_of_app(app) for app in SPOKEN))

    stale = [
        text for kept in (ledger.sentences, cutover.sentences) for text in kept.SENTENCES if text not in said
    ]
    assert stale == []


def test_what_is_put_into_a_sentence_keeps_its_place() -> None:
    with override("ko"):
        wrong = []
        for text in {*ledger.sentences.SENTENCES, *cutover.sentences.SENTENCES}:
            count = text.count("{}")
            given = [f"<{number}>" for number in range(count)]
            korean = told(text.format(*given))
            if not re.search("[가-힣]", korean) or any(korean.count(each) != 1 for each in given):
                wrong.append((text, korean))
        assert wrong == []


@pytest.mark.parametrize(
    ("said", "korean"),
    [
        ("40 points are available.", "사용 가능한 포인트는 40입니다."),
        ("Lot 7 of 30 points would hold 40.", "적립분 7(30 포인트)의 잔여가 40 포인트가 됩니다."),
        # Several sentences, kept as one text.
        (
            "Nothing is lost. The legacy's newest rows are read once more.",
            "잃는 것이 없습니다. 레거시의 최신 행을 한 번 더 읽습니다.",
        ),
        # A refusal that carries checks by name.
        (
            "Not ready: capture_is_on: Not so. redis_is_up: Redis does not answer.",
            "아직 준비되지 않았습니다. 캡처 켜짐: Not so. Redis 정상: Redis가 응답하지 않습니다.",
        ),
        # What nobody foresaw stays as it is, beside what is known.
        ("The legacy does not answer: connection refused", "레거시가 응답하지 않습니다: connection refused"),
        ("deadlock detected", "deadlock detected"),
        ("There is no cohort 'first'.", "코호트 'first'이(가) 없습니다."),
    ],
)
def test_what_is_kept_in_english_is_told_in_korean(said: str, korean: str) -> None:
    with override("ko"):
        assert told(said) == korean
    with override("en"):
        assert told(said) == said


def test_a_text_of_any_length_and_kind_is_answered() -> None:
    with override("ko"):
        for text in ("", " ", "x" * 100_000, "{} {0} %s %(x)s", "Row " + "of points of " * 500, "가나다"):
            assert told(text) == text
