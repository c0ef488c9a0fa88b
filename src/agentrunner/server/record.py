"""What a run has come to so far: its steps and messages, and which of its objects are to be stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentrunner.server.deltas import usage_of
from agentrunner.server.ids import derived_id
from agentrunner.server.storage.tables import public
from agentrunner.server.wire.parts import copied, list_in
from agentrunner.server.wire.runs import new_step, shown_step
from agentrunner.types import JSON

Emitted = list[tuple[str, JSON]]
"""What happened, in its order: names of events and their data."""


@dataclass
class Record:
    """`run` is changed in place."""

    run: JSON
    steps: dict[str, JSON] = field(default_factory=dict[str, JSON])
    messages: dict[str, JSON] = field(default_factory=dict[str, JSON])
    changed: dict[str, str] = field(default_factory=dict[str, str])
    """Kind of object by id."""
    at: int = 0
    """The time of what happens now, in seconds."""

    def of(self, kind: str, id_: str) -> JSON:
        """A step or a message."""
        return self.steps[id_] if kind == "step" else self.messages[id_]

    def told(self, name: str, kind: str, data: JSON) -> tuple[str, JSON]:
        self.changed[data["id"]] = kind
        shown = shown_step(data, list_in(self.run, "_include")) if kind == "step" else data
        return name, copied(public(shown))

    def begin_step(self, key: str, part: str, details: JSON) -> tuple[JSON, Emitted]:
        """A step whose id follows from the journal key of the answer that it comes of."""
        step = new_step(derived_id("step", self.run["id"], key, part), self.at, self.run, details)
        self.steps[step["id"]] = step
        told = [self.told(f"thread.run.step.{what}", "step", step) for what in ("created", "in_progress")]
        return step, told

    def complete_step(self, step: JSON, usage: JSON) -> Emitted:
        step |= {"status": "completed", "completed_at": self.at, "usage": usage or usage_of({})}
        return [self.told("thread.run.step.completed", "step", step)]

    def break_off_steps(self, status: str, error: JSON | None) -> Emitted:
        emitted: Emitted = []
        for step in self.steps.values():
            if step["status"] == "in_progress":
                step |= {"status": status, f"{status}_at": self.at, "last_error": error}
                emitted.append(self.told(f"thread.run.step.{status}", "step", step))
        return emitted
