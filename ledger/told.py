"""Telling in the reader's language what the code said in English, now or when a row was written.

Refusals, checks and notes are said in English by whoever knows them, and go so into the API, the commands,
the logs and the rows: machines and other people read them there. A page calls `told` with such a text. It
finds the sentence of the code that it was made of, and says that in the language of the page with the same
things put in. What it does not know, like the error of a driver, stays as it is.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from django.utils.translation import get_language, gettext

_SENTENCE_ENDS: Final = re.compile(r"(?<=[.?!:]) ")
#: What is longer was not said by us.
_LONGEST: Final = 2_000
_MOST_PIECES: Final = 20

_texts: set[str] = set()
_patterns: list[tuple[re.Pattern[str], str]] = []
_names: dict[str, str] = {}
_before_names: dict[str, re.Pattern[str]] = {}


def register(
    *, sentences: Iterable[str], words: Iterable[str] = (), names: Mapping[str, str] | None = None
) -> None:
    """Make sentences known. `names` are names of the code, and what they are called on a page."""
    _names.update(names or {})
    for text in (*sentences, *words):
        if "{}" not in text:
            _texts.add(text)
        elif all(text != known for _pattern, known in _patterns):
            literal = [re.escape(part) for part in text.split("{}")]
            _patterns.append((re.compile("(.+?)".join(literal), re.DOTALL), text))
    # The more of a sentence is fixed, the surer it is the one.
    _patterns.sort(key=lambda each: -len(each[1]))
    _told.cache_clear()


def register_list(before: str, *, names: Iterable[str]) -> None:
    """Make known a text that begins with `before`, and goes on with some of `names`, each with a sentence."""
    one_of = "|".join(map(re.escape, names))
    _before_names[before] = re.compile(rf"(?:^|(?<= ))({one_of}): ")
    _told.cache_clear()


def told(text: str) -> str:
    """`text` in the language that is active, as far as it is known."""
    language = get_language() or "en"
    if language.startswith("en") or not text or len(text) > _LONGEST:
        return text
    return _told(language, text)


def name_told(name: str) -> str:
    """What a name of the code is called on a page; a name that is not known is shown as it is."""
    return gettext(_names[name]) if name in _names else name


@lru_cache(maxsize=2048)
def _told(language: str, text: str) -> str:
    return _list(text) or _whole(text) or _in_pieces(text)


def _whole(text: str) -> str | None:
    if text in _texts:
        return gettext(text)
    for pattern, sentence in _patterns:
        found = pattern.fullmatch(text)
        # What is put in is no sentence, but for an error at the end: else it would swallow one of ours.
        if found and not any(_SENTENCE_ENDS.search(each) for each in _within(found, sentence)):
            return gettext(sentence).format(*(_whole(each) or each for each in found.groups()))
    return None


def _within(found: re.Match[str], sentence: str) -> tuple[str, ...]:
    return found.groups()[:-1] if sentence.endswith("{}") else found.groups()


def _in_pieces(text: str) -> str:
    """Several sentences that were put together: the longest beginning that is known, and so on."""
    pieces = _SENTENCE_ENDS.split(text)
    if len(pieces) == 1 or len(pieces) > _MOST_PIECES:
        return text
    said = []
    while pieces:
        for count in range(len(pieces), 0, -1):
            joined = " ".join(pieces[:count])
            # The sentences of the pages are known to the catalogue alone.
            known = _whole_alone(joined)
            if known is not None or count == 1:
                said.append(known or joined)
                del pieces[:count]
                break
    return " ".join(said)


def _whole_alone(text: str) -> str | None:
    """One sentence, or a text that the pages say themselves; not two of which one would swallow the other."""
    if text in _texts or not _SENTENCE_ENDS.search(text):
        found = _whole(text)
        if found is not None:
            return found
    translated = gettext(text)
    return translated if translated != text else None


def _list(text: str) -> str | None:
    for before, pattern in _before_names.items():
        if text.startswith(f"{before} "):
            # Of `before`, a name, its sentences, a name, its sentences, ...
            _start, *rest = pattern.split(text.removeprefix(f"{before} "))
            if not rest:
                return None
            pairs = zip(rest[::2], rest[1::2], strict=True)
            said = [f"{name_told(name)}: {told(sentence.strip())}" for name, sentence in pairs]
            return " ".join([gettext(before), *said])
    return None
