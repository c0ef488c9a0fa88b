"""From an endpoint's answer in Chat Completions form to a `Completion`. Pure; never raises, whatever the answer is.

Instructions to the model (`problem`) come about here when a command could not be read. Usage is read in `usage`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any, Literal, cast

from agentrunner.llm.lenient import loads, loads_lenient, objects_in, where
from agentrunner.llm.thoughts import NAME, injected, read_thoughts
from agentrunner.llm.usage import read_usage
from agentrunner.types import JSON, Completion, Thoughts, ToolCall, ToolSpec

Protocol = Literal["tools", "json"]
"""How commands travel: as tool calls, or as a JSON object in the message's text."""
IN_TEXT = "text-"
"""Begins the ids of calls that came as text, so that history can tell them from real tool calls."""
_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)
_FENCE_OPENING = re.compile(r"\s*```[\w-]*\s*\Z")
_LOOKS_MEANT = re.compile(r'["\']commands?["\']\s*:')


def from_wire(data: JSON, protocol: Protocol, tools: Sequence[ToolSpec] | None = None) -> Completion:
    """`tools` are those that were offered: with none, text is just text; None when that is not known."""
    choice = _first_object(data.get("choices"))
    message = _object(choice.get("message")) or {}
    message = {**message, "role": "assistant"}
    if "content" not in message:
        message["content"] = None
    finish = choice.get("finish_reason")
    whole = _Reading(
        message=message,
        usage=read_usage(data.get("usage")),
        model=_string(data.get("model")),
        finish=finish if isinstance(finish, str) and finish else "stop",
    )
    entries = [cast("JSON", entry) for entry in _list(message.get("tool_calls")) if isinstance(entry, dict)]
    if entries:
        return _with_tool_calls(whole, entries, _ours(tools))
    text = _THINKING.sub("", text_of(message))
    if tools is not None and not tools:
        return whole.completion(text)
    names = [spec.name for spec in tools or ()]
    return _with_text(whole, text, protocol, names)


def text_of(message: JSON) -> str:
    """What a person would read of a message: its content, or the refusal in place of one."""
    content: object = message.get("content")
    if isinstance(content, list):
        parts = [_object(part) or {} for part in cast("list[Any]", content)]
        content = "".join(_string(part.get("text")) or _string(part.get("refusal")) for part in parts)
    return content if isinstance(content, str) and content else _string(message.get("refusal"))


def malformed(data: JSON) -> bool:
    """Whether this is no answer of a chat model at all."""
    return _object(_first_object(data.get("choices")).get("message")) is None


@dataclass(frozen=True)
class _Reading:
    message: JSON
    usage: Any
    model: str
    finish: str

    def completion(
        self,
        text: str,
        calls: Sequence[ToolCall] = (),
        thoughts: Thoughts | None = None,
        problem: str = "",
        message: JSON | None = None,
    ) -> Completion:
        kept = self.message if message is None else message
        return Completion(kept, text, tuple(calls), thoughts, self.usage, self.model, self.finish, problem)


def _with_tool_calls(whole: _Reading, entries: list[JSON], ours: Collection[str] | None) -> Completion:
    calls: list[ToolCall] = []
    mended: list[JSON] = []
    thoughts: Thoughts | None = None
    taken: set[str] = set()
    for position, entry in enumerate(entries):
        function = _object(entry.get("function")) or {}
        name = _string(function.get("name"))
        arguments, verbatim, problem = _read_arguments(name, function.get("arguments"))
        if not name:
            name, arguments, problem = "unnamed", {}, "the call has no name; send it again with the name of a tool"
        if ours is None or name in ours:
            thoughts = thoughts or read_thoughts(arguments.get(NAME))
            arguments = {key: value for key, value in arguments.items() if key != NAME}
        call_id = _unique_id(entry.get("id"), taken, whole.message, position)
        taken.add(call_id)
        calls.append(ToolCall(call_id, name, arguments, problem))
        mended.append(
            {**entry, "id": call_id, "type": "function", "function": {**function, "name": name, "arguments": verbatim}}
        )
    message = {**whole.message, "tool_calls": mended}
    text = _THINKING.sub("", text_of(message))
    return whole.completion(text, calls, thoughts, message=message)


