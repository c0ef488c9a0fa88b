"""Asking for an answer that is JSON of a schema. One that is not is mended by the model itself, a bounded number of
times; nothing is guessed from words."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from agentrunner.strategies.conversation import Conversation
from agentrunner.strategies.share import Spent
from agentrunner.types import JSON, Ask, Label, Message, Notice, Op, Step

MAX_REPAIRS = 2
"""Each is a paid request; an answer that is still not of its form after them is done without."""


@dataclass(slots=True)
class Asides:
    """Requests without tools: what they used, and what the guard and people said at them."""

    spent: Spent = field(default_factory=Spent)
    notices: list[Notice] = field(default_factory=list[Notice])

    def ask(
        self, label: Label, prompt: str, schema: JSON | None = None, progress: str = ""
    ) -> Generator[Op, Any, tuple[Any, str]]:
        """The value and the text of the answer; None and "" when it could not be read. See `Ask` for `progress`."""
        talk = Conversation(Message("user", prompt))
        step: Step = yield Ask(label, talk, schema=schema, progress=progress)
        for _ in range(MAX_REPAIRS):
            self._take(step)
            if step.error is None or step.error.kind == "overflow":
                break
            talk.add(step)
            step = yield Ask("repair", talk, schema=schema, progress="")
        else:
            self._take(step)
        if step.error is not None or step.completion is None:
            return None, ""
        return step.value, step.completion.text.strip()

    def _take(self, step: Step) -> None:
        self.spent.add(step)
        self.notices += step.notices


def closed(**properties: JSON) -> JSON:
    """The schema of an object with just these fields: the form that strict structured output demands."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def listed(items: JSON) -> JSON:
    return {"type": "array", "items": items}
