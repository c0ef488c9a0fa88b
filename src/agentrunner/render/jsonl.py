"""Events as JSON lines: for `--json`, and for exporting a session. What the keys mean is said where events are made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

from agentrunner.render.stdout import Unwritable, is_utf8
from agentrunner.types import Event

VERSION = 1

_ENVELOPE = ("v", "seq", "at", "session_id", "type")
_TAKEN = {*_ENVELOPE, "_key", "_data"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_HOSTILE = re.compile(
    "[\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""What must not reach a terminal as it is: C1, direction and invisible format characters, line separators that split a
line for some readers, tags, and surrogates that no encoding has. JSON itself escapes C0."""


def to_json(value: object, *, ascii_only: bool = False) -> str:
    """Compact JSON on one line, readable, with everything hostile as `\\uXXXX`: decoding it gives the same value."""
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    return _HOSTILE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]


def public(event: Event) -> dict[str, Any]:
    """The event as its line shows it: the envelope first, then its data without internal keys."""
    line: dict[str, Any] = dict(
        zip(_ENVELOPE, (VERSION, event.seq, event.at, event.session_id, event.type), strict=True)
    )
    line.update((key, value) for key, value in event.data.items() if not key.startswith("_") and key not in line)
    return line


def export(events: Iterable[Event]) -> Iterator[str]:
    """One line per event, without the line break: all that the journal has, with internal keys and the event's key."""
    return (to_json(_whole(event)) for event in events)


def _whole(event: Event) -> dict[str, Any]:
    line = public(event) | {"_key": event.key}
    # Data that has a name of the envelope's stands apart, so that nothing is lost.
    return line | ({"_data": event.data} if _TAKEN & event.data.keys() else event.data)


def beside(session_id: str, data: dict[str, Any]) -> str:
    """A line of an export that is no event: what belongs to the session besides. `data` has its type."""
    return to_json({"v": VERSION, "session_id": session_id, **data})


def read_export(lines: Iterable[bytes]) -> Iterator[Event | dict[str, Any]]:
    """The events of exported lines, as they were, and lines of `beside` as objects. Raises `ValueError` for what is
    neither; nothing else is checked."""
    for number, line in enumerate(lines, 1):
        try:
            yield _event(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error


def _event(line: object) -> Event | dict[str, Any]:
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    fields: dict[str, Any] = dict(cast(dict[str, Any], line))
    if fields.get("v") == VERSION and "seq" not in fields and isinstance(fields.get("type"), str):
        return fields
    version, seq, *texts = (fields.pop(name, None) for name in (*_ENVELOPE, "_key"))
    if version != VERSION:
        raise ValueError(f"its format is {version!r}, this program reads format {VERSION}")
    if type(seq) is not int or not all(isinstance(text, str) and _storable(text) for text in texts):
        raise ValueError("not an exported event")
    at, session_id, type_, key = cast(list[str], texts)
    data: object = fields.get("_data", fields)
    if not isinstance(data, dict):
        raise ValueError("its data is not a JSON object")
    return Event(session_id, seq, at, type_, key, cast(dict[str, Any], data))


def _storable(text: str) -> bool:
    """Lone surrogates have no encoding, and PostgreSQL stores no NUL."""
    return "\0" not in text and not _SURROGATE.search(text)


class JsonlWriter:
    """A listener that writes each event as one line and flushes it. `on_delta` writes `text_delta` lines, when a stream
    of them is wanted.

    When the reader has gone away, `broken` is set, `on_broken` is called once, and every later line is dropped: a
    listener must not raise, and the session's record is whole either way. Whoever started the writer stops the session
    as on an interrupt (or lets it finish), and leaves without a message, as a program ended by SIGPIPE would. Any other
    reason that writing failed, such as a full disk, is raised by `close`. Before it exits, a program whose standard
    output is broken points its descriptor at the null device: the interpreter flushes it once more.
    """

    def __init__(self, stream: TextIO, on_broken: Callable[[], None] | None = None) -> None:
        self._stream = stream
        self._on_broken = on_broken
        self._ascii_only = not is_utf8(stream)
        self._session_id = ""
        self._error: OSError | None = None

    @property
    def broken(self) -> bool:
        return self._error is not None

    def __call__(self, event: Event) -> None:
        self._session_id = event.session_id
        self._write(public(event))

    def on_delta(self, text: str) -> None:
        self._write({"v": VERSION, "type": "text_delta", "session_id": self._session_id, "text": text})

    def close(self) -> None:
        """Raise what stopped the writing, unless it was only the reader that left."""
        error = self._error
        if error is None or isinstance(error, BrokenPipeError) or (isinstance(error, Unwritable) and error.no_reader):
            return
        raise error

    def _write(self, line: dict[str, Any]) -> None:
        if self._error is not None:
            return
        try:
            self._stream.write(to_json(line, ascii_only=self._ascii_only) + "\n")
            self._stream.flush()
        except OSError as error:
            self._error = error
            if self._on_broken is not None:
                self._on_broken()
