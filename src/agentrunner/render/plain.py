"""The screen where there is no terminal: plain lines, one fact each, no colours, for logs and for grep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from agentrunner.render.common import (
    compact_json,
    duration,
    limits_text,
    listing,
    mapping,
    one_line,
    safe,
    size,
)
from agentrunner.render.outcome import (
    artifact_lines,
    note_text,
    numbers_text,
    outcome_words,
    result_text,
    resume_commands,
)
from agentrunner.render.progress import Progress
from agentrunner.render.prompt import APPROVAL_HELP, ask_line
from agentrunner.render.stdout import write_text
from agentrunner.render.tasks import is_own
from agentrunner.types import Event

MAX_FACT_CHARS = 200
"""Two rows of a log viewer; the session's own record has the rest."""


class PlainScreen:
    """Told of events in order; writes lines that start with the step they belong to. With `stdin` a person is asked
    there: for terminals that cannot move their cursor."""

    def __init__(self, stream: TextIO, *, stdin: TextIO | None = None) -> None:
        self._stream = stream
        self._stdin = stdin
        self._progress = Progress()
        self._asked_call = ""

    def start(self) -> None:
        """Nothing to show yet."""

    def stop(self) -> None:
        self._stream.flush()

    def on_delta(self, text: str) -> None:
        """Half an answer is not a fact."""

    def on_phase(self, phase: str) -> None:
        """Neither is a phase."""

    def recall(self, events: Sequence[Event]) -> None:
        """Take in what happened in earlier attempts, without printing it again."""
        for event in events:
            self._progress.absorb(event)
            if event.type == "completion.received":
                self._progress.take_plan(event.data)
        self._line(f"session {self._progress.session_id} goes on after step {self._progress.step}")

    def __call__(self, event: Event) -> None:
        self._progress.absorb(event)
        data = event.data
        for line in self._progress.task_news:
            self._line(line)
        if is_own(event):
            return
        match event.type:
            case "session.created":
                self._created(data)
            case "completion.received":
                self._received(data)
            case "tool.started":
                self._tool_started(data)
            case "tool.finished":
                self._tool_finished(data)
            case "guard.verdict":
                self._fact(data, f"guard {data.get('action')}", f"{data.get('reason')} ({data.get('rule')})")
            case "human.asked":
                self._asked_call = str(data.get("call_id"))
                self._line(f"asked: {one_line(data.get('question'), MAX_FACT_CHARS)}")
            case "human.answered":
                self._line(f"answered: {one_line(data.get('answer'), MAX_FACT_CHARS)}")
            case _:
                if text := note_text(event.type, data):
                    self._line(f"{_step(data)}{text}")

    async def ask(self, kind: str, question: str) -> str | None:
        """What a person types in answer; None when nobody is there."""
        if self._stdin is None:
            return None
        self._line(f"question: {one_line(question, 10 * MAX_FACT_CHARS)}")
        call = self._progress.calls.get(self._asked_call)
        if kind == "approval":
            if call is not None:
                self._line(f"command: {call.name}")
                for key, value in call.arguments.items():
                    self._line(f"{one_line(key, 60)}:")
                    # Whole and indented: what is approved must be seen, and must not look like a line of ours.
                    for line in safe(value if isinstance(value, str) else compact_json(value)).split("\n"):
                        write_text(self._stream, f"    {line}\n")
            self._line(APPROVAL_HELP)
        return await ask_line(lambda: write_text(self._stream, "> "), self._stdin.fileno())

    def remark(self, text: str) -> None:
        """A line that is not about an event: a warning, an ignored setting."""
        self._line(text)

    def show_result(self, finished: Event, stdout: TextIO) -> None:
        """How the attempt came out, the answer on `stdout`, then files, numbers and the way on.
        May raise OSError when `stdout` is gone."""
        data = finished.data
        self._line(f"finished: {outcome_words(data).words} (status {data.get('status')}, exit {data.get('exit_code')})")
        if data.get("message") and data.get("reason") != "goal_met":
            self._line(f"why: {data['message']}")
        write_text(stdout, result_text(finished))
        for item in map(mapping, listing(data.get("pending"))):
            self._line(f"pending {item.get('kind')}: {one_line(item.get('question'), MAX_FACT_CHARS)}")
        for made in artifact_lines(data.get("artifacts"), str(self._progress.facts.get("workspace") or "")):
            self._line(f"file: {made.path}" + ("" if made.bytes is None else f" ({size(made.bytes)})"))
        self._line(f"cost: {numbers_text(data, self._progress.budget)}")
        self._line(f"session: {finished.session_id}")
        for command in resume_commands(finished.session_id, data, self._progress.facts.get("strategy")):
            self._line(f"go on: {command}")

    def _created(self, data: Mapping[str, Any]) -> None:
        sandbox = mapping(data.get("sandbox")).get("level") or data.get("sandbox")
        self._line(f"goal: {data.get('goal')}")
        self._line(f"model: {data.get('model')}, strategy {data.get('strategy')}")
        if data.get("dry_run"):
            self._line("dry run: no model is asked, nothing is spent")
        self._line(f"limits: {limits_text(self._progress.budget)}")
        self._line(f"workspace: {data.get('workspace')}")
        self._line(f"sandbox: {sandbox}")
        for note in listing(data.get("notes")):
            self._line(f"note: {note}")
        self._line(f"session: {self._progress.session_id}")

    def _received(self, data: Mapping[str, Any]) -> None:
        thoughts = mapping(data.get("thoughts"))
        for name, key in (("thought", "text"), ("reasoning", "reasoning")):
            self._fact(data, name, thoughts.get(key))
        news = self._progress.take_plan(data)
        if news.shown_differently:
            items = [f"[{'x' if item.done else ' '}] {item.text}" for item in self._progress.plan.items]
            self._fact(data, "plan", "; ".join(items))
        revises = " -> revises the plan" if thoughts.get("revise") else ""
        if criticism := one_line(thoughts.get("criticism"), MAX_FACT_CHARS):
            self._fact(data, "criticism", criticism + revises)
        if news.reply is not None:
            self._line(f"{_step(data)}plan {'changed as asked' if news.reply else 'not changed, though asked for'}")

    def _tool_started(self, data: Mapping[str, Any]) -> None:
        arguments = mapping(data.get("arguments"))
        shown = {key: value for key, value in arguments.items() if (data.get("name"), key) != ("finish", "answer")}
        self._fact(data, f"{one_line(data.get('name'), 60)} started", compact_json(shown))

    def _tool_finished(self, data: Mapping[str, Any]) -> None:
        took = duration(float(data.get("seconds") or 0.0))
        self._fact(data, f"{one_line(data.get('name'), 60)} {data.get('outcome')} {took}", data.get("content"))
        for made in artifact_lines(data.get("artifacts")):
            self._fact(data, "file", made.path + ("" if made.bytes is None else f" ({size(made.bytes)})"))

    def _fact(self, data: Mapping[str, Any], name: str, value: object) -> None:
        if text := one_line(value or "", MAX_FACT_CHARS):
            self._line(f"{_step(data)}{name}: {text}")

    def _line(self, text: str) -> None:
        """One line, cleaned: nothing that comes from outside can start another one."""
        write_text(self._stream, f"{one_line(text, 20 * MAX_FACT_CHARS)}\n")


def _step(data: Mapping[str, Any]) -> str:
    if data.get("step") is None:
        return "wrap-up " if data.get("label") == "wrap_up" else ""
    branch = one_line(str(data.get("branch") or "").strip("/"), 40)
    return f"step {data['step']} {f'{branch} ' if branch else ''}"


class QuietScreen:
    """Nothing but the result."""

    def start(self) -> None:
        """Nothing to show."""

    def stop(self) -> None:
        """Nothing to take away."""

    def on_delta(self, text: str) -> None:
        """Nothing to show."""

    def on_phase(self, phase: str) -> None:
        """Nothing to show."""

    def recall(self, events: Sequence[Event]) -> None:
        """Nothing to show."""

    def __call__(self, event: Event) -> None:
        """Nothing to show."""

    def remark(self, text: str) -> None:
        """Nothing to show."""

    async def ask(self, kind: str, question: str) -> str | None:
        """Nobody is asked by a program that was told to be quiet."""
        return None

    def show_result(self, finished: Event, stdout: TextIO) -> None:
        write_text(stdout, result_text(finished))
