"""The values that retrieval hands around: a passage of a document, and one that a search found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `text` is exactly `document.text[start:end]`, the offsets in characters of the parsed text."""

    text: str
    start: int
    end: int
    place: str
    """Where a reader finds it: "lines 10-42", "page 3", "pages 3-4", "sheet Sales, rows 2-90"."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that answers a query, the better the higher its score."""

    source: str
    chunk: Chunk
    score: float
    attributes: Mapping[str, str | float | bool]
