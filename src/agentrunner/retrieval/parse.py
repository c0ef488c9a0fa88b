"""From a file to its text. Plain text is decoded right here: that takes time and memory in proportion to its size,
which is limited. Every other format is parsed in a child process, which one bad file may take down."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .asking import Asked, Child, Run
from .child import too_big
from .decoding import text_of
from .documents import Document, Kind, Limits, Unreadable
from .kinds import kind_of
from .places import Part

TIMEOUT_S = 60.0


def parse(
    path: Path, *, name: str | None = None, timeout_s: float = TIMEOUT_S, limits: Limits | None = None
) -> Document:
    """The text of one file. `name` is how it is called in messages, and its ending tells the format when the content
    does not. Raises `Unreadable`. For many files use one `Parser`."""
    with Parser(timeout_s=timeout_s, limits=limits) as parser:
        return parser.parse(path, name=name)


class Parser:
    """Parses files one after the other, with one child process for all that need it; threads wait for each other.

    `run` starts a program somewhere else, behind a wall for example: it is given its arguments, its standard input and
    the seconds it has, and returns its standard output. Then every such file takes a process of its own."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S, limits: Limits | None = None, run: Run | None = None) -> None:
        self.limits = limits or Limits()
        self.timeout_s = timeout_s
        self._child = Child(json.dumps(asdict(self.limits)), run)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._child.close()

    def parse(self, path: Path, *, name: str | None = None) -> Document:
        """The text of a file. Raises `Unreadable`."""
        called = path.name if name is None else name
        try:
            data = _bytes_of(path, self.limits.max_bytes)
        except OSError as error:
            raise Unreadable(
                f"{called!r} cannot be opened ({error.strerror or error}); check its name and rights"
            ) from None
        except Unreadable as unreadable:
            raise Unreadable(f"{called!r} {unreadable.sentence}") from None
        return self.parse_bytes(data, called)

    def parse_bytes(self, data: bytes, name: str) -> Document:
        """The text of a file that was read already. Raises `Unreadable`."""
        try:
            if len(data) > self.limits.max_bytes:
                raise Unreadable(_too_large(len(data), self.limits.max_bytes))
            kind = kind_of(data, name)
            if kind == "text":
                text, note = text_of(data, self.limits.max_chars)
                return Document(text, notes=(note,) if note else ())
            return self._parsed(data, kind)
        except Unreadable as unreadable:
            raise Unreadable(f"{name!r} {unreadable.sentence}") from None

    def _parsed(self, data: bytes, kind: Kind) -> Document:
        with self._lock:
            asked = self._child.ask(kind, data, self.timeout_s, most_bytes=4 * self.limits.max_chars)
        if asked is None:
            raise Unreadable(f"crashes its parser, or {too_big(self.limits.memory_bytes)}")
        if problem := asked.header.get("problem"):
            raise Unreadable(str(problem)[:1_000])
        return _document(asked, kind)


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    """What is in a regular file; a pipe or a device would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("is not a file; name a file")
        if found.st_size > max_bytes:
            raise Unreadable(_too_large(found.st_size, max_bytes))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1)
    finally:
        os.close(descriptor)


def _too_large(size: int, max_bytes: int) -> str:
    return (
        f"is {size / 1e6:,.1f} MB, more than the {max_bytes / 1e6:,.1f} MB that are read; split it into smaller files"
    )


def _document(asked: Asked, kind: Kind) -> Document:
    """What the child says is checked, for a file may have taken it over."""
    header: Mapping[str, Any] = asked.header
    try:
        text = asked.text.decode("utf-8")
        parts = [Part(int(start), str(unit), int(n), bool(c), str(w)) for start, unit, n, c, w in header["parts"]]
        notes = tuple(str(note) for note in header["notes"])
    except (KeyError, TypeError, ValueError):
        raise Unreadable("makes its parser say nonsense; leave it out") from None
    starts = [part.start for part in parts]
    if not starts or starts[0] != 0 or starts != sorted(starts) or starts[-1] > len(text):
        raise Unreadable("makes its parser say nonsense; leave it out")
    return Document(text, parts, kind, notes)
