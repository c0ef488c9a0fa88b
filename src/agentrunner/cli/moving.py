"""`agent sessions import` and `agent sessions migrate`: sessions from another machine, and to another database."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentrunner.cli.options import load_settings
from agentrunner.errors import SessionBusy, UsageError

if TYPE_CHECKING:
    from agentrunner.types import Event


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `sessions export` printed; - is standard input.")],
    workspace: Annotated[
        Path | None, typer.Option("--workspace", metavar="DIR", help="Where its workspace is on this machine.")
    ] = None,
) -> None:
    """Take in a session that was exported, here or on another machine."""
    with contextlib.ExitStack() as stack:
        try:
            lines: Iterable[bytes] = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise UsageError(f"{file!r} cannot be read: {error.strerror}", "give a file that exists, or -") from None
        try:
            _take_in(lines, workspace)
        except ValueError as error:
            raise UsageError(f"{file!r} is not an exported session: {error}", _HOW) from None


def _take_in(lines: Iterable[bytes], workspace: Path | None) -> None:
    """Raises `ValueError` for lines that are no exported session."""
    from agentrunner.journal import SessionLock, open_journal, share
    from agentrunner.runner.carrying import received

    events, beside = _read(lines)
    session_id = events[0].session_id
    events[0], dropped = _without_guarded(events[0])
    if workspace is not None:
        events[0] = replace(events[0], data=events[0].data | {"workspace": str(workspace.absolute())})
    settings = load_settings().settings
    with (
        contextlib.closing(open_journal(settings.home, settings.database_url)) as journal,
        SessionLock(journal.home, session_id),
    ):
        there = journal.load(session_id)
        shared = min(len(there), len(events))
        if there[:shared] != events[:shared]:
            raise UsageError(
                f"there is another session {session_id}", f"see 'agent sessions show {session_id}', or remove it"
            )
        # Files of a session that this journal has not: another database has it.
        shared_files = not there and (journal.home / "sessions" / session_id).exists()
        with received(journal.home, beside) as carried:
            if shared_files:
                share(journal.home, session_id, journal.database)
            if new := events[len(there) :]:
                journal.copy_in(session_id, new, len(there))
            carried.keep(journal.home, session_id)
    if dropped:
        print(f"not taken over from the file, yours will be used: {', '.join(dropped)}", file=sys.stderr)
    print(f"its workspace is {events[0].data['workspace']!r}", file=sys.stderr)
    if not carried.records:
        print("no states of the workspace came along (export it --with-files), so it cannot be forked", file=sys.stderr)
    print(f"imported {session_id}" if new else f"{session_id} was there already")


def migrate(
    url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://USER:PASSWORD@HOST:PORT/DATABASE")],
) -> None:
    """Copy all sessions from SQLite to PostgreSQL. It may be repeated; what is there already is not copied again."""
    from agentrunner.journal import SessionLock, copy_session, open_journal

    home = load_settings().settings.home
    if not (home / "agent.db").is_file():
        raise UsageError(f"there is no journal in {str(home)!r}", "set AGENT_HOME to where the sessions are")
    with contextlib.closing(open_journal(home)) as source, contextlib.closing(open_journal(home, url)) as target:
        rows, busy, copied, events = source.sessions(), list[str](), 0, 0
        for row in reversed(rows):
            try:
                with SessionLock(home, row.id):
                    new = copy_session(source, target, row.id)
            except SessionBusy:
                busy.append(row.id)
                continue
            copied, events = copied + (new.events > 0), events + new.events
        name = target.name
    there = len(rows) - copied - len(busy)
    print(f"copied {copied} sessions ({events} events) to {name}; {there} were there already, all compared")
    if busy:
        raise SessionBusy(f"{len(busy)} sessions are at work and were left out: {', '.join(busy)}", "repeat it later")
    print("set AGENT_DATABASE_URL to use it; the copy in SQLite is left as it is, and can be removed", file=sys.stderr)


def _read(lines: Iterable[bytes]) -> "tuple[list[Event], Iterator[dict[str, Any]]]":
    """The events, and what follows them, which may be large and is read as it is needed."""
    from agentrunner.render.jsonl import read_export

    events: list[Event] = []
    found = read_export(lines)
    rest: Iterator[Any] = iter(())
    for each in found:
        if isinstance(each, dict):
            rest = _besides(each, found)
            break
        events.append(each)
    created = events[0].data if events and events[0].type == "session.created" else {}
    if not isinstance(created.get("workspace"), str) or not isinstance(created.get("_settings"), dict):
        raise ValueError("it does not begin with session.created")
    return events, rest


def _besides(first: dict[str, Any], more: "Iterator[Event | dict[str, Any]]") -> Iterator[dict[str, Any]]:
    yield first
    for each in more:
        if not isinstance(each, dict):
            raise ValueError(f"event {each.seq} does not stand with the others")
        yield each


_HOW = "make one with 'agent sessions export ID > FILE'"


def _without_guarded(created: "Event") -> "tuple[Event, list[str]]":
    """A file from elsewhere may not say where the key is sent, what is approved or how wide the sandbox is: the same
    that a project's files may not. What is left out comes from the settings of whoever resumes the session."""
    from agentrunner.config.settings import Settings, meta_of

    said: dict[str, Any] = created.data["_settings"]
    guards = {name: meta_of(name).guard for name in said if name in Settings.model_fields}
    kept = {
        name: value
        for name, value in said.items()
        if guards.get(name) == "free" or (guards.get(name) == "clearing" and value)
    }
    dropped = [name.replace("_", "-") for name, value in said.items() if name not in kept and value]
    return replace(created, data=created.data | {"_settings": kept}), dropped
