"""The screen of a session on a terminal: steps scroll by, one live line at the bottom. It decides nothing.

Import it when it is used: rich is heavy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.text import Text

from agentrunner.render import blocks
from agentrunner.render.common import money, one_line, safe, stopwatch, tokens_text
from agentrunner.render.layout import Heading, Trimmed, indented
from agentrunner.render.outcome import note_text
from agentrunner.render.progress import Call, Progress
from agentrunner.render.prompt import APPROVAL_HELP, ask_line
from agentrunner.render.status import StatusLine
from agentrunner.render.tasks import is_own
from agentrunner.types import Event

STREAM_TAIL_CHARS = 2000
"""What is kept of a streaming answer for the preview: more than a line of any window."""

MIN_TASK_LINES = 5
"""Of the task list at the bottom of a low window: the heading, what runs, and one step of it."""


class TerminalScreen:
    """Told of events in order; prints above a status line. `live` says whether there is a status line and a person to
    ask: never when the console's file is not a terminal, whatever colours were wanted."""

    def __init__(
        self,
        console: Console,
        *,
        clock: Callable[[], float],
        live: bool | None = None,
        stdin: TextIO | None = None,
    ) -> None:
        self._console = console
        self._clock = clock
        self._live = console.file.isatty() if live is None else live
        self._stdin = stdin
        self._status = StatusLine(console, self._status_lines)
        self._started_at = clock()
        self._progress = Progress()
        self._phase = "starting"
        self._streamed = ""
        self._heading: tuple[object, ...] = ()
        self._last_call = ""
        self._headed_calls: set[str] = set()
        self._asked_call = ""
        self._answered_here = False
        self._drawn_tasks: tuple[tuple[int, ...], list[Text]] = (), []

    def start(self) -> None:
        """Show the status line, when there is a terminal for it."""
        self._started_at = self._clock()
        if self._live:
            self._status.start()

    def stop(self) -> None:
        """Take the status line away. Call it before anybody else writes to the terminal, and at the end."""
        self._status.stop()

    def recall(self, events: Sequence[Event]) -> None:
        """Take in what happened in earlier attempts, and print the header and one line about them."""
        for event in events:
            self._progress.absorb(event)
            if event.type == "completion.received":
                self._progress.take_plan(event.data)
        steps, spent = self._progress.step, money(self._progress.spent_usd)
        self._print(blocks.header(self._progress))
        self._print(Text(f"  goes on after step {steps}, {spent} spent so far", style="dim"))
        self._print_tasks()

    def __call__(self, event: Event) -> None:
        data = event.data
        call = self._progress.calls.get(str(data.get("call_id")))
        self._progress.absorb(event)
        for line in self._progress.task_news:
            self._note(line)
        if is_own(event):
            return
        match event.type:
            case "session.created":
                self._print(blocks.header(self._progress))
            case "request.sent":
                self._streamed = ""
                self._head(data)
            case "completion.received":
                self._received(data)
            case "tool.started":
                self._head(data)
                self._head_call(str(data.get("call_id")), self._progress.calls[str(data.get("call_id"))])
            case "tool.finished":
                self._tool_finished(data, call)
            case "guard.verdict":
                self._print(blocks.verdict_block(data))
            case "human.asked":
                self._asked(data)
            case "human.answered":
                self._answered(data)
            case "request.failed":
                self._head(data)
                self._note(note_text(event.type, data))
            case _:
                if text := note_text(event.type, data):
                    self._note(text)

    def on_delta(self, text: str) -> None:
        """Show the end of an answer that is being written, until it has come whole."""
        self._streamed = (self._streamed + text)[-STREAM_TAIL_CHARS:]

    def on_phase(self, phase: str) -> None:
        self._phase = phase
        self._status.refresh()

    async def ask(self, kind: str, question: str) -> str | None:
        """What a person types in answer; None when nobody is there. `kind` is "approval" or "input"."""
        stdin: TextIO | None = self._stdin or sys.stdin
        if stdin is None or not (self._live and stdin.isatty()):
            return None
        approves = kind == "approval"
        call = self._progress.calls.get(self._asked_call) if approves else None
        with self._status.paused():
            self._print(blocks.approval(question, call))
            if approves:
                self._print(indented(Text(APPROVAL_HELP, style="dim")))
            answer = None
            try:
                answer = await ask_line(self._prompt, stdin.fileno())
            finally:
                if answer is None:
                    self._console.print()  # nobody pressed Enter: leave the line with the prompt
            self._answered_here = answer is not None
            if approves and call is not None:
                self._last_call = self._asked_call
                self._headed_calls.add(self._asked_call)
        return answer

    def show_result(self, finished: Event, stdout: TextIO) -> None:
        """The end of an attempt: how it came out, then the answer on `stdout`, then files, numbers and the way on.
        Also right for a recorded `session.finished`. May raise OSError when `stdout` is gone."""
        self.stop()
        self._print_tasks()
        self._print(blocks.final_heading(finished.data))
        if finished.data.get("answer"):
            self._print(Text(""))
            from agentrunner.render.answer import print_answer  # brings the Markdown parser

            self._console.file.flush()
            print_answer(finished, stdout, styled=stdout.isatty())
            self._print(Text(""))
        self._print(blocks.final_footer(finished.session_id, finished.data, self._progress))

    def _print_tasks(self) -> None:
        if tasks := self._progress.tasks.in_order():
            from agentrunner.render.task_table import task_table

            self._print(Text(""), Heading(Text("tasks", style="bold")), task_table(tasks, self._console.width))

    def _prompt(self) -> None:
        self._console.print(Text("  > ", style="bold yellow"), end="")
        self._console.file.flush()

    def _print(self, *renderables: RenderableType) -> None:
        with self._status.above():
            for renderable in renderables:
                self._console.print(Trimmed(renderable), end="")

    def _head(self, data: Mapping[str, Any]) -> None:
        """Head a block with its step, unless that is what was printed last. Outside of steps there is no heading."""
        if data.get("step") is None and data.get("label") != "wrap_up":
            return
        heading = (data.get("step"), data.get("branch"))
        if heading != self._heading:
            self._heading = heading
            self._last_call = ""
            step, total = data.get("step"), self._progress.budget.get("steps")
            label, branch = str(data.get("label") or ""), str(data.get("branch") or "")
            self._print(blocks.step_heading(step, total, label, branch))

    def _received(self, data: Mapping[str, Any]) -> None:
        self._streamed = ""
        self._head(data)
        news = self._progress.take_plan(data)
        if (block := blocks.deliberation(data, self._progress.plan, news)) is not None:
            self._print(block)

    def _tool_finished(self, data: Mapping[str, Any], call: Call | None) -> None:
        self._head(data)
        call_id = str(data.get("call_id"))
        if call is not None:
            self._head_call(call_id, call)
        self._print(blocks.result_block(data, named=call_id != self._last_call))
        self._headed_calls.discard(call_id)

    def _head_call(self, call_id: str, call: Call) -> None:
        """Show a call once: when it starts, or with its result when it never did, or before, for approval."""
        if call_id not in self._headed_calls:
            self._headed_calls.add(call_id)
            self._last_call = call_id
            self._print(blocks.call_block(call))

    def _asked(self, data: Mapping[str, Any]) -> None:
        self._asked_call = str(data.get("call_id"))
        if not self._live:
            self._print(indented(Text(f"? {one_line(data.get('question'), 300)}", style="yellow")))

    def _answered(self, data: Mapping[str, Any]) -> None:
        if data.get("granted") is True:
            self._note("allowed in advance")
        elif not self._answered_here:
            self._print(indented(Text(f"you: {one_line(data.get('answer'), 300)}", style="dim")))
        self._answered_here = False

    def remark(self, text: str) -> None:
        """A line that is not about an event: a warning, an ignored setting."""
        self._print(indented(Text(safe(text), style="yellow")))

    def _note(self, text: str) -> None:
        self._print(indented(Text(text, style="dim")))

    def _status_lines(self, spinner: str) -> list[Text]:
        progress, budget = self._progress, self._progress.budget
        line = Text(f"{spinner} ", style="cyan").append(one_line(self._phase, 60), style="bold")
        total, limit = budget.get("steps"), budget.get("usd")
        fields = [f"step {progress.step}" + ("" if total is None else f"/{total}")]
        fields.append(tokens_text(progress.tokens))
        fields.append(money(progress.spent_usd) + ("" if limit is None else f" of {money(limit)}"))
        fields.append(stopwatch(progress.seconds_before + self._clock() - self._started_at))
        for text in fields:
            # What does not fit is left out whole, from the right.
            if line.cell_len + len(text) + 4 <= self._console.width:
                line.append(f" · {text}", style="dim")
        if not self._streamed.strip():
            return [*self._task_lines(), line]
        written = safe(self._streamed).strip().split("\n")[-1]
        tail = Text("  ").append(written[-(max(1, self._console.width - 4)) :], style="dim italic")
        return [*self._task_lines(), tail, line]

    def _task_lines(self) -> list[Text]:
        """The list of tasks as it stands, in the lower half of the window."""
        listed = self._progress.tasks
        if not listed.tasks:
            return []
        state = (listed.changes, *self._console.size)
        if self._drawn_tasks[0] != state:
            from agentrunner.render.task_table import live_lines

            self._drawn_tasks = state, live_lines(self._console, listed, max(MIN_TASK_LINES, state[2] // 2))
        return [Text(""), *self._drawn_tasks[1]]
