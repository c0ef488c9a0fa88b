"""The list of tasks on every screen: as a table that updates, as lines, as a tree, in the report."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sample_events import Recorder, call, created, session_events
from task_events import Lists, hostile_tasks, row, task_events
from test_terminal import HOSTILE, Window, console_of, is_harmless, live_screen, shown, window  # noqa: F401
from test_text_outputs import plain

from agentrunner.render.report import html_report
from agentrunner.render.task_table import live_lines
from agentrunner.render.task_tree import task_tree
from agentrunner.render.tasks import TaskList
from agentrunner.render.terminal import TerminalScreen


def followed(until: str = "") -> TaskList:
    listed = TaskList()
    for event in task_events(until):
        listed.absorb(event)
    return listed


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_no_line_of_the_list_is_wider_than_the_window(width: int) -> None:
    for line in shown(task_events(), console_of(width), io.StringIO()).split("\n"):
        assert len(line) <= width


def test_the_table_shows_what_comes_next_before_what_is_over() -> None:
    lines = [line.plain for line in live_lines(console_of(80), followed("failed"), 20)]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["t2", "○", "open", "1"],
        ["t3", "○", "open", "3"],
        ["t1", "✓", "done", "Find"],
    ]
    assert "t1 t2 Write report.md" in lines[2]
    assert "the task used up its share" in lines[1]


def test_the_steps_of_the_running_tasks_stand_below_the_table() -> None:
    lines = [line.plain for line in live_lines(console_of(80), followed("running"), 20)]
    assert [line.split()[:4] for line in lines[-2:]] == [["t1", "step", "3", "✓"], ["t2", "step", "4", "▸"]]


@pytest.mark.parametrize("height", [5, 8, 40])
def test_a_long_list_leaves_room_and_says_what_it_leaves_out(height: int) -> None:
    listed = Lists()
    listed.rows(*(row(f"t{number}", f"task {number}", priority=number) for number in range(1, 31)))
    listed.rows(row("t1", "task 1", "running", priority=1, branch="/t1"))
    listed.ask(1, None, [call("c1", "shell", command="sleep 9")], branch="/t1", label="execute")
    seen = TaskList()
    for event in listed.events:
        seen.absorb(event)
    lines = [line.plain for line in live_lines(console_of(80), seen, height)]
    assert len(lines) <= height
    assert any("▸ running" in line for line in lines)
    tasks = sum(line.startswith("t") for line in lines)
    assert (f"… {30 - tasks} more tasks" in lines) == (tasks < 30)


def test_each_change_of_the_list_is_one_plain_line() -> None:
    lines = plain(task_events())[0].splitlines()
    assert "task t3 new: Write report.md with a citation for each statement (needs t1, t2)" in lines
    assert "task t1 done: The wall (sea-wall.md, lines 3-4) and the dunes." in lines
    assert "task t2 failed, to be tried again: the task used up its share of the budget" in lines
    assert "task t2 set aside: failed twice: no source names the make" in lines
    assert "criterion 2 met: each statement in it names file and line" in lines
    assert not any("recall" in line or "tasks started" in line for line in lines)


def test_a_tool_of_the_users_with_the_name_of_the_list_is_a_command_like_any_other() -> None:
    recorder = Recorder()
    created(recorder)
    mine = call("c1", "tasks", tasks=[{"id": "forged", "title": "forged", "status": "done"}])
    recorder.ask(1, None, [mine])
    recorder.run(1, mine, "two tasks are due")
    lines = plain([*recorder.events, session_events()[-1]])[0].splitlines()
    assert "step 1 tasks ok 0.3 s: two tasks are due" in lines
    assert not any("task forged" in line for line in lines)


def test_branches_do_not_tick_off_each_others_plans() -> None:
    assert "✓ sum up" not in shown(task_events(), console_of(80))


def test_the_tree_has_each_task_with_its_tries_its_steps_and_their_cost() -> None:
    lines = task_tree(task_events())
    assert "t1 done · 2 steps · $0.0060 · 13.8k tokens" in lines
    assert "t3 done · 1 step · $0.0030 · 9.6k tokens · needs t1, t2" in lines
    second = lines[lines.index("│  Find out how the pumps fared in the storm of 2013") :]
    assert [line for line in second if "try" in line or "step" in line][:4] == [
        "├─ try 1 · 1 step · $0.0030 · 6.9k tokens",
        "│  ├─ step 4 execute · $0.0030: The pumps are at Mill Basin.",
        "├─ try 2 · 1 step · $0.0030 · 8.7k tokens",
        "│  ├─ step 6 execute · $0.0030",
    ]
    steps = [int(found) for line in lines for found in re.findall(r"─ step (\d+)", line)]
    assert sorted(steps) == [1, 2, 3, 4, 5, 6, 7]


def test_a_session_without_a_list_has_no_tree_and_no_table() -> None:
    assert task_tree(session_events()) == []
    assert "tasks" not in shown(session_events(), console_of(80))


def test_the_report_shows_the_tasks_and_links_their_steps() -> None:
    page = html_report(task_events())
    assert "<h2>Tasks</h2>" in page
    assert '<a href="#step-4">4</a> <a href="#step-6">6</a>' in page
    assert 'id="step-6"' in page
    assert "each statement in it names file and line (met)" in page
    assert "<h2>Tasks</h2>" not in html_report(session_events())


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_the_list_is_harmless_everywhere(text: str) -> None:
    events = hostile_tasks(text)
    assert is_harmless(shown(events, console_of(80), io.StringIO()))
    assert is_harmless(plain(events)[0])
    assert is_harmless("\n".join(task_tree(events)))
    listed = TaskList()
    for event in events[:-4]:
        listed.absorb(event)
    assert is_harmless("\n".join(line.plain for line in live_lines(console_of(80), listed, 20)))
    assert "<script" not in html_report(hostile_tasks("<script>alert(1)</script>"))


def test_a_resumed_session_shows_the_list_as_it_was() -> None:
    console = console_of(80)
    screen = TerminalScreen(console, clock=lambda: 0.0)
    screen.recall(task_events("failed"))
    assert isinstance(console.file, io.StringIO)
    assert re.search(r"t2 ○ open +1 ", console.file.getvalue())


def test_the_list_updates_in_place_while_the_steps_scroll_by(window: Window) -> None:  # noqa: F811
    pyte = pytest.importorskip("pyte")
    display = pyte.Screen(80, 40)
    stream = pyte.Stream(display)
    seen: list[str] = []

    async def run() -> None:
        screen = live_screen(window)
        screen.start()
        for event in task_events()[:-1]:
            screen.on_phase("asking the model")
            screen(event)
            stream.feed(window.written())
            rows = [line for line in display.display if re.match(r"t1 +[○▸✓] ", line)]
            assert len(rows) <= 1
            seen.extend(rows)
        screen.stop()
        stream.feed(window.written())

    asyncio.run(run())
    states = [line.split()[2] for line in seen]
    assert list(dict.fromkeys(states)) == ["open", "running", "done"]
    assert not any(re.match(r"t1 +[○▸✓] ", line) for line in display.display)
