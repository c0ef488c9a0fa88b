"""What is known of a session at a point of its events: limits, spending, the plan, calls under way. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentrunner.render.common import listing, mapping, safe
from agentrunner.render.tasks import TaskList, branch_of
from agentrunner.types import Event

DONE_MARKS = ("[x]", "[X]", "done:", "Done:", "DONE:", "✓", "✔", "✅")
"""How models mark an item of a plan as done."""


class PlanItem(NamedTuple):
    text: str
    done: bool


@dataclass
class Plan:
    """A plan as a checklist. The model only lists what it intends, so what is done is told from its own words: an item
    that it marks, or an item that it drops while everything that stays was planned before. A plan with new items is a
    new plan: what it leaves out may have been given up, and is not shown as done."""

    items: tuple[PlanItem, ...] = ()

    def update(self, texts: list[str]) -> bool:
        """Take over a plan; whether anything about it changed. An empty plan changes nothing."""
        new = [_plan_item(text) for text in texts if text.strip()]
        if not new:
            return False
        before = self.items
        known = {item.text for item in before}
        texts_now = {item.text for item in new}
        done = [item for item in before if item.done and item.text not in texts_now]
        if texts_now <= known:
            done = [PlanItem(item.text, True) for item in before if item.text not in texts_now]
        self.items = (*done, *new)
        return self.items != before


def _plan_item(text: str) -> PlanItem:
    text = " ".join(text.split())
    bare = text.removeprefix("- ").removeprefix("[ ]").strip()
    for mark in DONE_MARKS:
        if bare.startswith(mark) and bare != mark:
            return PlanItem(bare.removeprefix(mark).strip(), True)
    return PlanItem(bare or text, False)


class PlanNews(NamedTuple):
    """What a completion does to the plan. `reply` says, when a change was asked for, whether it came; else None."""

    shown_differently: bool
    reply: bool | None


class Call(NamedTuple):
    """A tool call as the model made it. `name` and `arguments` are foreign text, not cleaned yet."""

    name: str
    arguments: Mapping[str, Any]


@dataclass
class Progress:
    """Follows the events of one session. All text in it is as it came: whoever shows it cleans it."""

    session_id: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The data of `session.created`."""
    budget: dict[str, Any] = field(default_factory=dict[str, Any])
    step: int = 0
    spent_usd: float = 0.0
    tokens: int = 0
    seconds_before: float = 0.0
    """Working time of earlier attempts."""
    plan: Plan = field(default_factory=Plan)
    """Of the branch that answered last."""
    plans: dict[str, Plan] = field(default_factory=dict[str, Plan])
    """By branch."""
    plan_due: set[str] = field(default_factory=set[str])
    """Branches whose last step asked for another plan: by its criticism, by the guard, or by an answer not accepted."""
    calls: dict[str, Call] = field(default_factory=dict[str, Call])
    """Calls that have no result yet, by id."""
    tasks: TaskList = field(default_factory=TaskList)
    task_news: list[str] = field(default_factory=list[str])
    """What the last event changed in the list of tasks."""

    def absorb(self, event: Event) -> None:
        """Take in one event. Types that change nothing here are ignored."""
        data = event.data
        self.task_news = self.tasks.absorb(event)
        self.session_id = event.session_id
        if event.type == "session.created":
            self.facts = data
            self.budget = dict(mapping(data.get("budget")))
        elif event.type == "request.sent":
            self.step = max(self.step, data.get("step") or 0)
        elif event.type == "completion.received":
            self._absorb_completion(data)
        elif event.type == "tool.started":
            self.calls[str(data.get("call_id"))] = Call(str(data.get("name")), mapping(data.get("arguments")))
        elif event.type == "tool.finished":
            self.calls.pop(str(data.get("call_id")), None)
            if data.get("name") == "finish" and data.get("outcome") != "ok":
                self.plan_due.add(branch_of(data))
        elif event.type == "guard.verdict":
            if data.get("action") == "replan":
                self.plan_due.add(branch_of(data))
        elif event.type == "budget.raised":
            # What is added; a limit that is none stays none.
            self.budget = {
                key: limit if limit is None else limit + (data.get(key) or 0) for key, limit in self.budget.items()
            }
        elif event.type == "session.finished":
            self.seconds_before = float(data.get("seconds") or 0.0)

    def _absorb_completion(self, data: Mapping[str, Any]) -> None:
        self.step = max(self.step, data.get("step") or 0)
        self.spent_usd = float(data.get("spent_usd") or self.spent_usd)
        usage = mapping(data.get("usage"))
        self.tokens += int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
        for call in map(mapping, listing(data.get("tool_calls"))):
            self.calls[str(call.get("id"))] = Call(str(call.get("name")), mapping(call.get("arguments")))

    def take_plan(self, data: Mapping[str, Any]) -> PlanNews:
        """Take over the plan of a completion."""
        thoughts, branch = mapping(data.get("thoughts")), branch_of(data)
        reply = data.get("plan_changed") if branch in self.plan_due else None
        self.plan_due.discard(branch)
        if thoughts.get("revise"):
            self.plan_due.add(branch)
        self.plan = self.plans.setdefault(branch, Plan())
        return PlanNews(self.plan.update([safe(item) for item in listing(thoughts.get("plan"))]), reply)
