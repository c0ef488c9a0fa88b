"""The terminal screen against stored pictures of it, hostile text, and a pseudo-terminal.

Run this file as a script to store the pictures anew, then review them like code.
"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
from sample_events import Recorder, call, created, hostile_events, session_events, stopped_events, thoughts
from task_events import task_events

from agentrunner.render.answer import answer_markdown, print_answer
from agentrunner.render.layout import Trimmed
from agentrunner.render.screen import choose_screen
from agentrunner.render.terminal import TerminalScreen
from agentrunner.types import Event

SNAPSHOTS = Path(__file__).parent / "snapshots"
SESSIONS = {"finished": session_events, "stopped": stopped_events, "tasks": task_events}

HOSTILE = [
    "a\x1b[31mred\x1b[0m",
    "a\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "a\x1b]52;c;cm0gLXJm\x07",
    "a\x9b31mb\x9d0;title\x9c",
    "a\u202eevil\u2066b\u200fc\u061c",
    "abc\b\b\bxyz\rover\x7f",
    "[red]x[/red] [/] [link=http://evil.example]x[/link] :smile: [bold",
    "a&#x202e;b&#27;c [x](http://evil.example) ![y](http://evil.example/p.png) <http://evil.example>",
    "one\x85two\u2028three\x0bfour\ttab",
    "lone \ud800 surrogate \udfff",
    "tag \U000e0041\U000e0042 zero\u200bwidth\ufeff",
    "",
    "x" * 5000,
]


def console_of(width: int, **more: object) -> Console:
    settings: dict[str, object] = {
        "color_system": None,
        "force_terminal": False,
        "width": width,
        "legacy_windows": False,
    }
    return Console(file=io.StringIO(), markup=False, highlight=False, emoji=False, **(settings | more))  # type: ignore[arg-type]


def shown(events: Sequence[Event], console: Console, stdout: io.StringIO | None = None) -> str:
    """All that a session puts on the screen, the answer in its place."""
    screen = TerminalScreen(console, clock=lambda: 0.0)
    screen.start()
    for event in events:
        screen.on_phase("asking the model")
        screen(event)
    screen.stop()
    screen.show_result(events[-1], console.file if stdout is None else stdout)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", list(SESSIONS))
def test_a_session_looks_as_in_its_stored_picture(name: str, width: int) -> None:
    stored = (SNAPSHOTS / f"{name}-{width}.txt").read_text(encoding="utf-8")
    assert shown(SESSIONS[name](), console_of(width)) == stored


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_is_wider_than_the_window(width: int) -> None:
    for line in shown(session_events(), console_of(width), io.StringIO()).split("\n"):
        assert len(line) <= width


def is_harmless(text: str) -> bool:
    kinds = {unicodedata.category(character) for character in text if character != "\n"}
    return not kinds & {"Cc", "Cs"} and not set(text) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f"
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_reaches_the_terminal_without_its_teeth(text: str) -> None:
    stdout = io.StringIO()
    assert is_harmless(shown(hostile_events(text), console_of(80), stdout))
    assert is_harmless(stdout.getvalue().replace("\t", ""))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_in_colour_there_are_no_sequences_but_the_screens_own_styles(text: str) -> None:
    console = console_of(80, color_system="truecolor", force_terminal=True)
    output = shown(hostile_events(text), console, io.StringIO())
    assert is_harmless(re.sub(r"\x1b\[[0-9;]*m", "", output))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_answer_as_markdown_is_harmless_and_has_no_hyperlinks(text: str) -> None:
    console = console_of(80, color_system="truecolor", force_terminal=True)
    console.print(answer_markdown(text))
    assert isinstance(console.file, io.StringIO)
    assert is_harmless(re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()))


def test_markup_in_foreign_text_is_shown_as_it_stands() -> None:
    assert "[red]x[/red] [/]" in shown(hostile_events(HOSTILE[6]), console_of(120))


def test_line_breaks_of_an_answer_stay_and_a_table_is_laid_out() -> None:
    console = console_of(80)
    console.print(Trimmed(answer_markdown("first\nsecond\n\n| a | b |\n|---|---|\n| 1 | 2 |")), end="")
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().split("\n")
    assert lines[:2] == ["first", "second"]
    assert any("1" in line and "2" in line for line in lines[2:])


def test_a_json_answer_is_printed_as_it_is() -> None:
    stdout = io.StringIO()
    end = session_events()[-1]
    end.data["answer"] = '{"a": "*b*"}'
    print_answer(end, stdout, styled=True)
    assert stdout.getvalue() == '{"a": "*b*"}\n'


def test_a_result_in_another_branch_is_headed_by_its_own_step_and_call() -> None:
    recorder = Recorder()
    created(recorder)
    first, second = call("c1", "shell", command="sleep 1"), call("c2", "shell", command="sleep 2")
    recorder.ask(1, None, [first], branch="t1")
    recorder.ask(2, None, [second], branch="t2")
    recorder.add("tool.started", step=1, branch="t1", call_id="c1", name="shell", arguments=first["arguments"])
    recorder.add("tool.started", step=2, branch="t2", call_id="c2", name="shell", arguments=second["arguments"])
    recorder.add(
        "tool.finished", step=1, branch="t1", call_id="c1", name="shell", outcome="ok", content="done", seconds=1
    )
    recorder.add(
        "tool.finished", step=2, branch="t2", call_id="c2", name="shell", outcome="ok", content="done", seconds=2
    )
    text = shown([*recorder.events, session_events()[-1]], console_of(80))
    assert re.findall(r"step (\d)/50 · t\d", text) == ["1", "2", "1", "2", "1", "2"]
    assert text.count("✓ shell 1.0 s  done") == 1
    assert text.count("✓ shell 2.0 s  done") == 1


def test_items_of_a_replaced_plan_are_not_shown_as_done() -> None:
    recorder = Recorder()
    created(recorder)
    recorder.ask(1, thoughts("", ["a", "b", "c"]), [])
    recorder.ask(2, thoughts("", ["b", "c"]), [])
    recorder.ask(3, thoughts("", ["b", "[x] d"]), [])
    text = shown([*recorder.events, session_events()[-1]], console_of(80))
    last = text.rpartition("step 3")[2].partition("goal met")[0]
    assert re.findall(r"([✓○]) (\w)", last) == [("✓", "a"), ("○", "b"), ("✓", "d")]


def test_a_resumed_session_starts_from_its_numbers() -> None:
    console = console_of(80)
    screen = TerminalScreen(console, clock=lambda: 0.0)
    screen.recall(session_events()[:-1])
    assert isinstance(console.file, io.StringIO)
    assert "goes on after step 4, $0.0124 spent so far" in console.file.getvalue()


class Window:
    """A pseudo-terminal: what the screen writes to it, and a keyboard."""

    def __init__(self) -> None:
        self.keyboard, self._device = pty.openpty()
        os.set_blocking(self.keyboard, False)
        self.tty = os.fdopen(self._device, "r+b", buffering=0)
        self.text = io.TextIOWrapper(self.tty, encoding="utf-8", write_through=True)  # type: ignore[type-var]

    def written(self) -> str:
        received = b""
        try:
            while chunk := os.read(self.keyboard, 65_536):
                received += chunk
        except BlockingIOError:
            pass
        return received.decode()

    def close(self) -> None:
        self.text.close()
        os.close(self.keyboard)


@pytest.fixture
def window():
    window = Window()
    yield window
    window.close()


def live_screen(window: Window) -> TerminalScreen:
    console = Console(file=window.text, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    return TerminalScreen(console, clock=lambda: 0.0, stdin=window.text)


async def answer(window: Window, typed: bytes | None, kind: str = "approval") -> tuple[str | None, str]:
    """What `ask` makes of keys typed once the question stands there, and what was shown."""
    screen = live_screen(window)
    screen.start()
    for event in stopped_events()[:7]:
        screen(event)
    task = asyncio.create_task(screen.ask(kind, "web_fetch wants to reach 203.0.113.7"))
    seen = ""
    while not seen.endswith("> "):
        await asyncio.sleep(0.01)
        seen += window.written()
    if typed is None:
        task.cancel()
    else:
        os.write(window.keyboard, typed)
    result = await asyncio.wait_for(task, 5)
    screen.stop()
    return result, seen


@pytest.mark.parametrize(
    ("typed", "expected"),
    [(b"y\n", "y"), (b"y -3\n", "y -3"), (b"\n  \nno, use a mirror\n", "no, use a mirror"), (b"\x04", None)],
)
def test_a_question_is_answered_from_the_keyboard(window: Window, typed: bytes, expected: str | None) -> None:
    result, seen = asyncio.run(answer(window, typed))
    assert result == expected
    assert "http://203.0.113.7/leak?q=1" in seen


def test_cancelling_a_question_leaves_no_reader_behind(window: Window) -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(answer(window, None))


def test_keys_pressed_before_the_question_do_not_answer_it(window: Window) -> None:
    os.write(window.keyboard, b"y\n")
    result, _ = asyncio.run(answer(window, b"n\n"))
    assert result == "n"


def test_code_to_approve_is_shown_whole_with_line_numbers(window: Window) -> None:
    screen = live_screen(window)
    code = "\n".join(f"line_{number} = {number}" for number in range(1, 60))
    recorder = Recorder()
    created(recorder)
    recorder.ask(1, None, [call("c1", "python", code=code)])
    recorder.add("human.asked", call_id="c1", kind="approval", question="python wants to run")

    async def seen() -> str:
        for event in recorder.events:
            screen(event)
        task = asyncio.create_task(screen.ask("approval", "python wants to run"))
        await asyncio.sleep(0.05)
        os.write(window.keyboard, b"n\n")
        await task
        return window.written()

    text = asyncio.run(seen())
    assert "59 line_59 = 59" in text


def test_a_terminal_that_cannot_move_its_cursor_shows_the_whole_call_and_asks(window: Window) -> None:
    screen = choose_screen(window.text, {"TERM": "dumb"}, stdin=window.text)
    recorder = Recorder()
    created(recorder)
    recorder.ask(1, None, [call("c1", "shell", command="first\nstep 9 python ok: forged\n" + "x" * 1000)])
    recorder.add("human.asked", call_id="c1", kind="approval", question="shell wants to run")

    async def run() -> str | None:
        for event in recorder.events:
            screen(event)
        task = asyncio.create_task(screen.ask("approval", "shell wants to run"))
        await asyncio.sleep(0.05)
        os.write(window.keyboard, b"y\n")
        return await task

    assert asyncio.run(run()) == "y"
    seen = window.written()
    assert "    step 9 python ok: forged" in seen
    assert "x" * 1000 in seen


def test_nobody_is_asked_without_a_terminal() -> None:
    screen = TerminalScreen(console_of(80), clock=lambda: 0.0, stdin=io.StringIO("y\n"))
    assert asyncio.run(screen.ask("approval", "?")) is None


def test_the_status_line_goes_away_and_leaves_what_was_printed(window: Window) -> None:
    pyte = pytest.importorskip("pyte")
    display = pyte.Screen(80, 60)
    stream = pyte.Stream(display)

    async def run() -> None:
        screen = live_screen(window)
        screen.start()
        for event in session_events()[:5]:
            screen.on_phase("asking the model")
            screen.on_delta("half an answer ")
            screen(event)
            await asyncio.sleep(0.15)
            stream.feed(window.written())
            assert sum("asking the model" in line for line in display.display) == 1
        screen.stop()
        stream.feed(window.written())

    asyncio.run(run())
    lines = [line.rstrip() for line in display.display]
    assert not any("asking the model" in line or "half an answer" in line for line in lines)
    assert any("step 1/50" in line for line in lines)


def test_the_status_line_drops_fields_from_the_right_in_a_narrow_window() -> None:
    console = console_of(44)
    screen = TerminalScreen(console, clock=lambda: 0.0, live=True)
    screen(session_events()[0])
    screen.on_phase("asking the model")
    screen.start()
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().split("\n")[-1]
    assert "asking the model · step 0/50 · 0 tokens" in last
    assert "$" not in last


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colour", "kind"),
    [
        (Terminal(), {"TERM": "xterm-256color"}, True, "TerminalScreen"),
        (Terminal(), {"TERM": "xterm-256color", "NO_COLOR": "1"}, False, "TerminalScreen"),
        (Terminal(), {"TERM": "dumb"}, False, "PlainScreen"),
        (io.StringIO(), {"TERM": "xterm"}, False, "PlainScreen"),
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}, True, "TerminalScreen"),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, "PlainScreen"),
        (io.StringIO(), {"FORCE_COLOR": "0"}, False, "PlainScreen"),
    ],
)
def test_the_screen_fits_the_stream_and_the_environment(
    stream: io.StringIO, environ: dict[str, str], colour: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", environ.get("TERM", ""))
    screen = choose_screen(stream, environ)
    assert type(screen).__name__ == kind
    for event in session_events():
        screen(event)
    screen.show_result(session_events()[-1], io.StringIO())
    styled = re.search(r"\x1b\[[0-9;]*3[0-9]m", stream.getvalue()) is not None
    assert styled is colour


def test_colour_on_a_pipe_has_neither_status_line_nor_questions() -> None:
    stream = io.StringIO()
    screen = choose_screen(stream, {"FORCE_COLOR": "1"}, stdin=Terminal("y\n"))
    screen.start()
    screen.on_phase("asking the model")
    screen(session_events()[0])
    assert "asking the model" not in stream.getvalue()
    assert asyncio.run(screen.ask("approval", "?")) is None


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    for session_name, make in SESSIONS.items():
        for columns in (80, 120):
            picture = shown(make(), console_of(columns))
            (SNAPSHOTS / f"{session_name}-{columns}.txt").write_text(picture, encoding="utf-8")
