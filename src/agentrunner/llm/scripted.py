"""A model that answers from a script: for rehearsals without a network, for tests, for a recorded session.

It does not read files (`script_format` does) and never looks at a clock; tool results reach it as events, so that a
compacted conversation or a resumed session changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from agentrunner.errors import ModelError, ScriptError
from agentrunner.llm.placeholders import Facts
from agentrunner.llm.script_format import Entry, ScriptedError, load_script
from agentrunner.types import JSON, Completion, Event, Message, Request, Thoughts, ToolCall, Usage

__all__ = ["Entry", "ScriptedModel", "load_script"]

BYTES_PER_TOKEN = 4
"""How usage is counted where a script does not give it: about what English text has."""


class ScriptedModel:
    """Answers with the entries of a script, each once. `file` is the workspace name of the first file given with the
    goal, "" without one. `source` names the script in messages to people."""

    def __init__(self, entries: Sequence[Entry], *, goal: str, file: str, source: str = "the script") -> None:
        self._entries = tuple(entries)
        self._unused = list(range(len(self._entries)))
        self._facts = Facts(goal, file)
        self._source = source
        self._step = 0
        self._last: str | None = None
        self._last_of: dict[str, str] = {}
        """The last tool result of each branch."""
        self._heard = False
        self._text_sizes: dict[str, tuple[int, int, int]] = {}

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def endpoint(self) -> str:
        """What answers, for people."""
        return self._source

    @property
    def learned(self) -> Mapping[str, str]:
        return {}

    def replay(self, events: Iterable[Event]) -> None:
        """Take up a saved session: its answers and failures use up their entries, its tool results are remembered."""
        for event in events:
            if event.type in ("completion.received", "request.failed"):
                number = self._next(str(event.data.get("label", "")), str(event.data.get("branch") or "/"))
                if number is not None:
                    self._unused.remove(number)
            self.remember(event)

    def remember(self, event: Event) -> None:
        """Listen to the running session: tool results for `{{result}}`, steps for messages."""
        step = event.data.get("step")
        if isinstance(step, int):
            self._step = max(self._step, step)
        if event.type == "tool.finished":
            self._heard = True
            said = self._last = str(event.data.get("content", ""))
            self._last_of[str(event.data.get("branch") or "/")] = said
            if isinstance(step, int):
                self._facts.by_step[step] = said

    def input_bytes(self, request: Request) -> int:
        """UTF-8 bytes of messages, trailing line and tools. A conversation is counted only where it grew."""
        talk = request.conversation
        epoch, count, size = self._text_sizes.get(talk.id, (talk.epoch, 0, 0))
        if epoch != talk.epoch:
            count, size = 0, 0
        size += sum(_size(_text_of(message)) for message in talk.messages[count:])
        self._text_sizes[talk.id] = (talk.epoch, len(talk.messages), size)
        tools = [(tool.name, tool.description, tool.parameters) for tool in request.tools]
        return size + _size(request.trailing) + (_size(_json(tools)) if tools else 0)

    async def complete(self, request: Request, on_delta: Callable[[str], None] | None) -> Completion:
        """The next entry for this request. An entry counts as used once it answers or fails as the script says, not
        when the script itself is wrong, so that a mended script goes on from there."""
        branch = request.key.rpartition("/llm:")[0] or "/"
        number = self._next(request.label, branch)
        if number is None:
            raise self._ran_out(request)
        entry = self._entries[number]
        where = f"{self._source}, entry {number + 1} (label {request.label!r}, step {max(self._step, 1)})"
        if not self._heard:
            answers = (message.content for message in reversed(request.conversation.messages) if message.role == "tool")
            self._last = next(answers, None)
        self._facts.last = self._last_of.get(branch, self._last) if branch != "/" else self._last
        filled: JSON = asdict(entry) if entry.literal else self._facts.fill(asdict(entry), where)
        if filled["expect"] and filled["expect"] not in _searchable(request):
            raise ScriptError(
                f"{where}: the request does not contain {filled['expect']!r}",
                "compare `expect` with what the session sent, or with what the last command answered",
            )
        self._unused.remove(number)
        if entry.delay_s > 0:
            await asyncio.sleep(min(entry.delay_s, request.timeout_s))
            if entry.delay_s >= request.timeout_s:
                raise ModelError(f"no answer within {request.timeout_s:g} s", "unknown")
        if entry.error is not None:
            raise _failure(entry.error, str(filled["error"]["message"]))
        completion = _completion(filled, entry, number, request)
        if on_delta is not None and completion.text:
            on_delta(completion.text)
        return self._with_usage(completion, entry, request)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _next(self, label: str, branch: str) -> int | None:
        """The first unused entry of this label, else the first unused one without a label (never for the wrap-up); of
        this branch before those of any."""
        for place in (branch.strip("/"), ""):
            for wanted in (label,) if label == "wrap_up" else (label, ""):
                for number in self._unused:
                    entry = self._entries[number]
                    if entry.label == wanted and entry.branch.strip("/") == place:
                        return number
        return None

    def _ran_out(self, request: Request) -> ScriptError:
        used, total = len(self._entries) - len(self._unused), len(self._entries)
        return ScriptError(
            f"{self._source} ran out at step {max(self._step, 1)}: {used} of its {total} entries are used"
            f" and none is left for a request labelled {request.label!r}",
            "add an entry, or end the script with a call of finish",
        )

    def _with_usage(self, completion: Completion, entry: Entry, request: Request) -> Completion:
        if entry.usage is not None:
            usage = Usage(**asdict(entry.usage))
        else:
            said = _size(_json(completion.message))
            # No endpoint bills more output than the cap it was given.
            output = min(-(-said // BYTES_PER_TOKEN), request.max_output_tokens)
            usage = Usage(-(-self.input_bytes(request) // BYTES_PER_TOKEN), 0, output, 0)
        return replace(completion, usage=usage)


def _completion(filled: JSON, entry: Entry, number: int, request: Request) -> Completion:
    """The answer as a live endpoint would have given it: the thoughts are the first argument of the first command."""
    text: str = filled["text"] or ""
    thoughts: JSON | None = filled["thoughts"]
    message: JSON = {"role": "assistant", "content": text or None}
    calls: list[ToolCall] = []
    wire_calls: list[JSON] = []
    thoughtless = {tool.name for tool in request.tools if not tool.thoughts}
    for position, call in enumerate(filled["calls"]):
        arguments: JSON = call["arguments"]
        calls.append(ToolCall(f"call_{number}_{position}", call["name"], arguments, call["problem"]))
        if thoughts is not None and position == 0 and call["name"] not in thoughtless:
            arguments = {"thoughts": thoughts, **arguments}
        function = {"name": call["name"], "arguments": _json(arguments)}
        wire_calls.append({"id": f"call_{number}_{position}", "type": "function", "function": function})
    if wire_calls:
        message["tool_calls"] = wire_calls
    return Completion(
        message=message,
        text=text,
        calls=tuple(calls),
        thoughts=None if thoughts is None else _thoughts(thoughts),
        model=entry.model or "scripted",
        finish=entry.finish or ("tool_calls" if calls else "stop"),
        problem=filled["problem"],
    )


def _thoughts(said: JSON) -> Thoughts:
    return Thoughts(said["text"], said["reasoning"], tuple(said["plan"]), said["criticism"], said["revise"])


def _failure(error: ScriptedError, message: str) -> ModelError:
    kind: Literal["overflow", "refused", "busy", "unknown"] = "refused"
    if error.status == 429:
        kind = "busy"
    elif error.status in (0, 408) or error.status >= 500:
        kind = "unknown"
    elif error.status == 400 and "context" in message.lower():
        kind = "overflow"
    text = message or ("the connection broke" if error.status == 0 else f"the endpoint answered {error.status}")
    return ModelError(text, kind, error.status, error.retry_after_s)


def _text_of(message: Message) -> str:
    return message.content if message.raw is None else _json(message.raw)


def _searchable(request: Request) -> str:
    """All text of the request, as it reads and as it stands in JSON, so that either can be written as `expect`."""
    parts = [request.trailing, *(tool.name for tool in request.tools)]
    for message in request.conversation.messages:
        parts.append(message.content)
        for call in (message.raw or {}).get("tool_calls") or ():
            parts.extend(_strings(call))
    return "\n".join([*parts, *(_json(part) for part in parts)])


def _strings(value: Any) -> list[str]:
    """Every string inside, JSON inside of strings included: the arguments of a call as they read."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, str):
        return []
    try:
        inner = json.loads(value) if value.startswith(("{", "[")) else None
    except ValueError:
        inner = None
    return [value, *_strings(inner)]


def _size(text: str) -> int:
    # "replace" because a lone surrogate, legal in JSON, has no UTF-8 form.
    return len(text.encode("utf-8", "replace"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
