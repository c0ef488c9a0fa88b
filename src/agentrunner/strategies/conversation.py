"""A conversation with a model: append, stub, fold. It knows no wire format and decides nothing about when to compact.

Between folds it only grows, so a provider's prompt cache keeps the prefix. Its digest is kept up message by message.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

from agentrunner.types import JSON, Message, Step

_ids = itertools.count(1)


class Conversation:
    """Starts with `messages` (usually one "system" and one "user"), which are never stubbed or folded: the head."""

    def __init__(self, *messages: Message) -> None:
        self.id = f"c{next(_ids)}"
        self.epoch = 0
        self._messages: list[Message] = []
        self._changes: list[JSON] = []
        self._hash = hashlib.sha256()
        for message in messages:
            self.append(message)
        self.head = len(messages)

    @property
    def messages(self) -> Sequence[Message]:
        return self._messages

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def append(self, message: Message) -> None:
        self._messages.append(message)
        self._hash.update(_canonical(message))
        self._changes.append({"add": _change(message)})

    def say(self, text: str) -> None:
        """Put words of ours, or of a person, before the model."""
        self.append(Message("user", text))

    def add(self, step: Step) -> None:
        """Append what came of a request: the answer, a result for each of its calls, what has to be said about it.

        An answer that was cut at its length goes in without its calls: they may be incomplete.
        """
        answer = step.completion
        if answer is not None and (answer.text or answer.calls or answer.problem):
            if step.error is not None and answer.calls:
                text = answer.text or "(cut off)"
                self.append(Message("assistant", text, raw={"role": "assistant", "content": text}))
            else:
                self.append(Message("assistant", answer.text, raw=answer.message, ref=step.key))
        for position, result in enumerate(step.results):
            self.append(
                Message(
                    "tool",
                    result.content,
                    call_id=result.call_id,
                    name=result.name,
                    ref=f"{tool_key(step.key)}:{position}",
                    saved_as=result.saved_as,
                )
            )
        if step.error is not None and step.error.kind != "overflow":
            self.say(step.error.text)
        for notice in step.notices:
            if not (notice.fold and self._fold_steps(notice.fold, notice.text)):
                self.say(notice.text)

    def stub(self, index: int, text: str) -> None:
        """Replace the content of one tool result. Call `folded` when done with all of them."""
        old = self._messages[index]
        self._messages[index] = Message(old.role, text, call_id=old.call_id, name=old.name)
        self._changes.append({"stub": [index, text]})

    def fold(self, first: int, last: int, text: str) -> None:
        """Replace messages `first` to `last` (inclusive) by one of ours. Call `folded` when done."""
        self._messages[first : last + 1] = [Message("user", text)]
        self._changes.append({"fold": [first, last, text]})

    def _fold_steps(self, keys: Sequence[str], text: str) -> bool:
        """Replace the last steps, from the first of these on, by `text`. False when they are not there any more."""
        wanted = set(keys)
        places = [
            i for i, m in enumerate(self._messages) if i >= self.head and m.role == "assistant" and m.ref in wanted
        ]
        if not places:
            return False
        self.fold(places[0], len(self._messages) - 1, text)
        self.folded()
        return True

    def folded(self) -> None:
        """Begin a new epoch: readers encode everything again."""
        self.epoch += 1
        self._hash = hashlib.sha256()
        for message in self._messages:
            self._hash.update(_canonical(message))

    def drain(self) -> list[JSON]:
        changes, self._changes = self._changes, []
        return changes


def tool_key(step_key: str) -> str:
    """The journal key under which the tools of a step stand: "/llm:7" -> "/tool:7"."""
    branch, _, ordinal = step_key.rpartition("/llm:")
    return f"{branch}/tool:{ordinal}"


def _canonical(message: Message) -> bytes:
    parts: list[Any] = [message.role, message.content, message.raw, message.call_id, message.name]
    if message.images:
        parts.append([image.noted() for image in message.images])
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()


def _change(message: Message) -> JSON:
    if message.ref:
        return {"ref": message.ref}
    plain: JSON = {"role": message.role, "content": message.content}
    if message.raw is not None:
        plain["raw"] = message.raw
    if message.images:
        plain["images"] = [image.noted() for image in message.images]
    return plain
