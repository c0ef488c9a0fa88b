"""The task list of a session as its events tell it, with the steps that were made for each task. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentrunner.render.common import listing, mapping, one_line
from agentrunner.types import Event

LIST, RECALL = "tasks", "recall"
"""Tools that a strategy calls itself: to hand over rows of its list, and to look up earlier results."""
MAX_TITLE, MAX_RESULT = 200, 200
_BRANCH = re.compile(r"/?([^/]+?)(-\d+)?(/.*)?")


def is_own(event: Event) -> bool:
    """Whether an event is about a strategy's own call for its list, not about a command of the model."""
    own = event.data.get("name") in (LIST, RECALL) and event.type in ("tool.started", "tool.finished")
    return own and event.key.rpartition("/")[2].startswith("act:")


class Task(NamedTuple):
    """One row, its text cleaned and on one line each."""

    id: str
    title: str
    status: str
    priority: int
    """Rank among the tasks that are not over, 1 is next; 0 when it is over."""
    depends_on: tuple[str, ...]
    tries: int
    branch: str
    result: str
    reason: str
    merged: int

    @property
    def number(self) -> tuple[int, str]:
        """To sort by the order in which tasks came."""
        digits = re.sub(r"\D", "", self.id)
        return int(digits[:9]) if digits else 0, self.id

    @property
    def word(self) -> str:
        return self.status.replace("_", " ")

    @property
    def outcome(self) -> str:
        """Its result, or why there is none."""
        return self.result or self.reason


class Criterion(NamedTuple):
    text: str
    met: bool


@dataclass
class Work:
    """What was done in one branch, or in none (the list itself: its criteria, new tasks, the order)."""

    steps: dict[int, Made] = field(default_factory=dict[int, "Made"])
    cost_usd: float = 0.0
    tokens: int = 0


@dataclass
class Made:
    """One step: why the model was asked, what it thought, and its calls with their outcomes ("" while they run)."""

    label: str
    thought: str
    cost_usd: float
    calls: dict[str, Called] = field(default_factory=dict[str, "Called"])


class Called(NamedTuple):
    name: str
    arguments: Mapping[str, Any]
    outcome: str = ""
    content: str = ""


@dataclass
class TaskList:
    """Follows the events of a session; empty for a strategy that has no list."""

    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    criteria: list[Criterion] = field(default_factory=list[Criterion])
    work: dict[str, Work] = field(default_factory=dict[str, Work])
    """By branch without its slash; "" is the session itself."""
    changes: int = 0
    """Grows whenever there is something else to show."""

    def absorb(self, event: Event) -> list[str]:
        """Take in one event; what changed in the list, one line each."""
        data = event.data
        if is_own(event):
            keeps = event.type == "tool.started" and data.get("name") == LIST
            return self._listed(mapping(data.get("arguments"))) if keeps else []
        if event.type == "completion.received" and data.get("step") is not None:
            self._received(data)
        elif event.type == "tool.finished":
            self._finished(data)
        self.changes += 1
        return []

    def in_order(self) -> list[Task]:
        """What comes next first, then what is over."""
        return sorted(self.tasks.values(), key=lambda task: (task.priority < 1, task.priority, task.number))

    def running(self) -> list[Task]:
        return [task for task in self.in_order() if task.status == "running"]

    def work_of(self, task: Task) -> list[tuple[str, Work]]:
        """The branches of its tries."""
        return [(branch, work) for branch, work in self.work.items() if _owner(branch) == task.id]

    def _listed(self, arguments: Mapping[str, Any]) -> list[str]:
        self.changes += 1
        lines: list[str] = []
        for row in map(mapping, listing(arguments.get("tasks"))):
            task = _task(row)
            lines += _news(self.tasks.get(task.id), task)
            self.tasks[task.id] = task
        before = self.criteria
        if criteria := [mapping(one) for one in listing(arguments.get("criteria"))]:
            self.criteria = [
                Criterion(one_line(one.get("text"), MAX_TITLE), one.get("met") is True) for one in criteria
            ]
            lines = [*_criteria_news(before, self.criteria), *lines]
        return lines

    def _received(self, data: Mapping[str, Any]) -> None:
        work = self.work.setdefault(branch_of(data), Work())
        usage = mapping(data.get("usage"))
        cost = float(data.get("cost_usd") or 0.0)
        work.cost_usd += cost
        work.tokens += int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
        thought = mapping(data.get("thoughts")).get("text") or ""
        made = Made(one_line(data.get("label"), 40), one_line(thought, MAX_RESULT), cost)
        for call in map(mapping, listing(data.get("tool_calls"))):
            made.calls[str(call.get("id"))] = Called(one_line(call.get("name"), 60), mapping(call.get("arguments")))
        work.steps[int(data["step"])] = made

    def _finished(self, data: Mapping[str, Any]) -> None:
        work = self.work.get(branch_of(data))
        made = work.steps.get(int(data.get("step") or 0)) if work else None
        call = made.calls.get(str(data.get("call_id"))) if made else None
        if made and call:
            told = one_line(data.get("content"), MAX_RESULT)
            made.calls[str(data.get("call_id"))] = call._replace(
                outcome=one_line(data.get("outcome"), 20), content=told
            )


def _task(row: Mapping[str, Any]) -> Task:
    priority, tries = row.get("priority"), row.get("tries")
    return Task(
        id=one_line(row.get("id"), 20),
        title=one_line(row.get("title"), MAX_TITLE),
        status=one_line(row.get("status"), 20),
        priority=priority if isinstance(priority, int) else 0,
        depends_on=tuple(one_line(other, 20) for other in listing(row.get("depends_on"))),
        tries=tries if isinstance(tries, int) else 0,
        branch=str(row.get("branch") or "").strip("/"),
        result=one_line(row.get("result") or "", MAX_RESULT),
        reason=one_line(row.get("reason") or "", MAX_RESULT),
        merged=len(listing(row.get("merged"))),
    )


def _news(before: Task | None, now: Task) -> list[str]:
    if before is None:
        needs = f" (needs {', '.join(now.depends_on)})" if now.depends_on else ""
        lines = [f"task {now.id} new: {now.title}{needs}"]
        before = now._replace(status="open", result="", reason="")
    else:
        lines = [f"task {now.id} takes in another that means the same"] if now.merged > before.merged else []
    if now.status == before.status and now.reason == before.reason:
        return lines
    if now.status == "open" and now.reason:
        return [*lines, f"task {now.id} failed, to be tried again: {now.reason}"]
    if now.status == "running":
        again = f", try {now.tries}" if now.tries > 1 else ""
        return [*lines, f"task {now.id} begins{again}: {now.title}"]
    return [*lines, f"task {now.id} {now.word}{f': {now.outcome}' if now.outcome else ''}"]


def _criteria_news(before: list[Criterion], now: list[Criterion]) -> list[str]:
    if [one.text for one in before] != [one.text for one in now]:
        return [f"criterion {number}: {one.text}" for number, one in enumerate(now, 1)]
    changed = [(number, one) for number, one in enumerate(now, 1) if one.met != before[number - 1].met]
    return [f"criterion {number} {'met' if one.met else 'no longer met'}: {one.text}" for number, one in changed]


def branch_of(data: Mapping[str, Any]) -> str:
    """The branch of an event without its slashes; "" is the session itself."""
    return str(data.get("branch") or "").strip("/")


def _owner(branch: str) -> str:
    """The task of a branch: "t3" of "t3", of its second try "t3-2", and of what runs within them."""
    found = _BRANCH.fullmatch(branch)
    return one_line(found[1], 20) if found else ""
