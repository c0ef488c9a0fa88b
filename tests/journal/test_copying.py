"""Sessions from the file to the server and back: nothing is lost, comes twice or is overwritten."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.errors import JournalError, UsageError
from agentrunner.journal import Copied, SqlJournal, copy_session, open_journal
from agentrunner.types import Event
from tests.journal.parts import CREATED, append
from tests.support.postgres import Server


@pytest.fixture(params=["to the server", "to the file"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, postgres: Server) -> Iterator[tuple[SqlJournal, SqlJournal]]:
    with (
        contextlib.closing(open_journal(tmp_path / "a")) as file,
        contextlib.closing(open_journal(tmp_path / "b", postgres.new_schema())) as server,
    ):
        yield (file, server) if request.param == "to the server" else (server, file)


def test_a_copy_is_the_same_and_a_second_one_writes_nothing(pair: tuple[SqlJournal, SqlJournal]) -> None:
    source, target = pair
    events = append(source, "s", 0, ("session.created", CREATED), ("odd", {"text": "a\x00b \ud800 🐧", "big": 2**70}))
    events += append(source, "s", 2, *(("many", {"n": n}) for n in range(1200)), ("large", {"content": "ä" * 300_000}))
    source.post("s", "message", {"text": "hurry"})
    handled = source.post("s", "cancel", {})
    events += append(source, "s", len(events), ("cancel.requested", {}), handled=(handled,))
    assert copy_session(source, target, "s") == Copied(len(events), 1)
    assert target.load("s") == events
    assert [entry[1:] for entry in target.drain("s")] == [("message", {"text": "hurry"})]
    assert target.sessions() == source.sessions()
    assert copy_session(source, target, "s") == Copied(0, 0)
    assert len(target.drain("s")) == 1


def test_a_session_that_went_on_is_brought_up_to_date(pair: tuple[SqlJournal, SqlJournal]) -> None:
    source, target = pair
    append(source, "s", 0, ("session.created", CREATED))
    copy_session(source, target, "s")
    append(source, "s", 1, ("session.claimed", {}))
    assert copy_session(source, target, "s") == Copied(1, 0)
    append(target, "s", 2, ("request.sent", {}))
    assert copy_session(source, target, "s") == Copied(0, 0), "the target went on; that is not undone"
    assert len(target.load("s")) == 3


def test_a_session_that_went_on_in_both_is_left_alone(pair: tuple[SqlJournal, SqlJournal]) -> None:
    source, target = pair
    append(source, "s", 0, ("session.created", CREATED))
    copy_session(source, target, "s")
    append(source, "s", 1, ("session.claimed", {"owner": "here"}))
    theirs = append(target, "s", 1, ("session.claimed", {"owner": "there"}))
    with pytest.raises(UsageError, match="session s went on differently in"):
        copy_session(source, target, "s")
    assert target.load("s", after=1) == theirs


@pytest.mark.parametrize("numbers", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_events_with_gaps_are_not_taken_in(journal: SqlJournal, numbers: tuple[int, ...]) -> None:
    with pytest.raises(JournalError, match="not whole"):
        journal.copy_in("s", [Event("s", seq, "", "e", "", {}) for seq in numbers])
    assert journal.load("s") == []
