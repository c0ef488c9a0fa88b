"""Making room in a conversation: old tool results become one-line stubs, then the oldest steps one summary.

Nothing is lost by it: whole results stay readable with `read_file`, and the journal keeps every message.
"""

from collections.abc import Generator
from typing import Any

from agentrunner.strategies.conversation import Conversation
from agentrunner.types import Ask, Message, Op, Session, Step

KEEP_RESULTS = 4
"""Tool results at the end that stay as long as there is another way: what the model is working with."""
WORTH_IT = 0.9
"""Part of the size that compacting must get below to have been of use."""
KEEP_MESSAGES = 6
"""Messages at the end that are never folded, about two steps."""
TARGET_SHARE = 0.5
"""Part of the size that may remain: compacting to just under the limit would compact again at the next step."""
SUMMARY_BYTES = 48_000
"""How much of the folded past the summary is made from; about 12,000 tokens."""
BYTES_PER_TOKEN = 3
"""A low guess for endpoints that report no usage: guessing too many tokens compacts too early, never too late."""


def crowded(session: Session, talk: Conversation, step: Step) -> bool:
    """Whether the next request would pass the share of the context window that the session may fill."""
    usage = step.completion.usage if step.completion else None
    if usage is not None:
        return usage.input_tokens + usage.output_tokens > session.context_tokens
    return size_bytes(talk) / BYTES_PER_TOKEN > session.context_tokens


def compact(session: Session, talk: Conversation) -> Generator[Op, Any, bool]:
    """Shrink the conversation to about half. Returns whether that made a difference worth another request."""
    before = size_bytes(talk)
    target = before * TARGET_SHARE
    stub_results(talk, target, KEEP_RESULTS)
    if size_bytes(talk) > target:
        yield from summarise(session, talk)
    if size_bytes(talk) > target:
        stub_results(talk, target, 1)
    talk.folded()
    return size_bytes(talk) < before * WORTH_IT


def size_bytes(talk: Conversation) -> int:
    return sum(_bytes(message) for message in talk.messages)


def stub_results(talk: Conversation, target: float, keep: int) -> None:
    """Replace the oldest saved tool results by how to read them again, until the target is met or `keep` are left."""
    results = [i for i, m in enumerate(talk.messages) if m.role == "tool"]
    size = size_bytes(talk)
    for index in results[:-keep]:
        if size <= target:
            return
        message = talk.messages[index]
        if message.saved_as:
            stub = f"[old result of {message.name} left out; read_file path={message.saved_as!r} shows it again]"
            size -= len(message.content) - len(stub)
            talk.stub(index, stub)


def summarise(session: Session, talk: Conversation) -> Generator[Op, Any, None]:
    """Fold the oldest steps into one message that a model wrote; without an answer they are folded to a bare note."""
    last = _step_boundary(talk)
    if last <= talk.head:  # Nothing is there to fold, or only an earlier summary.
        return
    past = "\n\n".join(_plain(m) for m in talk.messages[talk.head : last + 1])
    if len(past) > SUMMARY_BYTES:
        past = past[: SUMMARY_BYTES // 3] + "\n[...]\n" + past[-2 * SUMMARY_BYTES // 3 :]
    request = Conversation(Message("user", session.render("compact", goal=session.goal, past=past)))
    step: Step = yield Ask("compact", request)
    text = step.completion.text if step.completion and not step.error else ""
    talk.fold(talk.head, last, session.render("compacted", summary=text or "(no summary could be made)"))


def _step_boundary(talk: Conversation) -> int:
    """The last message that may be folded: a step's answer and its results stay together."""
    last = len(talk.messages) - KEEP_MESSAGES - 1
    while last >= talk.head and talk.messages[last + 1].role == "tool":
        last -= 1
    return last


def _bytes(message: Message) -> int:
    return len(message.content) + (len(str(message.raw)) if message.raw else 0)


def _plain(message: Message) -> str:
    if message.role == "assistant":
        calls: list[Any] = (message.raw or {}).get("tool_calls") or []
        commands = "; ".join(f"{c['function']['name']}({c['function']['arguments']})" for c in calls)
        return f"agent: {message.content} {commands}".strip()
    return f"{message.name or message.role}: {message.content}"