def _read_arguments(name: str, value: object) -> tuple[JSON, object, str]:
    """The arguments, what stands for them in history, and the instruction when they could not be read."""
    if isinstance(value, dict):
        return cast("JSON", value), cast("JSON", value), ""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}, "{}", ""
    again = "send the call again with one JSON object"
    if not isinstance(value, str):
        return {}, "{}", f"the arguments of {name} are {_kind(value)}, expected a JSON object; {again}"
    try:
        read = loads(value)
        verbatim = value
    except ValueError:
        try:
            read = loads_lenient(value)
            verbatim = _compact(read)
        except ValueError as problem:
            return {}, "{}", f"the arguments of {name} are not valid JSON: {where(problem)}; {again}"
    if not isinstance(read, dict):
        return {}, "{}", f"the arguments of {name} are {_kind(read)}, expected a JSON object; {again}"
    return cast("JSON", read), verbatim, ""


def _with_text(whole: _Reading, text: str, protocol: Protocol, names: Sequence[str]) -> Completion:
    thinking: Thoughts | None = None
    for start, found in objects_in(text):
        meant = "command" in found or "commands" in found or (protocol == "json" and NAME in found)
        if not meant:
            continue
        thinking = read_thoughts(found.get(NAME))
        calls, problem = _read_commands(found, names, whole.message)
        prose = _FENCE_OPENING.sub("", text[:start]).strip()
        return whole.completion(prose, calls, thinking, problem)
    if protocol == "json" and "{" in text and _LOOKS_MEANT.search(text):
        return whole.completion(text, problem=_unreadable(text))
    return whole.completion(text)


def _read_commands(found: JSON, names: Sequence[str], message: JSON) -> tuple[list[ToolCall], str]:
    many = _list(found.get("commands"))
    single = found.get("command")
    if isinstance(single, str) and not many:
        single = {**found, "name": single}
    given: list[Any] = many or [single]
    if given[0] is None:
        return (
            [],
            '"command" is missing: expected an object {"name": string, "args": object}; send the whole object again',
        )
    calls: list[ToolCall] = []
    for position, command in enumerate(given):
        field = f"commands[{position}]" if many else "command"
        if not isinstance(command, dict):
            return [], f'"{field}" is {_kind(command)}: expected an object {{"name": string, "args": object}}'
        command = cast("JSON", command)
        name = command.get("name")
        if not isinstance(name, str) or not name:
            one_of = f", one of {', '.join(names)}" if names else ""
            wrong = "is missing" if name in (None, "") else f"is {_kind(name)}"
            return [], f'"{field}.name" {wrong}: expected a string{one_of}'
        arguments, problem = _read_args(field, command)
        if problem:
            return [], problem
        call_id = IN_TEXT + _digest(message, position)
        calls.append(ToolCall(call_id, name, {key: value for key, value in arguments.items() if key != NAME}))
    return calls, ""


def _read_args(field: str, command: JSON) -> tuple[JSON, str]:
    value = next((command[key] for key in ("args", "arguments", "parameters", "input") if command.get(key)), None)
    if isinstance(value, str):
        try:
            value = loads_lenient(value)
        except ValueError as problem:
            return {}, f'"{field}.args" is a string that is not JSON ({where(problem)}): expected an object'
    if value is None:
        return {}, ""
    if not isinstance(value, dict):
        return {}, f'"{field}.args" is {_kind(value)}: expected an object with the arguments by name'
    return cast("JSON", value), ""


def _unreadable(text: str) -> str:
    try:
        loads_lenient(text[text.index("{") : text.rindex("}") + 1])
        detail = "it is not one object"
    except ValueError as problem:
        detail = where(problem) if "}" in text else "its closing brace is missing"
    shape = '{"thoughts": object, "command": {"name": string, "args": object}}'
    return f"the JSON object in your message could not be read: {detail}; send one object {shape} and nothing else"


def _unique_id(value: object, taken: set[str], message: JSON, position: int) -> str:
    if isinstance(value, str) and value and value not in taken and not value.startswith(IN_TEXT):
        return value
    made = _digest(message, position)
    while made in taken:
        made = _digest({"again": made}, position)
    return made


def _digest(message: JSON, position: int) -> str:
    """Nine letters and digits: some endpoints take no other form of id. The same answer always gives the same ids."""
    return blake2s(f"{_compact(message)}{position}".encode("utf-8", "replace"), digest_size=16).hexdigest()[:9]


def _ours(tools: Sequence[ToolSpec] | None) -> Collection[str] | None:
    return None if tools is None else {spec.name for spec in tools if injected(spec)}


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _first_object(value: object) -> JSON:
    items = _list(value)
    return (_object(items[0]) if items else None) or {}


def _object(value: object) -> JSON | None:
    return cast("JSON", value) if isinstance(value, dict) else None


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _kind(value: object) -> str:
    kinds = ((list, "a list"), (str, "a string"), (bool, "true or false"), (int | float, "a number"))
    return "null" if value is None else next((name for kind, name in kinds if isinstance(value, kind)), "an object")
