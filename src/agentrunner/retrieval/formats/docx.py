"""The text of a Word document: paragraphs, tables row by row, notes and comments. Deleted text, fields' codes and what
is only there for older programs are left out."""

from __future__ import annotations

from agentrunner.retrieval.documents import Document, Limits

from .building import Builder
from .package import Attributes, Package

_AFTERWARDS = ("footnotes", "endnotes", "comments")


def parse(data: bytes, limits: Limits) -> Document:
    package = Package(data, limits)
    main = package.main()
    related = {relation.type: relation.target for relation in package.relations(main)}
    headings = _headings(package, related.get("styles", ""))
    builder = Builder(limits.max_chars)
    _Story(builder, headings).read(package, main)
    for name in _AFTERWARDS:
        if name in related:
            _Story(builder, {}, within=name).read(package, related[name])
    return builder.document("docx")


def _headings(package: Package, part: str) -> dict[str, int]:
    """The styles that are headings, with their level. Their ids are in the author's language, their names are not."""
    levels: dict[str, int] = {}
    style = ""

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal style
        if tag == "style":
            style = attributes.get("styleId", "")
        elif tag == "name" and style:
            word, _, level = attributes.get("val", "").lower().partition(" ")
            if word == "title" and not level:
                levels[style] = 1
            elif word == "heading" and level in tuple("123456789"):
                levels[style] = min(int(level), 6)

    package.walk(part, start)
    return levels


class _Story:
    """One part that has paragraphs. A paragraph is a line, and so is a row of a table."""

    def __init__(self, builder: Builder, headings: dict[str, int], within: str = "") -> None:
        self._builder = builder
        self._headings = headings
        self._within = within
        self._number = 0
        self._words: list[str] = []
        self._level = 0
        self._cells: list[str] = []  # of the outermost row
        self._rows = 0  # that are open, one in the other
        self._skipped = 0

    def read(self, package: Package, part: str) -> None:
        self._inside = ""
        package.walk(part, self._start, self._end, self._text)
        self._paragraph()

    def _start(self, tag: str, attributes: Attributes) -> None:
        if tag == "Fallback" or self._skipped:  # the same once more, for programs that cannot show it otherwise
            self._skipped += 1
            return
        self._inside = tag
        if tag == "p":
            self._paragraph()
        elif tag == "pStyle":
            self._level = self._headings.get(attributes.get("val", ""), 0)
        elif tag == "outlineLvl" and attributes.get("val", "") in tuple("012345678"):
            self._level = self._level or min(int(attributes["val"]) + 1, 6)
        elif tag in ("tab", "br", "cr", "noBreakHyphen"):
            self._words.append("-" if tag == "noBreakHyphen" else " ")
        elif tag == "tr":
            self._rows += 1
        elif tag == "tc" and self._rows == 1:
            self._cells.append("")

    def _end(self, tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        self._inside = ""
        if tag == "p":
            self._paragraph()
        elif tag == "tr":
            self._rows -= 1
            if not self._rows:
                self._line(" | ".join(filter(None, self._cells)))
                self._cells.clear()

    def _text(self, text: str) -> None:
        if self._inside == "t" and not self._skipped:
            self._words.append(text)

    def _paragraph(self) -> None:
        text = " ".join("".join(self._words).split())
        level, self._level = self._level, 0
        self._words.clear()
        if self._rows and self._cells:
            self._cells[-1] = f"{self._cells[-1]} {text}".strip()
        elif text and level and not self._rows:
            self._within = f'section "{text[:80]}"'
            self._line("#" * level + " " + text)
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        if text:
            self._number += 1
            self._builder.line(text, "paragraph", self._number, self._within)
