"""`agent run` and `agent resume`: from flags to a session, from its end to output and an exit code."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentrunner.cli.options import chosen, given, load_settings, with_settings
from agentrunner.cli.sandbox import alarm
from agentrunner.engine import Control
from agentrunner.errors import AgentError, UsageError
from agentrunner.render.jsonl import JsonlWriter
from agentrunner.render.outcome import result_text
from agentrunner.render.screen import Screen, choose_screen
from agentrunner.render.stdout import Unwritable
from agentrunner.runner import Outlet, resume, start
from agentrunner.sanitise import clean
from agentrunner.types import JSON, Event

if TYPE_CHECKING:
    from agentrunner.config import Settings

Job = Callable[["Settings", Outlet, Control], Awaitable[Event]]

run_app = typer.Typer(add_completion=False)
resume_app = typer.Typer(add_completion=False)
APPS = {"run": run_app, "resume": resume_app}


@run_app.command()
@with_settings("run")
def run_command(
    goal: Annotated[
        str | None, typer.Argument(metavar="GOAL", help="What is to be reached; '-' reads it from standard input.")
    ] = None,
    goal_option: Annotated[str | None, typer.Option("--goal", metavar="TEXT", help="The goal, as an option.")] = None,
    **flags: Any,
) -> int:
    """Start a session: take a goal to a verified end."""
    if goal is not None and goal_option is not None:
        raise UsageError("the goal was given twice", "give it as GOAL or with --goal")
    text = goal_option if goal is None else goal
    if text is None:
        raise UsageError("no goal was given", "say what is to be reached: agent run --goal 'TEXT'")
    if text == "-":
        text = _standard_input()
    settings = load_settings(given(flags)).settings
    return conduct(settings, lambda settings, outlet, control: start(text, settings, outlet, control))


@resume_app.command()
@with_settings("resume")
def resume_command(
    session: Annotated[
        str | None, typer.Argument(metavar="ID", help="The session, or the beginning of its id.")
    ] = None,
    instruction: Annotated[
        str | None, typer.Argument(metavar="INSTRUCTION", help="Something more for the agent to do.")
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The newest session; with --workspace the newest there.")
    ] = False,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="TEXT", help="The open question's answer: y, y -N, n, or text.")
    ] = None,
    add_steps: Annotated[int | None, typer.Option(metavar="N", min=0, help="Raise the limit of steps.")] = None,
    add_cost: Annotated[float | None, typer.Option(metavar="USD", min=0, help="Raise the limit of cost.")] = None,
    add_tokens: Annotated[int | None, typer.Option(metavar="N", min=0, help="Raise the limit of tokens.")] = None,
    add_time: Annotated[str | None, typer.Option(metavar="TIME", help="Raise the limit of time, as in 10m.")] = None,
    allow_changed: Annotated[
        bool, typer.Option("--allow-changed", help="Go on although this version has other tools or labels.")
    ] = False,
    **flags: Any,
) -> int:
    """Go on with a saved session. What no option says stays as it was in the session."""
    from agentrunner.config.values import parse_duration

    if last and instruction is not None:
        raise UsageError("--last names the session already", "give only an instruction beside it")
    loaded = load_settings(given(flags))
    settings, flagged = loaded.settings, chosen(loaded)
    if "workspace" in flagged and not last:
        raise UsageError("a session stays in its workspace", "leave --workspace out, or use it with --last")
    if last:
        session, instruction = _newest(settings, "workspace" in flagged), session
    if session is None:
        raise UsageError("no session was named", "give its id, or --last; see agent sessions")
    try:
        seconds = parse_duration(add_time) if add_time else None
    except ValueError as error:
        raise UsageError(f"--add-time {add_time!r} is not a time", str(error)) from None
    if add_cost is not None and not add_cost < float("inf"):
        raise UsageError(f"--add-cost {add_cost!r} is not an amount", "give US dollars, as in 0.50")
    more: JSON = {"steps": add_steps, "usd": add_cost, "tokens": add_tokens, "seconds": seconds}
    name = session

    def job(settings: "Settings", outlet: Outlet, control: Control) -> Awaitable[Event]:
        return resume(
            name,
            settings,
            flagged,
            outlet,
            control,
            instruction=instruction or "",
            answer=answer,
            more=more if any(more.values()) else None,
            allow_changed=allow_changed,
        )

    return conduct(settings, job)


def conduct(settings: "Settings", job: Job) -> int:
    """Run a session with a screen around it; print the result; return the exit code."""
    _check_output(settings.output)
    screen = choose_screen(sys.stderr, os.environ, quiet=settings.quiet or settings.json_lines)
    control = Control()
    outlet = Outlet(human=screen.ask, on_phase=screen.on_phase, recall=screen.recall, remark=screen.remark)
    outlet.alarm = alarm
    writer = JsonlWriter(sys.stdout, on_broken=lambda: control.stop("interrupted")) if settings.json_lines else None
    if writer is not None:
        outlet.listeners.append(writer)
        outlet.on_delta = writer.on_delta if settings.stream else None
    else:
        outlet.listeners.append(screen)
        outlet.on_delta = screen.on_delta if sys.stderr.isatty() else None
    screen.start()
    try:
        finished, attempted = asyncio.run(_with_signals(job, settings, outlet, control))
    finally:
        screen.stop()
    if writer is not None:
        _show_lines(writer, finished, attempted)
    else:
        _show_result(screen, finished, attempted)
    return _leave(settings, finished)


async def _with_signals(job: Job, settings: "Settings", outlet: Outlet, control: Control) -> tuple[Event, bool]:
    """The session's end, and whether anything ran for it (a completed session's recorded end is only shown)."""
    loop = asyncio.get_running_loop()
    seen: deque[Event] = deque(maxlen=1)
    outlet.listeners.append(seen.append)
    task = asyncio.ensure_future(job(settings, outlet, control))

    def end_now() -> None:
        if not (seen and seen[-1].type == "session.finished"):  # what is left then is putting things away
            task.cancel()

    def interrupt() -> None:
        if control.reason:
            end_now()
            return
        control.stop("interrupted")
        outlet.remark("finishing this step; Ctrl-C again stops at once")

    def terminate() -> None:
        control.stop("cancelled")
        end_now()

    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, interrupt)
        loop.add_signal_handler(signal.SIGTERM, terminate)
        loop.add_signal_handler(signal.SIGHUP, terminate)
    try:
        finished = await task
    finally:
        # The end is being written down: nothing that comes now can change it.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
    return finished, bool(seen)


def _show_lines(writer: JsonlWriter, finished: Event, attempted: bool) -> None:
    if not attempted:
        writer(finished)
    try:
        writer.close()
    except Unwritable as error:
        hint = f"agent resume {finished.session_id} goes on"
        raise AgentError(f"events cannot be written to standard output: {error.why}", hint) from None


def _leave(settings: "Settings", finished: Event) -> int:
    """Say what is left to say; the exit code."""
    if finished.data["exit_code"] and (settings.json_lines or settings.quiet):
        text = " ".join(clean(str(finished.data["message"])).split())
        print(f"agent: {finished.data['reason']}: {text}", file=sys.stderr)
    if settings.output is not None:
        try:
            settings.output.write_text(result_text(finished), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"the answer cannot be written to {str(settings.output)!r}: {error.strerror}",
                f"agent sessions show {finished.session_id} prints it again",
            ) from None
    return int(finished.data["exit_code"])


def _show_result(screen: Screen, finished: Event, attempted: bool) -> None:
    try:
        if attempted:
            screen.show_result(finished, sys.stdout)
        else:
            sys.stdout.write(result_text(finished))
            sys.stdout.flush()
    except Unwritable as error:
        if not error.no_reader:  # Who has gone reads no result, but may find it in a file.
            hint = f"agent sessions show {finished.session_id} prints it again"
            raise AgentError(f"the result cannot be written to standard output: {error.why}", hint) from None


def _check_output(path: Path | None) -> None:
    """Find out before the run, not after it."""
    if path is not None and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise UsageError(f"the answer cannot be written to {str(path)!r}", "give -o a file in a folder of yours")


def _newest(settings: "Settings", of_workspace: bool) -> str:
    from agentrunner.journal import open_journal

    with contextlib.closing(open_journal(settings.home, settings.database_url)) as journal:
        rows = journal.sessions(str(settings.workspace.resolve()) if of_workspace else None)
    if not rows:
        where = f" in {str(settings.workspace)!r}" if of_workspace else ""
        raise UsageError(f"there is no session yet{where}", "see agent sessions, or start one with agent run")
    return rows[0].id


def _standard_input() -> str:
    return sys.stdin.buffer.read(1 << 20).decode("utf-8", "replace")
