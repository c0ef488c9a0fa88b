"""From our values to the bytes of a Chat Completions request. Pure but for a cache of what was encoded already.

A message is encoded once in its life: a conversation only grows, so a request is its old bytes and the new ones.
Reading answers is in `reading`.
"""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentrunner.llm.lenient import loads, well_formed
from agentrunner.llm.reading import IN_TEXT, Protocol, text_of
from agentrunner.llm.thoughts import NAME, with_thoughts
from agentrunner.types import JSON, Conversation, Image, Message, ToolSpec

RESPONSES_OUTPUT = "responses_output"
"""Field of a raw message that holds what the Responses API answered, item by item; no part of Chat Completions."""
MAX_BUFFERS = 64
"""Conversations whose bytes are kept. More than run at once; one that fell out is encoded again when it comes back."""


def encode(value: object) -> bytes:
    """Compact UTF-8 JSON; lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return well_formed(text).encode()


def encode_message(message: Message, protocol: Protocol) -> bytes:
    return encode(to_wire(message, protocol))


def to_wire(message: Message, protocol: Protocol) -> JSON:
    if message.role == "assistant":
        raw = message.raw or {"role": "assistant", "content": message.content}
        return _assistant_as_text(raw) if protocol == "json" else _assistant(raw)
    if message.role == "tool":
        # A call that came as text has no counterpart in the history, which endpoints refuse.
        if protocol == "json" or message.call_id.startswith(IN_TEXT):
            return {"role": "user", "content": f"Result of {message.name}:\n{message.content}"}
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.content}
    return {"role": message.role, "content": _parts(message) if message.images else message.content}


def _parts(message: Message) -> list[JSON]:
    """Text and pictures, in their order."""
    parts: list[JSON] = []
    places = [0, *(image.at for image in message.images), len(message.content)]
    for index, (start, end) in enumerate(itertools.pairwise(places)):
        if text := message.content[start:end].strip("\n"):
            parts.append({"type": "text", "text": text})
        if index < len(message.images):
            image = message.images[index]
            detail = {} if image.detail == "auto" else {"detail": image.detail}
            parts.append({"type": "image_url", "image_url": {"url": image.url} | detail})
    return parts


def functions(tools: Sequence[ToolSpec], texts: Mapping[str, str]) -> list[JSON]:
    """The tools as endpoints want them described, the deliberation among their arguments."""
    return [
        {"name": spec.name, "description": spec.description, "parameters": with_thoughts(spec, texts)}
        | ({"strict": True} if spec.strict else {})
        for spec in tools
    ]


def is_strict(schema: object) -> bool:
    """Whether a JSON schema has the form that strict structured output demands: objects closed, all fields required."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in cast("list[Any]", schema))
    if not isinstance(schema, dict):
        return True
    fields = cast("JSON", schema)
    if "properties" in fields or fields.get("type") == "object":
        named = set(cast("JSON", fields.get("properties") or {}))
        if fields.get("additionalProperties") is not False or set(fields.get("required") or ()) != named:
            return False
    return all(is_strict(value) for value in fields.values())


def joined(field: bytes, model: str, messages: bytearray, tools: bytes, trailing: bytes, options: JSON) -> bytes:
    """A request's body. What grows with the conversation is copied, never encoded again; `options` are not empty."""
    return b"".join(
        (
            b'{"model":',
            encode(model),
            b",",
            field,
            b"[",
            messages,
            b"," if messages and trailing else b"",
            trailing,
            b"]",
            b',"tools":' + tools if tools else b"",
            b",",
            encode(options)[1:],
        )
    )


def merged(messages: bytearray, trailing: bytes) -> bytearray:
    """The messages with each of a user's that follows another, or a tool's, added to that one: some chat templates
    insist on roles that alternate. This reads everything again, at each request; few endpoints need it."""
    kept: list[JSON] = []
    for message in json.loads(b"[" + b",".join(filter(None, (messages, trailing))) + b"]"):
        if message["role"] == "user" and kept and kept[-1]["role"] in ("user", "tool"):
            kept[-1]["content"] = _together(kept[-1]["content"], message["content"])
        else:
            kept.append(message)
    return bytearray(encode(kept)[1:-1])


def _together(first: str | list[JSON], second: str | list[JSON]) -> str | list[JSON]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    one, other = ([{"type": "text", "text": each}] if isinstance(each, str) else each for each in (first, second))
    return [*one, *other]


class Transcripts:
    """The encoded messages of conversations, joined by commas, kept up by appending."""

    def __init__(self, encode_one: Callable[[Message, Protocol], bytes] = encode_message) -> None:
        self._encode_one = encode_one
        self._kept: OrderedDict[tuple[str, Protocol, bool], _Encoded] = OrderedDict()

    def of(self, conversation: Conversation, protocol: Protocol, instructions: str = "") -> bytearray:
        """`instructions` are added to the system message, and make one if there is none. The result is the cache
        itself: do not change it."""
        key = (conversation.id, protocol, bool(instructions))
        kept = self._kept.get(key)
        messages = conversation.messages
        if kept is None or kept.epoch != conversation.epoch or kept.count > len(messages):
            kept = self._kept[key] = _Encoded(conversation.epoch)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_BUFFERS:
            self._kept.popitem(last=False)
        if instructions and not kept.data:
            first = messages[0].content if messages and messages[0].role == "system" else ""
            kept.append(self._encode_one(Message("system", f"{first}\n\n{instructions}".lstrip("\n")), protocol))
            kept.count = 1 if first else 0
        for message in messages[kept.count :]:
            kept.append(self._encode_one(message, protocol))
            kept.images += message.images
            kept.count += 1
        return kept.data

    def images_of(self, conversation: Conversation, protocol: Protocol, instructions: str = "") -> Sequence[Image]:
        """The pictures in the same."""
        self.of(conversation, protocol, instructions)
        return self._kept[conversation.id, protocol, bool(instructions)].images


@dataclass
class _Encoded:
    epoch: int
    count: int = 0
    """Messages of the conversation that are in `data`."""
    data: bytearray = field(default_factory=bytearray)
    images: list[Image] = field(default_factory=list[Image])

    def append(self, encoded: bytes) -> None:
        if self.data and encoded:
            self.data += b","
        self.data += encoded


def _assistant(raw: JSON) -> JSON:
    """Verbatim, but for two shapes that endpoints themselves produce and then refuse."""
    kept = {name: value for name, value in raw.items() if name != RESPONSES_OUTPUT}
    if raw.get("tool_calls"):
        return kept
    kept.pop("tool_calls", None)
    return kept if kept.get("content") else {**kept, "content": text_of(raw)}


def _assistant_as_text(raw: JSON) -> JSON:
    """A message with tool calls, from before a switch of protocol, as the object that is asked for after it."""
    commands: list[JSON] = []
    thoughts: object = None
    for call in cast("list[Any]", raw.get("tool_calls") or []):
        function = cast("JSON", call["function"])
        arguments = _arguments(function.get("arguments"))
        thoughts = thoughts or arguments.get(NAME)
        arguments = {name: value for name, value in arguments.items() if name != NAME}
        commands.append({"name": function["name"], "args": arguments})
    if not commands:
        return {"role": "assistant", "content": text_of(raw)}
    said: JSON = {} if thoughts is None else {NAME: thoughts}
    said |= {"command": commands[0]} if len(commands) == 1 else {"commands": commands}
    return {"role": "assistant", "content": encode(said).decode()}


def _arguments(value: object) -> JSON:
    if isinstance(value, str):
        try:
            value = loads(value)
        except ValueError:
            return {}
    return cast("JSON", value) if isinstance(value, dict) else {}
