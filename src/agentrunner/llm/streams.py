"""Puts a streamed answer together: lines to events, events to the answer as it would have come in one piece. No I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from agentrunner.llm.lenient import loads
from agentrunner.types import JSON

MAX_LINE_BYTES = 64_000_000
"""An endpoint that sends no line break must not fill the memory. Far above any one event."""
_ONCE = ("role", "type", "id")
"""Strings of a delta that are sent whole, perhaps several times; other strings come in pieces."""


class StreamError(Exception):
    """The stream is not what it should be; the message is for a person."""


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[JSON | None]:
    """The JSON objects of a server-sent event stream; None for its [DONE]. Splits at line feeds only: other characters
    that Unicode counts as line breaks may stand in the JSON. Comments, event names and blank lines mean nothing."""
    rest = bytearray()
    pending = ""
    async for chunk in chunks:
        rest += chunk
        *lines, last = rest.split(b"\n")
        rest = bytearray(last)
        if len(rest) > MAX_LINE_BYTES:
            raise StreamError("the endpoint streams a line without end")
        for line in lines:
            event, pending = _event(line, pending)
            if event is not _NOTHING:
                yield cast("JSON | None", event)
    event, _ = _event(rest, pending)
    if event is not _NOTHING:
        yield cast("JSON | None", event)


_NOTHING = object()


def _event(line: bytes | bytearray, pending: str) -> tuple[object, str]:
    """What a line brings: an event, [DONE] as None, or nothing yet; and the data that waits for its next line."""
    field, _, value = line.decode("utf-8", "replace").rstrip("\r").partition(":")
    if field != "data":
        return _NOTHING, pending
    data = pending + value.strip()
    if data == "[DONE]":
        return None, ""
    try:
        event = loads(data)
    except ValueError:
        return _NOTHING, data + "\n"
    return (cast("JSON", event) if isinstance(event, dict) else _NOTHING), ""


class Accumulator:
    """Chunks of a Chat Completions stream, as forgiving as endpoints make necessary: call ids and names once or in
    every chunk, `index` missing or always 0, usage in a chunk of its own or in each."""

    def __init__(self) -> None:
        self._head: JSON = {}
        self._message: JSON = {}
        self._slots: list[_Slot] = []
        self._finish: str | None = None
        self.said_bytes = 0
        """Size of all text, reasoning and arguments so far."""
        self.seen = False

    @property
    def finished(self) -> bool:
        return self._finish is not None

    def add(self, chunk: JSON) -> str:
        """Take in one chunk; returns the visible text that it brought."""
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                self._head[name] = value
        choices = chunk.get("choices")
        choice: object = cast("list[Any]", choices)[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""
        choice = cast("JSON", choice)
        self.seen = True
        if isinstance(choice.get("finish_reason"), str) and choice["finish_reason"]:
            self._finish = choice["finish_reason"]
        delta = choice.get("delta")
        return self._delta(cast("JSON", delta)) if isinstance(delta, dict) else ""

    def result(self) -> JSON:
        message = dict(self._message)
        if self._slots:
            message["tool_calls"] = [slot.call() for slot in self._slots]
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return {**self._head, "object": "chat.completion", "choices": [choice] if self.seen else []}

    def _delta(self, delta: JSON) -> str:
        for name, value in delta.items():
            if name == "tool_calls":
                for entry in cast("list[Any]", value if isinstance(value, list) else []):
                    if isinstance(entry, dict):
                        self._call(cast("JSON", entry))
                continue
            if isinstance(value, str):
                self.said_bytes += len(value.encode("utf-8", "replace"))
            self._message[name] = _joined(name, self._message.get(name), value)
        content = delta.get("content")
        return content if isinstance(content, str) else ""

    def _call(self, entry: JSON) -> None:
        function = cast("JSON", entry.get("function") if isinstance(entry.get("function"), dict) else {})
        slot = self._slot_of(entry, function)
        self.said_bytes += slot.add(entry, function)

    def _slot_of(self, entry: JSON, function: JSON) -> _Slot:
        index, call_id, name = entry.get("index"), entry.get("id"), function.get("name")
        last = self._slots[-1] if self._slots else None
        slot = next((one for one in reversed(self._slots) if index is not None and one.index == index), None)
        if index is None:
            slot = next((one for one in self._slots if call_id and one.id == call_id), None if call_id else last)
            # Without index and id, a name after complete arguments begins another call.
            if slot is not None and not call_id and name and slot.complete:
                slot = None
        elif slot is not None and call_id and slot.id and slot.id != call_id:
            slot = next((one for one in self._slots if one.id == call_id), None)
        if slot is None:
            slot = _Slot(index)
            self._slots.append(slot)
        return slot


class _Slot:
    """One tool call as it grows."""

    def __init__(self, index: object) -> None:
        self.index = index
        self.id = ""
        self._name = ""
        self._arguments: list[str] = []
        self._whole_arguments: JSON | None = None
        self._entry: JSON = {}
        self._function: JSON = {}

    @property
    def complete(self) -> bool:
        try:
            return isinstance(loads("".join(self._arguments)), dict)
        except ValueError:
            return self._whole_arguments is not None

    def add(self, entry: JSON, function: JSON) -> int:
        """Returns how many bytes it brought."""
        self._entry |= {key: value for key, value in entry.items() if key not in ("index", "function") and value}
        self._function |= {key: value for key, value in function.items() if key not in ("name", "arguments")}
        if isinstance(entry.get("id"), str) and entry["id"]:
            self.id = entry["id"]
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name != self._name and not self._arguments:
            self._name += name
        if isinstance(arguments, str) and arguments:
            self._arguments.append(arguments)
            return len(arguments.encode("utf-8", "replace"))
        if isinstance(arguments, dict) and arguments:
            self._whole_arguments = cast("JSON", arguments)
        return 0

    def call(self) -> JSON:
        arguments = self._whole_arguments if self._whole_arguments is not None else "".join(self._arguments)
        function = {**self._function, "name": self._name, "arguments": arguments}
        return {**self._entry, "function": function}


def _joined(name: str, before: Any, value: Any) -> Any:
    if before is None or value is None:
        return before if value is None else value
    if isinstance(before, str) and isinstance(value, str) and name not in _ONCE:
        return before + value
    if isinstance(before, list) and isinstance(value, list):
        return [*cast("list[Any]", before), *cast("list[Any]", value)]
    if isinstance(before, dict) and isinstance(value, dict):
        return {**cast("JSON", before), **cast("JSON", value)}
    return value
