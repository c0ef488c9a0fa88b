"""Writing text to a stream that may not know every character. Decides nothing about what is written."""

from __future__ import annotations

from typing import TextIO


def is_utf8(stream: TextIO) -> bool:
    """Whether every character can be written to it."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "") == "utf8"


def write_text(stream: TextIO, text: str) -> None:
    """Write and flush; what the stream's encoding lacks is written as an escape instead of raising."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
