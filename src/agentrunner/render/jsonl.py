"""Events as JSON lines: for `--json`, and for exporting a session. What the keys mean is said where events are made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from agentrunner.render.stdout import is_utf8
from agentrunner.types import Event

VERSION = 1

_ENVELOPE = ("v", "seq", "at", "session_id", "type")
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
    return (to_json(public(event) | {"_key": event.key} | event.data) for event in events)


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
        if self._error is not None and not isinstance(self._error, BrokenPipeError):
            raise self._error

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
