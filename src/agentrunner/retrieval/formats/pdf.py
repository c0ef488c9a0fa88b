"""The text layer of a PDF, page by page. It recognises no pictures of text."""

from __future__ import annotations

import logging
from io import BytesIO
from typing import TYPE_CHECKING

from agentrunner.retrieval.documents import Document, Limits, Unreadable

from .building import Builder

if TYPE_CHECKING:
    from pypdf import PdfReader

_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\xad": ""})
_PASSWORD = "is protected by a password; save a copy without one and add that"  # noqa: S105  # not one itself


def parse(data: bytes, limits: Limits) -> Document:
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every small fault that it mends
    reader = pypdf.PdfReader(BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable(_PASSWORD)
    pages = len(reader.pages)
    if pages > limits.max_pages:
        raise Unreadable(f"has {pages:,} pages, more than the {limits.max_pages:,} that are read; split it")
    builder = Builder(limits.max_chars)
    silent: list[int] = []
    broken: list[int] = []
    for number in range(1, pages + 1):
        text = _text(reader, number)
        builder.block(text or "", "page", number)
        if not text:
            (broken if text is None else silent).append(number)
    if broken and len(silent) + len(broken) == pages:
        raise Unreadable("is damaged, no page of it can be read; open it and save it again")
    if len(silent) == pages:
        raise Unreadable(
            "has no text layer, as when it was scanned; recognise its text first, for example with ocrmypdf, and add "
            "the result"
        )
    found = (("no text was found on", silent), ("damaged and left out:", broken))
    return builder.document("pdf", [f"{words} {_pages(numbers)}" for words, numbers in found if numbers])


def _text(reader: PdfReader, number: int) -> str | None:
    """The text of a page, None when the page is broken: the others may be read all the same."""
    try:
        return reader.pages[number - 1].extract_text().translate(_LIGATURES).strip()
    except (MemoryError, RecursionError):
        raise
    except Exception:  # the edge of a library that raises anything on a damaged page
        return None


def _pages(numbers: list[int]) -> str:
    """page 3, or pages 3, 7-9"""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    named = ", ".join("-".join(map(str, run)) for run in runs)
    return f"page {named}" if len(numbers) == 1 else f"pages {named}"
