"""What a model gets to read of a long result, and where the whole text stays. It knows nothing of tools or policies.

Lines are the unit of `offset` everywhere. A line longer than `LONGEST_LINE` counts as several, so that a result
without line breaks can be read piece by piece too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PREFIX = "@output/"
LONGEST_LINE = 1_000  # characters; at four bytes each, head and tail of a cut result still hold two of them
STUB_BYTES = 2_048  # a result over this is worth replacing by a one-line stub later, so its text must be on disk
SPARE_BYTES = 300  # what the line about the cut takes


class Cut(NamedTuple):
    """`text` is what to show; `cut_chars` how many characters were left out."""

    text: str
    cut_chars: int


def lines_of(parts: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in parts, without line ends; long ones in pieces of `LONGEST_LINE`."""
    rest = ""
    for part in parts:
        *whole, rest = (rest + part).split("\n")
        for line in whole:
            yield from _pieces(line)
        if len(rest) > LONGEST_LINE:
            full = (len(rest) - 1) // LONGEST_LINE * LONGEST_LINE  # never all of it: a line end may follow
            yield from _pieces(rest[:full])
            rest = rest[full:]
    if rest:
        yield from _pieces(rest)


def _pieces(line: str) -> Iterator[str]:
    yield line[:LONGEST_LINE]
    for start in range(LONGEST_LINE, len(line), LONGEST_LINE):
        yield line[start : start + LONGEST_LINE]


def name_for(key: str) -> str:
    """File name for a journal key: "/tool:7:0" -> "7-0.txt", "/t3/tool:2:0" -> "t3-2-0.txt", "/act:3:0" ->
    "act-3-0.txt"."""
    plain = re.sub(r"(^|/)tool:", r"\1", key).strip("/")
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-")[:120] + ".txt"


def cut(text: str, max_bytes: int, saved_as: str) -> Cut:
    """The first 60 % and the last 40 % of `max_bytes`, in whole lines, and between them how to read the rest."""
    if len(text.encode()) <= max_bytes:
        return Cut(text, 0)
    lines = list(lines_of([text]))
    room = max(max_bytes - SPARE_BYTES, 0)
    head = _fit(lines, room * 6 // 10)
    tail = _fit(lines[head:][::-1], room * 4 // 10)
    middle = lines[head : len(lines) - tail]
    left_out = sum(len(line) + 1 for line in middle)
    how = (
        f"[... {left_out} characters in {len(middle)} lines left out here; to read them call read_file with "
        f'path="{saved_as}", offset={head} ...]'
    )
    return Cut("\n".join([*lines[:head], how, *lines[len(lines) - tail :]]), left_out)


def _fit(lines: list[str], room: int) -> int:
    for index, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            return index
    return len(lines)


class Outputs:
    """The folder of whole results, one file per call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, key: str, text: str) -> str:
        """Write the whole text; returns the path that `read_file` takes."""
        name = name_for(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, encoding="utf-8", newline="\n")
        return PREFIX + name
