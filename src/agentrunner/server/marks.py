"""Annotations of an answer: where its text names a passage that was found, or a file that was made. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from agentrunner.types import JSON

_MARK = re.compile(r"【(\d{1,6}:\d{1,6})†[^【】]{0,200}】")
_PLACE = "sandbox:/mnt/data/"
_PATH = re.compile(r"sandbox:/mnt/data/([^\s()\[\]{}<>\"'`]+)")
_LINK = re.compile(r"""\]\(<?(?P<whole>sandbox:/mnt/data/(?:[^()\n]|\([^()\n]*\)){1,1024}?)>?(?:\s+"[^"\n]*")?\)""")
"""In a link a name may have spaces and parentheses: its end is the link's."""
MAX_REQUESTS = 100_000
QUOTE_CHARS = 1_000
"""Of a passage that is quoted with its annotation: the whole stands in the run's step."""


class Passage(NamedTuple):
    """What a mark stands for."""

    file_id: str
    filename: str
    text: str


def marks_in(texts: Iterable[str]) -> int:
    """The highest number of a request in the marks of these texts; 0 without any. Nobody asks that often: what is
    higher was made up."""
    numbers = [int(match[1].partition(":")[0]) for text in texts for match in _MARK.finditer(text)]
    return max((number for number in numbers if number < MAX_REQUESTS), default=0)


def mark_of(number: int, place: int) -> str:
    """The mark of a passage: the request that found it, and its place among what was found."""
    return f"{number}:{place}"


def annotations_in(text: str, passages: Mapping[str, Passage], files: Mapping[str, str]) -> list[JSON]:
    """In the order of the text; `files` are ids by the path under /mnt/data. What is not known is left as it is."""
    found: list[JSON] = []
    for match in _MARK.finditer(text):
        if (passage := passages.get(match[1])) is not None:
            citation = {"file_id": passage.file_id, "quote": passage.text[:QUOTE_CHARS]}
            found.append(_annotation(match[0], match.start(), {"type": "file_citation", "file_citation": citation}))
    for path, start in paths_in(text):
        if path in files:
            made: JSON = {"type": "file_path", "file_path": {"file_id": files[path]}}
            found.append(_annotation(_PLACE + path, start, made))
    return sorted(found, key=lambda one: one["start_index"])


def paths_in(text: str) -> Iterator[tuple[str, int]]:
    """Paths under /mnt/data that the text names, and where; the end of a sentence is no part of them."""
    links = [match.span("whole") for match in _LINK.finditer(text)]
    for start, end in links:
        yield text[start + len(_PLACE) : end], start
    starts = {start for start, _ in links}
    for match in _PATH.finditer(text):
        if match.start() not in starts:
            yield match[1].rstrip(".,;:!?*_"), match.start()


def _annotation(text: str, start: int, of: JSON) -> JSON:
    return {"type": of["type"], "text": text, "start_index": start, "end_index": start + len(text), **of}
