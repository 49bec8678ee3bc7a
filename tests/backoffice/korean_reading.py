"""Reading a page as a Korean does: which English words are left on it that nobody meant to be English."""

import re
from html.parser import HTMLParser

#: Names and technical words that are the same in Korean.
KEPT = {
    "API", "CSV", "ID", "JSON", "PostgreSQL", "Redis", "URL", "UTC", "UTF", "English", "TOTP", "IP", "Django",
    "p50", "p95", "p99", "ms", "Asia", "Seoul", "Control", "Command", "Mac", "Sign-On",
    # What Django calls its icons of yes and no.
    "True", "False", "None",
}  # fmt: skip
_SILENT = {"script", "style", "code", "pre", "svg", "head"}
_VOID = {"input", "br", "img", "meta", "link", "hr", "source", "wbr"}
_SAID_BY_ATTRIBUTE = ("aria-label", "placeholder", "title", "alt")
_WORD = re.compile(r"(?<![\w@./:-])[A-Za-z][A-Za-z']+(?![\w@./:=-]*[\w@/=])")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if not self._is_silent:
            self.said += [given[name] or "" for name in _SAID_BY_ATTRIBUTE if name in given]
            if tag == "input" and given.get("type") in ("submit", "button"):
                self.said.append(given.get("value") or "")
        classes = (given.get("class") or "").split()
        is_silent = tag in _SILENT or "mono" in classes or given.get("lang") == "en"
        if tag not in _VOID:
            self._open.append((tag, is_silent))

    def handle_endtag(self, tag: str) -> None:
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place][0] == tag:
                del self._open[place:]
                return

    def handle_data(self, data: str) -> None:
        if not self._is_silent and data.strip():
            self.said.append(data)

    @property
    def _is_silent(self) -> bool:
        return any(is_silent for _tag, is_silent in self._open)


def english_left(html: str, *, data: set[str]) -> set[str]:
    """The English words of a page that are neither names nor `data` that somebody typed."""
    reader = _Reader()
    reader.feed(html)
    left = set()
    for said in reader.said:
        text = " ".join(said.split())
        for known in sorted(data, key=len, reverse=True):
            text = text.replace(known, " ")
        # What is written in capitals is a code.
        words = [word for word in _WORD.findall(text) if word not in KEPT and not word.isupper()]
        if words:
            left.add(f"{' '.join(words)}   in: {text[:120]}")
    return left
