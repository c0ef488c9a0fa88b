"""The text of a file, with what it takes to say where in the file a piece of it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .places import Part, Places

Kind = Literal["text", "html", "csv", "pdf", "docx", "pptx", "xlsx"]

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no database takes them as text


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


def storable(text: str) -> str:
    """The text without characters that a database refuses; as long as it was."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
