"""Writing text to a stream that may not know every character. Decides nothing about what is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO, TypeVar

_Result = TypeVar("_Result")


class Forgiving:
    """A stream for progress, whose loss is no reason to stop working: once writing fails, nothing is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, write: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            write()
        except OSError:
            self._lost = True
            # The interpreter flushes once more at its end, and must not fail there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Unwritable(OSError):
    """Standard output takes no more. It has no number: libraries that know one of a broken pipe would end the process
    in their own way."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.no_reader = isinstance(error, BrokenPipeError)
        self.why = error.strerror


class Printed:
    """Standard output: what is written there was asked for, so its loss ends the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: Unwritable | None = None

    def write(self, text: str) -> int:
        """Raises `Unwritable` once; after that everything goes nowhere, and `lost` says why."""
        return self._try(lambda: self._stream.write(text))

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, write: Callable[[], _Result]) -> _Result:
        try:
            return write()
        except OSError as error:
            # The interpreter flushes once more at its end, and must not fail there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self.lost = Unwritable(error)
            raise self.lost from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_utf8(stream: TextIO) -> bool:
    """Whether every character can be written to it."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "") == "utf8"


def write_text(stream: TextIO, text: str) -> None:
    """Write and flush; what the stream's encoding lacks is written as an escape instead of raising."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
