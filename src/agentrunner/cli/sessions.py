"""`agent sessions` and `agent report`: what is saved, one of them whole, out of here, gone."""

import contextlib
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentrunner.cli import moving
from agentrunner.cli.options import load_settings
from agentrunner.errors import UsageError
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.journal import SessionRow, SqlJournal

sessions_app = typer.Typer(add_completion=False, invoke_without_command=True)
report_app = typer.Typer(add_completion=False)
sessions_app.command("import")(moving.import_)
sessions_app.command()(moving.migrate)
APPS = {"sessions": sessions_app, "report": report_app}

Id = Annotated[str, typer.Argument(metavar="ID", help="The session, or the beginning of its id.")]


@contextlib.contextmanager
def open_here() -> "Generator[SqlJournal]":
    """The journal that the environment and the configuration name."""
    from agentrunner.journal import open_journal

    settings = load_settings().settings
    with contextlib.closing(open_journal(settings.home, settings.database_url)) as journal:
        yield journal


@sessions_app.callback()
def sessions(context: typer.Context) -> None:
    """List, show, fork, export, import, move and remove saved sessions."""
    if context.invoked_subcommand is None:
        list_sessions()


@sessions_app.command("list")
def list_sessions(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List the sessions, newest first."""
    from agentrunner.journal import holder

    with open_here() as journal:
        rows = journal.sessions()
        running = {row.id for row in rows if row.status == "in_progress" and holder(journal.home, row.id)}
    if as_json:
        import json

        for row in rows:
            print(json.dumps(row._asdict() | {"running": row.id in running}))
        return
    if not rows:
        print("no sessions yet; start one with agent run", file=sys.stderr)
        return
    _table(rows, running)


def _table(rows: "Sequence[SessionRow]", running: set[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from agentrunner.render.common import money, one_line

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("session", "status", "steps", "cost", "goal"):
        right: Literal["left", "right"] = "right" if name in ("steps", "cost") else "left"
        least = None if name == "goal" else max(4, *(len(row.id) for row in rows)) if name == "session" else 4
        table.add_column(name, no_wrap=True, justify=right, overflow="ellipsis", min_width=least)
    for row in rows:
        status = "running" if row.id in running else row.reason or row.status.replace("in_progress", "killed")
        cells = (row.id, status, str(row.steps), money(row.spent_usd), one_line(row.goal, 200))
        table.add_row(*(Text(cell, overflow="ellipsis") for cell in cells))
    console = Console(markup=False, highlight=False, emoji=False)
    console.width = console.width if console.is_terminal else 240
    console.print(table)


@sessions_app.command()
def show(
    session: Id,
    step: Annotated[int | None, typer.Option("--step", metavar="N", help="Only this step, uncut.")] = None,
) -> None:
    """Show one session: what it thought, did and found."""
    from agentrunner.render.plain import PlainScreen
    from agentrunner.render.task_tree import task_tree

    with open_here() as journal:
        events = journal.load(journal.find(session))
    if step is None:
        screen = PlainScreen(sys.stdout)
        for event in events:
            screen(event)
        print("\n".join(["", *tree, ""]) if (tree := task_tree(events)) else "", end="")
        for event in events[-1:]:
            if event.type == "session.finished":
                screen.show_result(event, sys.stdout)
        return
    chosen = [event for event in events if event.data.get("step") == step]
    if not chosen:
        last = max((event.data.get("step") or 0 for event in events), default=0)
        raise UsageError(f"session {session!r} has no step {step}", f"its steps are 1 to {last}")
    import yaml

    from agentrunner.render.jsonl import public

    for event in chosen:
        print(clean(yaml.safe_dump(public(event), sort_keys=False, allow_unicode=True, width=100)))


@sessions_app.command()
def export(
    session: Id,
    traces: Annotated[
        bool, typer.Option("--traces", help="Its commands and results instead, for `agent guard replay`.")
    ] = False,
    with_files: Annotated[
        bool,
        typer.Option("--with-files", help="Also the states of its workspace, whole results and pictures."),
    ] = False,
) -> None:
    """Print a session's events as JSON lines."""
    from agentrunner.render import jsonl

    if traces and with_files:
        raise UsageError("--traces and --with-files do not go together", "export twice")
    with open_here() as journal:
        events = journal.load(journal.find(session))
        home = journal.home
    if traces:
        from agentrunner.runner.trajectories import trajectories

        for trajectory in trajectories(events):
            print(jsonl.to_json(trajectory))
        return
    for line in jsonl.export(events):
        print(line)
    if with_files:
        from agentrunner.runner.carrying import files_of

        for data in files_of(home, events[0].session_id):
            print(jsonl.beside(events[0].session_id, data))


@sessions_app.command()
def fork(
    session: Id,
    at_step: Annotated[int, typer.Option("--at-step", metavar="N", help="The last step that is kept; 0: none.")],
    workspace: Annotated[
        Path | None, typer.Option("--workspace", metavar="DIR", help="A new folder; by default beside the old one.")
    ] = None,
) -> None:
    """Make a new session that goes on after a step of another, with the workspace as it was then."""
    import asyncio

    from agentrunner.runner.forking import fork as make

    with open_here() as journal:
        made = asyncio.run(make(journal, journal.find(session), at_step, workspace))
    print(made.session_id)
    print(f"workspace  {clean(str(made.workspace))}", file=sys.stderr)
    if made.left_out:
        shown = ", ".join(map(repr, made.left_out[:3])) + (" and more" if len(made.left_out) > 3 else "")
        print(f"left out   {clean(shown)}: hard links and .env files are not kept", file=sys.stderr)
    print(f"go on      agent resume {made.session_id}", file=sys.stderr)


@sessions_app.command()
def rm(sessions: Annotated[list[str], typer.Argument(metavar="ID...", help="The sessions to remove.")]) -> None:
    """Remove sessions, their events and their saved results. The workspace is left as it is, and so are saved results
    that a copy in another database needs (see migrate)."""
    from agentrunner.journal import SessionLock
    from agentrunner.runner.forking import remove_session

    with open_here() as journal:
        for session in [journal.find(prefix) for prefix in sessions]:
            with SessionLock(journal.home, session):
                others = remove_session(journal, session)
            print(f"removed {session}")
            if others:
                print(f"its files stay for its copy in {' and '.join(map(repr, others))}", file=sys.stderr)


@report_app.command()
def report(
    session: Id,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where the page is written.")],
) -> None:
    """Write one self-contained HTML file about a session."""
    from agentrunner.render.report import html_report

    with open_here() as journal:
        events = journal.load(journal.find(session))
    root = Path(events[0].data["workspace"])
    try:
        html.write_text(html_report(events, root if root.is_dir() else None), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{str(html)!r} cannot be written: {error.strerror}", "give --html another path") from None
    print(f"wrote {html}", file=sys.stderr)
