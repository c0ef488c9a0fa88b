"""Events and inbox, in both databases: what was appended comes back, and two owners cannot both write."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrunner.errors import Fenced, UsageError
from agentrunner.journal import SessionLock, SqlJournal, new_session_id, open_journal, session_folder
from agentrunner.types import JSON, Event
from tests.journal.parts import CREATED, append, python


def test_appended_events_come_back_as_they_were(journal: SqlJournal) -> None:
    first = append(journal, "s", 0, ("session.created", CREATED), ("session.claimed", {"owner": "me"}))
    second = append(journal, "s", 2, ("request.sent", {"step": 1}))
    assert journal.load("s") == first + second
    assert journal.load("s", after=2) == second
    assert journal.last("s") == second[-1]
    assert [event.seq for event in first + second] == [1, 2, 3]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first[0].at)
    assert journal.load("other") == []
    assert journal.last("other") is None


def test_the_journal_is_still_there_when_it_is_opened_again(home: Path, url: str | None) -> None:
    journal = open_journal(home, url)
    written = append(journal, "s", 0, ("session.created", CREATED))
    journal.close()
    journal = open_journal(home, url)
    assert journal.load("s") == written
    journal.close()


def test_of_two_owners_the_one_that_claims_fences_the_other_off(home: Path, url: str | None) -> None:
    old, new = open_journal(home, url), open_journal(home, url)
    append(old, "s", 0, ("session.created", CREATED))
    append(new, "s", 1, ("session.claimed", {"owner": "new"}))
    with pytest.raises(Fenced, match="session s went on in another process"):
        append(old, "s", 1, ("tool.finished", {}), ("request.sent", {}))
    assert [event.type for event in new.load("s")] == ["session.created", "session.claimed"]
    old.close()
    new.close()


def test_a_fenced_commit_writes_none_of_its_events_and_handles_nothing(journal: SqlJournal) -> None:
    append(journal, "s", 0, ("session.created", CREATED), ("session.claimed", {}))
    entry = journal.post("s", "cancel", {})
    with pytest.raises(Fenced):
        append(journal, "s", 1, ("a", {}), ("b", {}), handled=(entry,))
    assert len(journal.load("s")) == 2
    assert journal.drain("s") == [(entry, "cancel", {})]


def test_a_session_that_was_deleted_under_its_writer_does_not_begin_in_the_middle(journal: SqlJournal) -> None:
    append(journal, "s", 0, ("session.created", CREATED))
    journal.remove("s")
    with pytest.raises(Fenced):
        append(journal, "s", 1, ("request.sent", {}))
    assert journal.load("s") == []


RACE = """
import asyncio, sys
from pathlib import Path
from agentrunner.errors import Fenced
from agentrunner.journal import open_journal
journal = open_journal(Path(sys.argv[1]), sys.argv[2] or None)
won = 0
for after in range(40):
    try:
        asyncio.run(journal.append("s", after, [("e", "", {"by": sys.argv[3]})]))
        won += 1
    except Fenced:
        pass
print(won)
"""


def test_processes_that_create_the_database_and_race_for_every_number_never_both_get_one(
    home: Path, url: str | None
) -> None:
    racers = [python(RACE, home, url or "", n) for n in range(4)]
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    assert sum(int(output) for output in outputs) == 40
    journal = open_journal(home, url)
    assert [event.seq for event in journal.load("s")] == list(range(1, 41))
    journal.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from agentrunner.journal import open_journal
journal = open_journal(Path(sys.argv[1]), sys.argv[2] or None)
after = 0
while True:
    pair = [("a", str(after), {"n": after}), ("b", str(after), {"n": after, "text": "x" * 300_000 * (after % 4 == 0)})]
    asyncio.run(journal.append("s", after, pair))
    after += 2
    print(after, flush=True)
"""


