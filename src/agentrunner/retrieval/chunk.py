"""Cuts a document into passages of about equal size that overlap, at paragraphs and headings where one is near."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple
from unicodedata import combining

from .documents import Document
from .passages import Chunk

MAX_TOKENS, OVERLAP_TOKENS = 800, 400
LEAST_TOKENS, MOST_TOKENS = 100, 4_096
_NEAR = 4  # a cut may come a quarter of the size earlier for the sake of a paragraph; then no passage is much smaller
_BLOCK = 256  # characters that are weighed together
_MOST_MARKS = 16  # on one character; a text of nothing else is cut somewhere
_JOINERS = "\u200d\ufe0e\ufe0f"
_PER_TOKEN = 4  # a token is about four bytes of text
_CUTS = (
    re.compile(r"\n(?=#{1,6} )"),  # before a heading
    re.compile(r"\n[ \t]*\n+"),  # between paragraphs
    re.compile(r"\n"),
    re.compile(r"[.!?][\"')\]]*\s+|[。！？]"),  # between sentences
    re.compile(r"\s+"),
)


class _Piece(NamedTuple):
    start: int
    end: int


def chunks(
    document: Document, *, max_tokens: int = MAX_TOKENS, overlap_tokens: int = OVERLAP_TOKENS
) -> Iterator[Chunk]:
    """The passages of a document, in order. Together they hold all of its text that is not blank. Raises `ValueError`
    for sizes out of range."""
    if not LEAST_TOKENS <= max_tokens <= MOST_TOKENS:
        raise ValueError(f"max_tokens={max_tokens!r} must be from {LEAST_TOKENS} to {MOST_TOKENS}")
    if not 0 <= overlap_tokens <= max_tokens // 2:
        raise ValueError(f"overlap_tokens={overlap_tokens!r} must be from 0 to half of max_tokens={max_tokens}")
    return _chunks(document, max_tokens, overlap_tokens)


def tokens_of(text: str) -> int:
    """About how many tokens a text is: a quarter of its bytes, and one for each character of scripts without spaces."""
    return -(-_weight(text) // _PER_TOKEN)


def _chunks(document: Document, max_tokens: int, overlap_tokens: int) -> Iterator[Chunk]:
    text, covered = document.text, 0
    for piece in _pieces(document, max_tokens * _PER_TOKEN, overlap_tokens * _PER_TOKEN):
        whole = text[piece.start : piece.end]
        start = piece.start + len(whole) - len(whole.lstrip())
        passage = whole.strip()
        end = start + len(passage)
        if end > covered and passage:  # else blank, or in the one before but for what is blank
            covered = end
            yield Chunk(passage, start, end, document.place(start, end))


def _pieces(document: Document, size: int, overlap: int) -> Iterator[_Piece]:
    """Windows on the text; each begins before the last one ends, and at least a quarter of the size after it began."""
    text, scale = document.text, _Scale(document.text)
    parts = [part.start for part in document.parts if not part.counted or part.within]
    start = 0
    while start < len(text):
        end = scale.after(start, size)
        if end < len(text):
            end = _cut(text, parts, scale.after(start, size - size // _NEAR), end)
        yield _Piece(start, end)
        if end == len(text):
            return
        start = _begin(text, parts, scale.before(end, overlap), end) if overlap else end


def _cut(text: str, parts: list[int], earliest: int, latest: int) -> int:
    """The best place to end a passage, from `earliest` to `latest`."""
    part = parts[bisect_right(parts, latest) - 1] if parts else 0
    if part > earliest:
        return part
    stretch = text[earliest:latest]
    for cut in _CUTS:
        if ends := [found.end() for found in cut.finditer(stretch)]:
            return earliest + ends[-1]
    return _unjoined(text, latest, -1)


def _begin(text: str, parts: list[int], earliest: int, end: int) -> int:
    """The best place to begin the next passage, from `earliest` on and well before `end`."""
    latest = earliest + (end - earliest) // _NEAR
    following = bisect_left(parts, earliest)
    if following < len(parts) and parts[following] <= latest:
        return parts[following]
    stretch = text[earliest:latest]
    for cut in _CUTS:
        if first := cut.search(stretch):
            return earliest + first.end()
    return _unjoined(text, earliest, 1) if latest - earliest > _MOST_MARKS else earliest


def _unjoined(text: str, at: int, step: int) -> int:
    """The same place, moved off accents and joined emoji that belong to the character before."""
    for place in range(at, at + step * _MOST_MARKS, step):
        if not (combining(text[place]) or text[place] in _JOINERS or text[place - 1] == "\u200d"):
            return place
    return at


def _weight(text: str) -> int:
    """In quarters of a token: 1 for ASCII, 2 for other alphabets, 4 for scripts without spaces and for pictures."""
    if text.isascii():
        return len(text)
    utf8 = len(text.encode("utf-8", "surrogatepass"))  # counts of bytes are some twenty times as fast as a loop
    four = len(text.encode("utf-16-le", "surrogatepass")) // 2 - len(text)  # characters of four bytes
    plain = len(text.encode("ascii", "ignore"))
    three = utf8 - plain - 4 * four - 2 * (len(text) - plain - four)
    return utf8 + three


class _Scale:
    """Finds the place in a text that is so much further on, weighing each character once."""

    def __init__(self, text: str) -> None:
        self._text = text
        blocks = (_weight(text[at : at + _BLOCK]) for at in range(0, len(text), _BLOCK))
        self._before = list(accumulate(blocks, initial=0))  # the weight of the text before each block

    def after(self, start: int, weight: int) -> int:
        """The furthest place such that what lies between weighs no more."""
        return self._place(self._weight_before(start) + weight)

    def before(self, end: int, weight: int) -> int:
        """The same, backwards."""
        wanted = self._weight_before(end) - weight
        place = self._place(wanted)
        return place if self._weight_before(place) == wanted else place + 1

    def _weight_before(self, place: int) -> int:
        block = place // _BLOCK
        return self._before[block] + _weight(self._text[block * _BLOCK : place])

    def _place(self, weight: int) -> int:
        block = bisect_right(self._before, weight) - 1
        if block == len(self._before) - 1:
            return len(self._text)
        start = block * _BLOCK
        letters = self._text[start : start + _BLOCK]
        left = weight - self._before[block]
        if letters.isascii():
            return start + min(left, len(letters))
        fitting = bisect_right(range(len(letters) + 1), left, key=lambda length: _weight(letters[:length]))
        return start + fitting - 1
