"""The text of an HTML page, each line of it with the line of the source that it stands in. It follows no link, runs no
script, and decides nothing about what is worth reading but to leave navigation out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from agentrunner.retrieval.decoding import text_of
from agentrunner.retrieval.documents import Document, Limits

from .building import Builder

_BLOCKS = frozenset(
    ["address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "dialog", "div", "dl", "dt",
     "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "legend",
     "li", "main", "menu", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead",
     "title", "tr", "ul"]
)  # fmt: skip
_UNREAD = frozenset(["script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "canvas"])
_SPACED = frozenset(["p", "pre", "table", "ul", "ol", "dl", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"])
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)


def parse(data: bytes, limits: Limits) -> Document:
    source, note = _source(data, limits.max_chars)
    lines = _lines(source, skipped=_UNREAD | {"nav"})
    if not any(text for text, _ in lines):  # all of it inside what was never closed
        lines = _lines(source, skipped=_UNREAD)
    builder = Builder(limits.max_chars)
    for text, number in lines:
        builder.line(text, "line", number)
    return builder.document("html", [note] if note else [])


def _source(data: bytes, max_chars: int) -> tuple[str, str]:
    declared = _CHARSET.search(data[:4_096])
    if declared and not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        try:
            return text_of(data.decode(declared[1].decode("ascii")).encode("utf-8"), max_chars)
        except (LookupError, UnicodeError):  # as it is declared it cannot be read
            pass
    return text_of(data, max_chars)


def _lines(source: str, skipped: frozenset[str]) -> list[tuple[str, int]]:
    reader = _Reader(skipped)
    reader.feed(source)
    reader.close()
    reader.end_line()
    return reader.lines


class _Reader(HTMLParser):
    """Collects lines of text; `lines` holds each with the number of its source line."""

    def __init__(self, skipped: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[str, int]] = []
        self._skipped = skipped
        self._inside: list[str] = []  # elements that are left out, innermost last
        self._preformatted = 0
        self._words: list[str] = []
        self._number = 1
        self._prefix = ""
        self._cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._skipped:
            self._inside.append(tag)
        if tag in _BLOCKS:
            self._break(tag)
        if tag[0] == "h" and tag[1:] in "123456" and len(tag) == 2:
            self._prefix = "#" * int(tag[1]) + " "
        elif tag == "li":
            self._prefix = "- "
        elif tag == "tr":
            self._cells = 0
        elif tag in ("td", "th"):
            if self._cells and self._words:
                self._words.append(" | ")
            self._cells += 1
        elif tag == "pre":
            self._preformatted += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass
        if tag in _BLOCKS:
            self._break(tag)
        if tag == "pre":
            self._preformatted = max(self._preformatted - 1, 0)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._inside:
            return
        number = self.getpos()[0]
        for offset, line in enumerate(data.split("\n")):  # a line of text is never more than a line of the source
            if offset:
                self.end_line()
            if line.strip():
                self._take(line, number + offset)
            elif self._words:
                self._words.append(" ")

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """What browsers take for a comment, where the library ends at a word that it does not know."""
        return self.parse_bogus_comment(i, report)

    def _take(self, text: str, number: int) -> None:
        if not self._words:
            self._number = number
        self._words.append(text)

    def _break(self, tag: str) -> None:
        self.end_line()
        if tag in _SPACED and self.lines and self.lines[-1][0]:
            self.lines.append(("", self.getpos()[0]))

    def end_line(self) -> None:
        text = "".join(self._words)
        text = text.rstrip() if self._preformatted else " ".join(text.split())
        if text:
            self.lines.append((self._prefix + text, self._number))
            self._prefix = ""
        self._words.clear()
