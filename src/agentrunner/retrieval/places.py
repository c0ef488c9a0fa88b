"""Where in its file a piece of a text stands, as a reader would look for it: the line, the page, the row of a sheet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_BLOCK = 4_096  # characters: finding a line is a look-up and a count over at most this


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
