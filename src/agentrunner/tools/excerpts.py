"""What of a passage is shown: the lines in it that bear most on the query, and where exactly they stand. It reads no
file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentrunner.retrieval.terms import terms

EXCERPT_CHARS = 500
"""Some 120 tokens: a paragraph or two. What is around them is one `read_file` away."""
AROUND_CHARS = 320
"""How much a short paragraph is filled up to with those around it, such as the items of a list."""
LONGEST_LINE = 600
"""Characters of one line that are shown; a longer one is data without line breaks."""
_STEM = 4
"""Words that begin alike in so many letters count as the same: "tide" and "tides", "measure" and "measured"."""


class Excerpt(NamedTuple):
    """`first` counts from 0 within the passage."""

    first: int
    lines: list[str]
    cut: bool
    """Whether a line was too long to be shown whole."""


def words_of(query: str) -> list[str]:
    """The beginnings of words that say what a query is about, each once."""
    return list(dict.fromkeys(term.text[: max(_STEM, len(term.text) - 3)] for term in terms(query)))


def excerpt(text: str, words: Sequence[str]) -> Excerpt:
    """The best lines of a passage: the paragraph with the most of these words, and what fits around it."""
    lines = text.split("\n")
    blocks = _blocks(lines)
    if not blocks:
        return Excerpt(0, lines[:1], False)
    best = max(range(len(blocks)), key=lambda number: (_weight(lines, blocks[number], words), -number))
    first, last = _around(lines, blocks, best)
    if _size(lines, first, last) > EXCERPT_CHARS:
        first, last = _within(lines, first, last, words)
    shown = [_shortened(line, words) for line in lines[first : last + 1]]
    return Excerpt(first, shown, shown != lines[first : last + 1])


def _blocks(lines: Sequence[str]) -> list[tuple[int, int]]:
    """First and last line of each paragraph. A heading belongs to what follows it."""
    blocks: list[tuple[int, int]] = []
    start = heading = -1
    for number, line in enumerate([*lines, ""]):
        if line.strip():
            start = number if start < 0 else start
            continue
        if start >= 0 and start == number - 1 and lines[start].startswith("#") and number < len(lines):
            heading = start if heading < 0 else heading
        elif start >= 0:
            blocks.append((start if heading < 0 else heading, number - 1))
            heading = -1
        start = -1
    return blocks if heading < 0 else [*blocks, (heading, len(lines) - 1)]


def _weight(lines: Sequence[str], block: tuple[int, int], words: Sequence[str]) -> tuple[int, int]:
    text = "\n".join(lines[block[0] : block[1] + 1]).lower()
    counts = [text.count(word) for word in words]
    return sum(count > 0 for count in counts), sum(counts)


def _around(lines: Sequence[str], blocks: Sequence[tuple[int, int]], best: int) -> tuple[int, int]:
    """As many of the next paragraphs as fit after the best one, then of those before it."""
    first, last = blocks[best]
    for _, end in blocks[best + 1 :]:
        if _size(lines, first, end) > AROUND_CHARS:
            break
        last = end
    for start, _ in reversed(blocks[:best]):
        if _size(lines, start, last) > AROUND_CHARS:
            break
        first = start
    return first, last


def _within(lines: Sequence[str], first: int, last: int, words: Sequence[str]) -> tuple[int, int]:
    """The best line of a long paragraph, and what fits after it and before it."""
    best = max(range(first, last + 1), key=lambda number: (_weight(lines, (number, number), words), -number))
    start = end = best
    while end < last and _size(lines, start, end + 1) <= EXCERPT_CHARS:
        end += 1
    while start > first and _size(lines, start - 1, end) <= EXCERPT_CHARS:
        start -= 1
    return start, end


def _size(lines: Sequence[str], first: int, last: int) -> int:
    return sum(min(len(line), LONGEST_LINE) + 1 for line in lines[first : last + 1])


def _shortened(line: str, words: Sequence[str]) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    lower = line.lower()
    found = [at for word in words if (at := lower.find(word)) >= 0]
    start = max(0, min(min(found, default=0) - LONGEST_LINE // 4, len(line) - LONGEST_LINE))
    end = start + LONGEST_LINE
    return ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")
