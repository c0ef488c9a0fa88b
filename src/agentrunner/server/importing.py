"""Threads from transcripts: JSON or JSONL with messages, as programs log them or as the API itself lists them.

It reads values; what it makes of them is kept by `threads`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from agentrunner.errors import UsageError
from agentrunner.server.faults import ApiError
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.threads import add_message, create_thread
from agentrunner.server.wire.parts import object_in
from agentrunner.server.wire.threads import create_message
from agentrunner.server.wire.tools import METADATA
from agentrunner.types import JSON

_NO_TIME = 10**11
"""In seconds the year 5138: whatever it is, it is no time in seconds."""
ROLES = ("user", "assistant")
_EXPECTED = 'expected messages {"role": ..., "content": ...}, or threads {"messages": [...]}'


@dataclass
class Transcript:
    """One thread to be. `left_out`: what a thread cannot hold: messages of other roles, parts that are no text."""

    messages: list[JSON] = field(default_factory=list[JSON])
    metadata: JSON = field(default_factory=dict[str, object])
    left_out: int = 0


def read_transcripts(text: str) -> list[Transcript]:
    """The threads in a file. Messages of one file are one thread, unless they say which with `thread_id` or `thread`.
    Raises `UsageError`."""
    loose: dict[str, list[JSON]] = {}
    found: list[Transcript] = []
    for number, value in enumerate(_values(text), 1):
        if not isinstance(value, dict):
            raise UsageError(f"entry {number} of the transcript is no object", _EXPECTED)
        entry = cast(JSON, value)
        if isinstance(entry.get("messages"), list):
            found.append(_transcript(entry["messages"], object_in(entry, "metadata"), f"entry {number}"))
        elif "role" in entry:
            loose.setdefault(str(entry.get("thread_id") or entry.get("thread") or ""), []).append(entry)
        else:
            raise UsageError(f"entry {number} of the transcript has neither a role nor messages", _EXPECTED)
    found += [
        _transcript(messages, {}, f"thread {name!r}" if name else "the thread") for name, messages in loose.items()
    ]
    if not found:
        raise UsageError("there is nothing in the transcript", _EXPECTED)
    return found


def keep_transcript(t: Tenant, transcript: Transcript, now: int) -> JSON:
    """The thread that was made of it. Times that it knows are kept; others are those of the message before."""
    times = [message["created_at"] for message in transcript.messages if message["created_at"] is not None]
    thread = create_thread(t, {"metadata": transcript.metadata}, min([now, *times]))
    at = thread["created_at"]
    for message in transcript.messages:
        at = at if message["created_at"] is None else message["created_at"]
        add_message(t, thread, message, at)
    return thread


def _values(text: str) -> Iterable[object]:
    try:
        whole: object = json.loads(text)
    except (ValueError, RecursionError):
        return _lines(text)
    return cast("list[object]", whole) if isinstance(whole, list) else [whole]


def _lines(text: str) -> list[object]:
    values: list[object] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                values.append(json.loads(line))
        except (ValueError, RecursionError):
            raise UsageError(
                f"line {number} of the transcript is not JSON", "give one JSON value, or one a line"
            ) from None
    return values


def _transcript(messages: Sequence[object], metadata: JSON, where: str) -> Transcript:
    made = Transcript()
    for number, given in enumerate(messages, 1):
        place = f"message {number} of {where}"
        if not isinstance(given, dict):
            raise UsageError(f"{place} is no object", _EXPECTED)
        message = cast(JSON, given)
        parts, left_out = _texts(message.get("content"))
        made.left_out += left_out
        if message.get("role") not in ROLES or not parts:
            made.left_out += not left_out
            continue
        checked = _checked({"role": message["role"], "content": parts}, message.get("metadata"), place)
        made.messages.append(checked | {"created_at": _time(message.get("created_at"))})
    try:
        made.metadata = METADATA(metadata, "metadata") or {}
    except ApiError as error:
        raise UsageError(f"{where}: {error.message}", "shorten it") from None
    times = [message["created_at"] for message in made.messages]
    if None not in times and times == sorted(times, reverse=True) and len(set(times)) > 1:
        made.messages.reverse()  # as the API lists them: the newest first
    return made


def _time(at: object) -> int | None:
    """In seconds; None where it is not known."""
    return int(at) if isinstance(at, int | float) and not isinstance(at, bool) and 0 <= at < _NO_TIME else None


def _texts(content: object) -> tuple[list[JSON], int]:
    """The text parts of a message, however it was written down, and how many others there are."""
    if isinstance(content, str):
        return ([{"type": "text", "text": content}] if content else []), 0
    texts: list[JSON] = []
    items = cast("list[object]", content) if isinstance(content, list) else []
    for item in items:
        part = cast(JSON, item) if isinstance(item, dict) else {}
        inner = part.get("text")
        value = cast(JSON, inner).get("value") if isinstance(inner, dict) else inner
        if isinstance(value, str) and value:
            texts.append({"type": "text", "text": value})
    return texts, len(items) - len(texts)


def _checked(body: JSON, metadata: object, place: str) -> JSON:
    try:
        return create_message(body | ({"metadata": metadata} if metadata else {}), "")
    except ApiError as error:
        raise UsageError(f"{place}: {error.message}", "shorten it, or leave it out") from None
