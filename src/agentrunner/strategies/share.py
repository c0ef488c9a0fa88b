"""The think-act loop on one task, for as long as the task's share of the session's budget lasts."""

from dataclasses import dataclass, field
from typing import Any

from agentrunner.strategies.autogpt import work
from agentrunner.strategies.conversation import Conversation, tool_key
from agentrunner.types import Answer, Ask, Budget, Session, Step, Strategy

ROUND_SHARE = 0.5
"""Of what is left, for the tasks of one round: however they go, as much again is there for what follows."""
MIN_STEPS = 4
"""That a task has in any case, to look, do, check and finish; the session's own limits hold all the same."""
MAX_EVIDENCE = 12
"""Commands that are named as evidence of a result: the last ones."""


@dataclass(slots=True)
class Spent:
    """What requests used, counted by the strategy: it depends on nothing but their answers."""

    steps: int = 0
    usd: float = 0.0
    tokens: int = 0

    def add(self, step: Step) -> None:
        self.steps += step.completion is not None
        self.usd += step.cost_usd
        usage = step.completion.usage if step.completion else None
        self.tokens += usage.input_tokens + usage.output_tokens if usage else 0

    def merge(self, other: "Spent") -> None:
        self.steps += other.steps
        self.usd += other.usd
        self.tokens += other.tokens


@dataclass(frozen=True, slots=True)
class Share:
    """None where the session has no limit."""

    steps: int | None
    usd: float | None
    tokens: int | None

    def passed(self, spent: Spent) -> str:
        """What is used up, empty while there is something left."""
        if spent.steps < MIN_STEPS:
            return ""
        if self.steps is not None and spent.steps >= self.steps:
            return f"{self.steps} steps"
        if self.usd is not None and spent.usd >= self.usd:
            return f"${self.usd:.4f}"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"{self.tokens:,} tokens"
        return ""


def share_of(budget: Budget, spent: Spent, tasks: int) -> Share:
    """What each of so many tasks may use of what is left."""
    part = ROUND_SHARE / tasks
    return Share(
        None if budget.steps is None else max(MIN_STEPS, int((budget.steps - spent.steps) * part)),
        None if budget.usd is None else max(0.0, budget.usd - spent.usd) * part,
        None if budget.tokens is None else int(max(0, budget.tokens - spent.tokens) * part),
    )


@dataclass(slots=True)
class Attempt:
    """One try at a task. What came of it can be read when `run` has returned."""

    session: Session
    talk: Conversation
    share: Share
    spent: Spent = field(default_factory=Spent)
    answer: Answer = field(default_factory=lambda: Answer("", outcome="gave_up"))
    evidence: list[str] = field(default_factory=list[str])
    """Keys and names of the commands that went well."""
    words: list[str] = field(default_factory=list[str])
    """What people said meanwhile."""

    def run(self) -> Strategy:
        self.answer = yield from self._within()
        return self.answer

    def _within(self) -> Strategy:
        loop = work(self.session, self.talk, "execute")
        reply: Any = None
        while True:
            try:
                op = loop.send(reply)
            except StopIteration as end:
                return end.value
            if isinstance(op, Ask):
                if passed := self.share.passed(self.spent):
                    loop.close()
                    return Answer("", outcome="gave_up", reason=f"it used its share of the budget, {passed}")
                if op.conversation is self.talk and self.share.steps == self.spent.steps + 1:
                    self.talk.say(self.session.render("last_step"))
            reply = yield op
            if isinstance(reply, Step):
                self.spent.add(reply)
                self._note(reply)

    def _note(self, step: Step) -> None:
        self.words += [notice.text for notice in step.notices if notice.kind == "message"]
        for position, result in enumerate(step.results):
            if result.outcome == "ok" and result.name != "finish":
                self.evidence.append(f"{tool_key(step.key)}:{position} {result.name}")
        del self.evidence[:-MAX_EVIDENCE]
