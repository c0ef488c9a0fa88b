"""The tasks of a session as a tree in plain lines: each with its steps, their commands, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agentrunner.render.common import compact_json, money, one_line, tokens_text
from agentrunner.render.tasks import Made, Task, TaskList, Work
from agentrunner.types import Event

MAX_TEXT = 160
"""Characters of a thought, an argument or a result: two rows of a terminal."""


def task_tree(events: Sequence[Event]) -> list[str]:
    """The lines; none for a session without a list of tasks."""
    listed = TaskList()
    for event in events:
        listed.absorb(event)
    if not listed.tasks:
        return []
    lines = [f"criterion {n} {'met' if one.met else 'open'}: {one.text}" for n, one in enumerate(listed.criteria, 1)]
    for task in sorted(listed.tasks.values(), key=lambda task: task.number):
        lines += _branch_of_tree(task, listed)
    own = listed.work.get("", Work())
    lines.append(f"the list itself · {_sums([own])}")
    lines += [f"├─ {line}" for made in _steps(own) for line in made[:1]]
    return lines


def _branch_of_tree(task: Task, listed: TaskList) -> Iterator[str]:
    tries = listed.work_of(task)
    needs = f" · needs {', '.join(task.depends_on)}" if task.depends_on else ""
    yield f"{task.id} {task.word} · {_sums([work for _, work in tries])}{needs}"
    yield f"│  {task.title}"
    for number, (_, work) in enumerate(tries, 1):
        inner = "├─ "
        if len(tries) > 1:
            yield f"├─ try {number} · {_sums([work])}"
            inner = "│  ├─ "
        for made in _steps(work):
            yield f"{inner}{made[0]}"
            yield from (f"{inner.replace('├─', '│ ')}{line}" for line in made[1:])
    told = "result" if task.result else "why"
    yield f"└─ {told}: {task.outcome or 'nothing yet'}"


def _steps(work: Work) -> Iterator[list[str]]:
    """The lines of each step: its head, then its commands."""
    for number, made in work.steps.items():
        said = f": {one_line(made.thought, MAX_TEXT)}" if made.thought else ""
        yield [f"step {number} {made.label} · {money(made.cost_usd)}{said}", *_commands(made)]


def _commands(made: Made) -> Iterator[str]:
    for call in made.calls.values():
        shown = {key: value for key, value in call.arguments.items() if (call.name, key) != ("finish", "answer")}
        yield f"{call.name} {one_line(compact_json(shown), MAX_TEXT)}"
        said = one_line(call.content, MAX_TEXT)
        yield f"  {said}" if call.outcome and said.startswith(call.outcome) else f"  {call.outcome or '?'}: {said}"


def _sums(works: Sequence[Work]) -> str:
    steps = sum(len(work.steps) for work in works)
    cost, tokens = sum(work.cost_usd for work in works), sum(work.tokens for work in works)
    return f"{steps} step{'' if steps == 1 else 's'} · {money(cost)} · {tokens_text(tokens)}"
