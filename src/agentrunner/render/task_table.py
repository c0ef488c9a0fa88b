"""The task list as a table for a terminal, and the running tasks' last steps below it. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from agentrunner.render.blocks import arguments_line
from agentrunner.render.common import money
from agentrunner.render.layout import Trimmed
from agentrunner.render.progress import Call
from agentrunner.render.tasks import Task, TaskList, Work

MARKS = {"open": ("○", "dim"), "running": ("▸", "cyan"), "done": ("✓", "green"), "set_aside": ("⊘", "yellow")}
WIDE, MIDDLE = 72, 56
"""Columns from which results have a column of their own, and from which statuses are words."""
STEPS_SHOWN = 3
"""Of each running task: what it does now, and what led there."""


def task_table(tasks: Sequence[Task], width: int) -> RenderableType:
    """One line for each task. In a narrow window a result takes the place of the title that it answers."""
    two = width >= WIDE and any(task.outcome for task in tasks)
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True, padding=(0, 1, 0, 0))
    table.add_column("id", no_wrap=True)
    table.add_column("status" if width >= MIDDLE else "", no_wrap=True)
    table.add_column("prio" if width >= MIDDLE else "#", no_wrap=True, justify="right")
    table.add_column("needs", no_wrap=True, overflow="ellipsis", max_width=max(5, width // 8))
    table.add_column("task" if width >= WIDE else "task or result", no_wrap=True, overflow="ellipsis", ratio=1)
    if two:
        table.add_column("result", no_wrap=True, overflow="ellipsis", ratio=1)
    for task in tasks:
        mark, style = MARKS.get(task.status, ("?", "bold yellow"))
        status = Text(f"{mark} {task.word}" if width >= MIDDLE else mark, style=style)
        cells = [Text(task.id), status, Text(str(task.priority or "")), Text(" ".join(task.depends_on), style="dim")]
        title = Text(task.title, style="bold" if task.status == "running" else "")
        result = Text(task.outcome, style="dim")
        cells += [title, result] if two else [result if task.outcome else title]
        table.add_row(*cells)
    return table


def live_lines(console: Console, listed: TaskList, max_lines: int) -> list[Text]:
    """The table and the steps below it, at most so many lines. What is over gives way first."""
    steps = [line for task in listed.running() for line in _steps(task, listed)]
    tasks = listed.in_order()
    room = max(1, max_lines - 2)  # the heading, and the line that says what is left out
    steps = steps[-max(0, room - min(len(tasks), room // 2 + 1)) :] if len(steps) + len(tasks) > room else steps
    shown = tasks[: room - len(steps)]
    lines = as_lines(console, task_table(shown, console.width - 1))
    if len(shown) < len(tasks):
        lines.append(Text(f"… {len(tasks) - len(shown)} more tasks", style="dim"))
    return [*lines, *steps]


def as_lines(console: Console, renderable: RenderableType) -> list[Text]:
    options = console.options.update(width=max(1, console.width - 1))
    rows = console.render_lines(Trimmed(renderable), options, pad=False)
    lines = [Text.assemble(*((part.text, part.style or "") for part in row), no_wrap=True) for row in rows]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    return lines


def _steps(task: Task, listed: TaskList) -> list[Text]:
    work = listed.work.get(task.branch)
    return [] if work is None else _last_steps(task.id, work)


def _last_steps(name: str, work: Work) -> list[Text]:
    lines: list[Text] = []
    for step, made in list(work.steps.items())[-STEPS_SHOWN:]:
        line = Text("  ").append(f"{name} ", style="cyan").append(f"step {step}", style="dim")
        for called in made.calls.values():
            mark, style = {"": ("▸", "cyan"), "ok": ("✓", "green")}.get(called.outcome, ("✗", "red"))
            line.append(f" {mark} ", style=style).append(called.name)
            line.append(f" {arguments_line(Call(called.name, called.arguments))}", style="dim")
        if not made.calls:
            line.append(f" {made.label} {money(made.cost_usd)}", style="dim")
        lines.append(line)
    return lines
