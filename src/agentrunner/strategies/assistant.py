"""A run of an assistant on a thread: ask, let tools run, ask again, until there is an answer without calls.

It reads `Session.messages`, the thread, and of `Session.request`: instructions, additional_instructions, truncation
(auto, or how many messages), max_prompt_tokens, max_completion_tokens, tool_choice, parallel_tool_calls,
response_format, temperature, top_p, reasoning_effort. The two limits hold for all requests of the run together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentrunner.strategies.compact import compact, size_bytes, stub_results
from agentrunner.strategies.conversation import Conversation
from agentrunner.types import JSON, Answer, Ask, Message, Session, Step, Strategy, Usage

MAX_REPAIRS = 2
"""Answers in a row that were empty or could not be read; each is a paid request."""
MAX_OVERFLOWS = 2
"""In a row: what was shortened twice and still does not fit will not fit."""
BYTES_PER_TOKEN = 4
"""What English text has. The limit on prompts is kept as well as can be: only the endpoint knows their tokens."""
KEEP_RESULTS = 2
"""Tool results at the end that stay when the context is full."""
IMAGE_BYTES = 6_000
"""Of text that takes about as much room as a picture of usual size: most models count no more than 1,500 tokens."""
OPTIONS = ("parallel_tool_calls", "response_format", "temperature", "top_p", "reasoning_effort")
"""Fields that travel with every request as they are."""


def assistant(session: Session) -> Strategy:
    request = session.request or {}
    limits = _Limits(request.get("max_prompt_tokens"), request.get("max_completion_tokens"))
    talk = _opening(session, request)
    repairs = overflows = 0
    answered = False
    while True:
        if limits.prompt is not None and limits.prompt_left() < size_bytes(talk) // BYTES_PER_TOKEN:
            return Answer("", outcome="gave_up", reason="max_prompt_tokens")
        options = _options(request, session, first=not answered)
        step: Step = yield Ask("step", talk, session.tools, options=options, max_output_tokens=limits.completion_left())
        limits.count(step)
        if step.error is not None and step.error.kind == "overflow":
            overflows += 1
            if overflows > MAX_OVERFLOWS or not (yield from compact(session, talk)):
                return Answer("", outcome="gave_up", reason="the thread does not fit the model's context window")
            continue
        overflows = 0
        assert step.completion is not None
        if step.error is not None and step.error.kind == "length":
            return Answer(step.completion.text, outcome="gave_up", reason="max_completion_tokens")
        talk.add(step)
        if step.error is not None:
            repairs += 1
            if repairs > MAX_REPAIRS:
                return Answer("", outcome="gave_up", reason=f"the model's answers could not be used: {step.error.text}")
            continue
        repairs = 0
        answered = answered or bool(step.completion.calls)
        if not step.completion.calls and not any(notice.kind == "message" for notice in step.notices):
            return Answer(step.completion.text)
        if limits.completion is not None and limits.completion_left() == 0:
            return Answer("", outcome="gave_up", reason="max_completion_tokens")
        if _tokens(step) > session.context_tokens:
            stub_results(talk, size_bytes(talk) / 2, KEEP_RESULTS)
            talk.folded()


@dataclass(slots=True)
class _Limits:
    """Tokens that the run may use, and has used; None where there is no limit."""

    prompt: int | None
    completion: int | None
    used: Usage = field(default_factory=Usage)

    def count(self, step: Step) -> None:
        if step.completion is not None and step.completion.usage is not None:
            self.used += step.completion.usage

    def prompt_left(self) -> int:
        return max(0, (self.prompt or 0) - self.used.input_tokens)

    def completion_left(self) -> int | None:
        return None if self.completion is None else max(0, self.completion - self.used.output_tokens)


def _opening(session: Session, request: JSON) -> Conversation:
    instructions = session.render(
        "assistant",
        instructions=request.get("instructions") or "",
        additional=request.get("additional_instructions") or "",
        files=session.files,
        notes=session.notes,
        tools=[spec.name for spec in session.tools if not spec.external],
    )
    head = [Message("system", instructions.strip())] if instructions.strip() else []
    talk = Conversation(*head)
    room = session.context_tokens
    if request.get("max_prompt_tokens") is not None:
        room = min(room, int(request["max_prompt_tokens"]))
    room_bytes = room * BYTES_PER_TOKEN - size_bytes(talk)
    for message in _joined(truncated(session.messages, request.get("truncation"), room_bytes)):
        talk.append(message)
    return talk


def truncated(messages: Sequence[Message], last: object, room_bytes: int) -> list[Message]:
    """The thread, or its last so many messages. Of what does not fit, tool calls and their results go first, the oldest
    before the others: what came of them stands in the answers. Then the middle is left out: the first message says what
    it is all about, the last ones what is wanted now."""
    blocks = _blocks(messages)
    if isinstance(last, int):
        blocks = blocks[-last:]
    total = sum(_size(message) for block in blocks for message in block)
    for block in blocks:
        if total > room_bytes:
            total -= sum(map(_size, block[:-1]))
            del block[:-1]
    while len(blocks) > 1 and total > room_bytes:
        total -= sum(map(_size, blocks.pop(1 if len(blocks) > 2 else 0)))
    return [message for block in blocks for message in block]


def _blocks(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages of the thread, each with the tool calls that led to it: those make no sense alone."""
    blocks: list[list[Message]] = []
    block: list[Message] = []
    for message in messages:
        block.append(message)
        if message.role == "user" or (message.role == "assistant" and not (message.raw or {}).get("tool_calls")):
            blocks.append(block)
            block = []
    return blocks  # Calls that no message followed belong to a run that came to nothing.


def _joined(messages: Sequence[Message]) -> list[Message]:
    """What was said with calls is one message with them again, as a model says it: there are endpoints that take no two
    of an assistant in a row."""
    joined: list[Message] = []
    for message in messages:
        before = joined[-1] if joined else None
        calls = message.raw if message.raw and message.raw.get("tool_calls") else None
        if calls and not calls.get("content") and before and before.role == "assistant" and not before.raw:
            joined[-1] = replace(message, content=before.content, raw=calls | {"content": before.content})
        else:
            joined.append(message)
    return joined


def _options(request: JSON, session: Session, *, first: bool) -> JSON:
    options: JSON = {name: request[name] for name in OPTIONS if request.get(name) is not None}
    if not session.tools:
        options.pop("parallel_tool_calls", None)
        return options
    choice: Any = request.get("tool_choice")
    # A tool that must be called was called: forced for ever, the run would never come to an answer.
    if choice is not None and (first or choice == "none"):
        options["tool_choice"] = choice
    return options


def _size(message: Message) -> int:
    return (
        IMAGE_BYTES * len(message.images)
        + len(message.content.encode("utf-8", "replace"))
        + (len(str(message.raw)) if message.raw else 0)
    )


def _tokens(step: Step) -> int:
    usage = step.completion.usage if step.completion else None
    return usage.input_tokens + usage.output_tokens if usage else 0
