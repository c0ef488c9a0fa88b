"""Puts the text of a document together, line by line or page by page, and stops a parser whose text grows too long."""

from __future__ import annotations

from collections.abc import Sequence

from agentrunner.retrieval.documents import Document, Kind, Unreadable, storable
from agentrunner.retrieval.places import Part


class Builder:
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

    def block(self, text: str, unit: str, number: int) -> None:
        """Some lines that are all in this unit of the file."""
        self._parts.append(Part(self._length, unit, number))
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