@pytest.mark.parametrize("commits", [1, 2, 9])
def test_a_killed_writer_leaves_every_commit_that_it_reported_and_no_half_of_one(
    home: Path, url: str | None, commits: int
) -> None:
    writer = python(WRITER, home, url or "")
    assert writer.stdout is not None
    reported = [writer.stdout.readline() for _ in range(commits)][-1]
    writer.send_signal(signal.SIGKILL)
    reported = ([reported, *writer.stdout.read().split()])[-1]
    writer.wait(30)
    writer.stdout.close()
    journal = open_journal(home, url)
    events = journal.load("s")
    assert len(events) >= int(reported)
    assert len(events) % 2 == 0
    append(journal, "s", len(events), ("session.claimed", {}))
    journal.close()


def test_what_waits_in_the_inbox_waits_until_its_outcome_is_journalled(home: Path, url: str | None) -> None:
    owner, other = open_journal(home, url), open_journal(home, url)
    append(owner, "s", 0, ("session.created", CREATED))
    first = other.post("s", "message", {"text": "hurry"})
    second = other.post("s", "cancel", {})
    other.post("t", "cancel", {})
    assert owner.drain("s") == [(first, "message", {"text": "hurry"}), (second, "cancel", {})]
    assert owner.drain("s") == other.drain("s")
    append(owner, "s", 1, ("message.added", {"text": "hurry"}), handled=(first,))
    assert owner.drain("s") == [(second, "cancel", {})]
    owner.close()
    other.close()


def test_removing_a_session_leaves_nothing_of_it_and_nothing_else_changes(home: Path, journal: SqlJournal) -> None:
    kept = append(journal, "kept", 0, ("session.created", CREATED))
    append(journal, "gone", 0, ("session.created", CREATED))
    journal.post("gone", "cancel", {})
    (session_folder(home, "gone") / "output.txt").write_text("text")
    with SessionLock(home, "gone"):
        journal.remove("gone")
    assert journal.load("gone") == []
    assert journal.drain("gone") == []
    assert list((home / "sessions").iterdir()) == []
    assert list((home / "locks").iterdir()) == []
    assert journal.load("kept") == kept


ODD: list[JSON] = [
    {"text": "grüße 🐧 \x00 \x1b[31m \u202e \u2028"},
    {"text": "lone \ud800 and \udfff", "\udc80": ["\ud83d"]},
    {"nested": {"list": [1, 2.5, None, True, {"": ""}]}, "big": 2**70, "tiny": 5e-324, "minus": -0.0},
    {},
]


@pytest.mark.parametrize("data", ODD)
def test_odd_text_and_numbers_come_back_as_they_were(journal: SqlJournal, data: JSON) -> None:
    append(journal, "s", 0, ("odd", data))
    assert journal.load("s")[0].data == data
    journal.post("s", "message", data)
    assert journal.drain("s")[0][2] == data


def test_numbers_that_json_does_not_know_become_null_at_once(journal: SqlJournal) -> None:
    (event,) = append(journal, "s", 0, ("odd", {"a": float("nan"), "b": [float("inf"), (1.0, "x")]}))
    assert event.data == {"a": None, "b": [None, [1.0, "x"]]}
    assert journal.load("s") == [event]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=3)))
def test_whatever_is_appended_is_what_load_returns(journal: SqlJournal, commits: list[list[JSON]]) -> None:
    session = new_session_id()
    written: list[Event] = []
    for commit in commits:
        written += append(journal, session, len(written), *(("e", data) for data in commit))
    assert journal.load(session) == written
    assert [event.data for event in written] == [data for commit in commits for data in commit]


def test_new_ids_sort_by_time_and_differ() -> None:
    ids = [new_session_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert [id_[:15] for id_ in ids] == sorted(id_[:15] for id_ in ids)
    assert all(re.fullmatch(r"\d{8}-\d{6}-[a-z2-9]{8}", id_) for id_ in ids)


@pytest.mark.parametrize("id_", ["../x", "", ".hidden", "a/b", "a\x00b", "-rf", "x" * 129, "a\n"])
def test_an_id_that_is_not_safe_as_a_file_name_is_refused_everywhere(home: Path, journal: SqlJournal, id_: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        session_folder(home, id_)
    with pytest.raises(UsageError, match="cannot be used"):
        append(journal, id_, 0, ("session.created", CREATED))
    with pytest.raises(UsageError, match="cannot be used"):
        journal.remove(id_)
