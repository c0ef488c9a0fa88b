"""The text of a file, with what it takes to say where in the file a piece of it stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

Kind = Literal["text", "html", "csv", "pdf", "docx", "pptx", "xlsx"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no database takes them as text
_BLOCK = 4_096  # characters: finding a line is a look-up and a count over at most this


class Unreadable(Exception):
    """A file of which there is no text, and what to do about it, in one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may cost."""

    max_bytes: int = 100 << 20
    """A larger file is not read at all."""
    max_chars: int = 60_000_000
    """Of text: some 15 million tokens, a shelf of books."""
    memory_bytes: int = 1 << 30
    """Address space of the process that parses: the file, its text, and what the parser makes of them."""
    max_pages: int = 2_000
    """A page takes 10 to 100 ms, so more would not come to an end in a minute or two."""
    max_expanded_bytes: int = 256 << 20
    """What the XML in an Office document may unpack to."""


class Part(NamedTuple):
    """A stretch of the text that has one number in the file (page 3), or whose lines are counted from that number on
    (rows 2, 3, 4, ...). It ends where the next part begins."""

    start: int
    unit: str
    """line, row, paragraph, page, slide"""
    number: int
    counted: bool = False
    """Whether each further line of it is one further unit."""
    within: str = ""
    """What the units are counted in, when the file has several of it: "sheet Sales"."""


@dataclass(frozen=True)
class Document:
    text: str
    parts: Sequence[Part] = (Part(0, "line", 1, counted=True),)
    kind: Kind = "text"
    notes: tuple[str, ...] = ()
    """What a reader should know of how it was read, in sentences: a guessed encoding, pages without text."""

    def place(self, start: int, end: int) -> str:
        """Where in the file `text[start:end]` stands, which must not be empty."""
        return self._places.of(start, end)

    @cached_property
    def _places(self) -> Places:
        return Places(self.text, self.parts, columns=self.kind == "text")


class Places:
    """Says where a piece of a text stands, each time in the same short time however long the text is."""

    def __init__(self, text: str, parts: Sequence[Part], *, columns: bool) -> None:
        self._text = text
        self._parts = parts
        self._starts = [part.start for part in parts]
        self._columns = columns
        self._newlines = [0]  # before each block
        self._line_starts = [0]  # of the line that the block begins in
        for block, following in pairwise(range(0, len(text) + _BLOCK, _BLOCK)):
            self._newlines.append(self._newlines[-1] + text.count("\n", block, following))
            self._line_starts.append(text.rfind("\n", block, following) + 1 or self._line_starts[-1])

    def of(self, start: int, end: int) -> str:
        first, last = self._part(start), self._part(end - 1)
        a, b = self._number(first, start), self._number(last, end - 1)
        if (first.unit, first.within) != (last.unit, last.within) or b < a:
            return f"{_named(first, a)} to {_named(last, b)}"
        if a == b:
            return _named(first, a) + self._column(start, end, first)
        within = f"{first.within}, " if first.within else ""
        return f"{within}{first.unit}s {a}-{b}"

    def _part(self, offset: int) -> Part:
        return self._parts[max(bisect_right(self._starts, offset) - 1, 0)]

    def _number(self, part: Part, offset: int) -> int:
        return part.number + (self._lines_before(offset) - self._lines_before(part.start) if part.counted else 0)

    def _lines_before(self, offset: int) -> int:
        block = offset // _BLOCK
        return self._newlines[block] + self._text.count("\n", block * _BLOCK, offset)

    def _column(self, start: int, end: int, part: Part) -> str:
        """Which characters of a line, when they are not all of it: a file may be one line of a million characters."""
        if not (self._columns and part.counted):
            return ""
        block = start // _BLOCK
        line_start = self._text.rfind("\n", block * _BLOCK, start) + 1 or self._line_starts[block]
        whole = start == line_start and self._text[end : end + 1] in ("", "\n")
        return "" if whole else f", characters {start - line_start + 1}-{end - line_start}"


def _named(part: Part, number: int) -> str:
    return f"{part.within}, {part.unit} {number}" if part.within else f"{part.unit} {number}"


class Builder:
    """Puts a document together, piece after piece, and stops a parser whose text grows too long."""

    def __init__(self, max_chars: int) -> None:
        self._pieces: list[str] = []
        self._parts: list[Part] = []
        self._length = 0
        self._max_chars = max_chars
        self._next: tuple[str, int, str] | None = None  # what would go on counting in the last part

    def line(self, text: str, unit: str, number: int, within: str = "") -> None:
        """One line that is this unit of the file. Line breaks in it become spaces."""
        if (unit, number, within) != self._next:
            self._parts.append(Part(self._length, unit, number, counted=True, within=within))
        self._add(text.replace("\r", " ").replace("\n", " ") + "\n")
        self._next = (unit, number + 1, within)

    def block(self, text: str, unit: str, number: int, within: str = "") -> None:
        """Some lines that are all in this unit of the file."""
        self._parts.append(Part(self._length, unit, number, within=within))
        self._add(text.replace("\r\n", "\n").replace("\r", "\n") + "\n\n")
        self._next = None

    def document(self, kind: Kind, notes: Sequence[str] = ()) -> Document:
        parts = self._parts or [Part(0, "line", 1, counted=True)]
        return Document("".join(self._pieces), parts, kind, tuple(notes))

    def _add(self, piece: str) -> None:
        self._length += len(piece)
        if self._length > self._max_chars:
            raise Unreadable(f"has more than {self._max_chars:,} characters of text; split it into smaller files")
        self._pieces.append(storable(piece))


def storable(text: str) -> str:
    """The text without characters that a database refuses; as long as it was."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
