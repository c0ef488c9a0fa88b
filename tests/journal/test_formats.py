"""Journals of every format there ever was: recorded by the program of their time, they open for ever."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.journal import SqlJournal, open_journal
from agentrunner.journal.schema import MIGRATIONS
from agentrunner.render.jsonl import read_export
from agentrunner.types import Event
from tests.support.postgres import Server

FORMATS = Path(__file__).parent / "formats"
VERSIONS = sorted(int(path.name) for path in FORMATS.iterdir() if path.is_dir())


def recorded(version: int) -> dict[str, list[Event]]:
    with (FORMATS / str(version) / "events.jsonl").open("rb") as lines:
        return {id_: list(some) for id_, some in itertools.groupby(read_export(lines), lambda event: event.session_id)}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=["sqlite", "postgres"])
def old(request: pytest.FixtureRequest, version: int, home: Path) -> Iterator[SqlJournal]:
    """The recorded journal, opened."""
    folder, url = FORMATS / str(version), None
    home.mkdir(mode=0o700)
    if request.param == "sqlite":
        shutil.copy(folder / "agent.db", home)
        shutil.copytree(folder / "blobs", home / "blobs")
    else:
        server: Server = request.getfixturevalue("postgres")
        url = server.new_schema()
        _execute(url, (folder / "postgres.sql").read_text(encoding="utf-8"))
    with contextlib.closing(open_journal(home, url)) as journal:
        yield journal


def _execute(url: str, statements: str) -> None:
    import psycopg

    with contextlib.closing(psycopg.connect(url, autocommit=True)) as db:
        db.execute(statements.encode())


def test_every_format_is_recorded() -> None:
    assert list(range(1, len(MIGRATIONS) + 1)) == VERSIONS


def test_an_old_journal_holds_what_was_written_and_can_be_written_on(old: SqlJournal, version: int) -> None:
    sessions = recorded(version)
    assert len(sessions) >= 2
    assert {row.id for row in old.sessions()} == set(sessions)
    for session_id, events in sessions.items():
        assert old.load(session_id) == events
        claimed = asyncio.run(old.append(session_id, len(events), [("session.claimed", "", {"owner": "new"})]))
        assert old.load(session_id) == events + claimed
        old.remove(session_id)
        assert old.load(session_id) == []


def test_an_old_journal_lists_its_sessions_and_keeps_its_inbox(old: SqlJournal) -> None:
    finished, asked = sorted(old.sessions())
    assert (finished.goal, finished.status, finished.reason, finished.steps) == (
        "write a.txt",
        "completed",
        "goal_met",
        3,
    )
    assert (asked.id, asked.status) == ("asked", "in_progress")
    assert [entry[1:] for entry in old.drain(finished.id)] == [("message", {"text": "and b.txt"})]
    assert old.drain("asked") == []
    assert old.post("asked", "cancel", {}) > max(id_ for id_, _, _ in old.drain(finished.id))
