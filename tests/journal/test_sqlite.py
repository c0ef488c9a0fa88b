"""Events and inbox: what was appended comes back, two owners cannot both write, and a bad database says so."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrunner.errors import Fenced, JournalError, JournalFull, UsageError
from agentrunner.journal import SessionLock, SqliteJournal, new_session_id, open_journal, session_folder
from agentrunner.types import JSON, Event

CREATED: JSON = {"goal": "count the penguins", "strategy": "autogpt", "workspace": "/w"}


def append(journal: SqliteJournal, session: str, after: int, *events: tuple[str, JSON], handled: tuple[int, ...] = ()):
    return asyncio.run(
        journal.append(session, after, [(type_, f"/k:{n}", data) for n, (type_, data) in enumerate(events)], handled)
    )


def python(code: str, *args: object, **kwargs: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        **kwargs,
    )


def test_appended_events_come_back_as_they_were(journal: SqliteJournal) -> None:
    first = append(journal, "s", 0, ("session.created", CREATED), ("session.claimed", {"owner": "me"}))
    second = append(journal, "s", 2, ("request.sent", {"step": 1}))
    assert journal.load("s") == first + second
    assert journal.load("s", after=2) == second
    assert journal.last("s") == second[-1]
    assert [event.seq for event in first + second] == [1, 2, 3]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first[0].at)
    assert journal.load("other") == []
    assert journal.last("other") is None


def test_the_journal_is_still_there_when_it_is_opened_again(home: Path) -> None:
    journal = open_journal(home)
    written = append(journal, "s", 0, ("session.created", CREATED))
    journal.close()
    journal = open_journal(home)
    assert journal.load("s") == written
    journal.close()


def test_everything_in_the_home_belongs_to_its_owner_only(home: Path) -> None:
    before = os.umask(0)
    try:
        journal = open_journal(home)
        append(journal, "s", 0, ("session.created", {"goal": "x" * 300_000}))
        session_folder(home, "s")
        for path in [home, *home.rglob("*")]:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        journal.close()
    finally:
        os.umask(before)


def test_of_two_owners_the_one_that_claims_fences_the_other_off(home: Path) -> None:
    old, new = open_journal(home), open_journal(home)
    append(old, "s", 0, ("session.created", CREATED))
    append(new, "s", 1, ("session.claimed", {"owner": "new"}))
    with pytest.raises(Fenced, match="session s went on in another process"):
        append(old, "s", 1, ("tool.finished", {}), ("request.sent", {}))
    assert [event.type for event in new.load("s")] == ["session.created", "session.claimed"]
    old.close()
    new.close()


def test_a_fenced_commit_writes_none_of_its_events_and_handles_nothing(journal: SqliteJournal) -> None:
    append(journal, "s", 0, ("session.created", CREATED), ("session.claimed", {}))
    entry = journal.post("s", "cancel", {})
    with pytest.raises(Fenced):
        append(journal, "s", 1, ("a", {}), ("b", {}), handled=(entry,))
    assert len(journal.load("s")) == 2
    assert journal.drain("s") == [(entry, "cancel", {})]


def test_a_session_that_was_deleted_under_its_writer_does_not_begin_in_the_middle(journal: SqliteJournal) -> None:
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
journal = open_journal(Path(sys.argv[1]))
won = 0
for after in range(40):
    try:
        asyncio.run(journal.append("s", after, [("e", "", {"by": sys.argv[2]})]))
        won += 1
    except Fenced:
        pass
print(won)
"""


def test_processes_that_create_the_database_and_race_for_every_number_never_both_get_one(home: Path) -> None:
    racers = [python(RACE, home, n) for n in range(4)]
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    assert sum(int(output) for output in outputs) == 40
    journal = open_journal(home)
    assert [event.seq for event in journal.load("s")] == list(range(1, 41))
    journal.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from agentrunner.journal import open_journal
journal = open_journal(Path(sys.argv[1]))
after = 0
while True:
    pair = [("a", str(after), {"n": after}), ("b", str(after), {"n": after, "text": "x" * 300_000 * (after % 4 == 0)})]
    asyncio.run(journal.append("s", after, pair))
    after += 2
    print(after, flush=True)
"""


@pytest.mark.parametrize("commits", [1, 2, 9])
def test_a_killed_writer_leaves_every_commit_that_it_reported_and_no_half_of_one(home: Path, commits: int) -> None:
    writer = python(WRITER, home)
    assert writer.stdout is not None
    reported = [writer.stdout.readline() for _ in range(commits)][-1]
    writer.send_signal(signal.SIGKILL)
    reported = ([reported, *writer.stdout.read().split()])[-1]
    writer.wait(30)
    writer.stdout.close()
    journal = open_journal(home)
    events = journal.load("s")
    assert len(events) >= int(reported)
    assert len(events) % 2 == 0
    append(journal, "s", len(events), ("session.claimed", {}))
    journal.close()


def test_what_waits_in_the_inbox_waits_until_its_outcome_is_journalled(home: Path) -> None:
    owner, other = open_journal(home), open_journal(home)
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


def test_large_payloads_are_kept_once_outside_of_the_database(home: Path, journal: SqliteJournal) -> None:
    large = {"content": "ä" * 200_000}
    append(journal, "s", 0, ("session.created", CREATED), ("tool.finished", large), ("tool.finished", large))
    append(journal, "t", 0, ("session.created", CREATED), ("tool.finished", large))
    blobs = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    assert [path.parent.name for path in blobs] == [blobs[0].name[:2]]
    assert [event.data for event in journal.load("s")] == [CREATED, large, large]
    with sqlite3.connect(home / "agent.db") as db:
        assert db.execute("SELECT DISTINCT data FROM events WHERE blob <> ''").fetchall() == [("",)]
    db.close()
    journal.remove("s")
    assert journal.load("t")[1].data == large
    journal.remove("t")
    assert not blobs[0].exists()


def test_a_payload_that_was_lost_or_changed_is_named(home: Path, journal: SqliteJournal) -> None:
    append(journal, "s", 0, ("session.created", {"goal": "g" * 300_000}))
    (blob,) = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    blob.write_text("{}")
    with pytest.raises(JournalError, match=re.escape(str(blob))):
        journal.load("s")
    blob.unlink()
    with pytest.raises(JournalError, match=re.escape(str(blob))):
        journal.load("s")
    assert journal.sessions()[0].goal == "g" * 400


def test_removing_a_session_leaves_nothing_of_it_and_nothing_else_changes(home: Path, journal: SqliteJournal) -> None:
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
def test_odd_text_and_numbers_come_back_as_they_were(journal: SqliteJournal, data: JSON) -> None:
    append(journal, "s", 0, ("odd", data))
    assert journal.load("s")[0].data == data
    journal.post("s", "message", data)
    assert journal.drain("s")[0][2] == data


def test_numbers_that_json_does_not_know_become_null_at_once(journal: SqliteJournal) -> None:
    (event,) = append(journal, "s", 0, ("odd", {"a": float("nan"), "b": [float("inf"), (1.0, "x")]}))
    assert event.data == {"a": None, "b": [None, [1.0, "x"]]}
    assert journal.load("s") == [event]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(commits=st.lists(st.lists(st.dictionaries(st.text(), json_values, max_size=4), min_size=1, max_size=3)))
def test_whatever_is_appended_is_what_load_returns(commits: list[list[JSON]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = open_journal(Path(folder))
        written: list[Event] = []
        for commit in commits:
            written += append(journal, "s", len(written), *(("e", data) for data in commit))
        assert journal.load("s") == written
        assert [event.data for event in written] == [data for commit in commits for data in commit]
        journal.close()


def test_a_full_disk_writes_nothing_says_where_and_leaves_the_journal_usable(home: Path) -> None:
    journal = open_journal(home)
    append(journal, "s", 0, ("session.created", CREATED))
    db: sqlite3.Connection = journal._db  # pyright: ignore[reportPrivateUsage]
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalFull, match=r"agent\.db' could not be written: database or disk is full"):
        append(journal, "s", 1, ("a", {}), ("tool.finished", {"content": "x" * 100_000}))
    assert len(journal.load("s")) == 1
    db.execute("PRAGMA max_page_count = 1000000")
    append(journal, "s", 1, ("tool.finished", {"content": "x" * 100_000}))
    journal.close()


@pytest.mark.parametrize("size", [100_000, 400_000])
def test_a_file_system_without_space_is_reported_for_rows_and_for_payloads(tmp_path: Path, size: int) -> None:
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True)
    if mount.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        journal = open_journal(tmp_path / "home")
        written = 0
        with pytest.raises(JournalFull, match=r"agent\.db"):  # noqa: PT012 - which of them fails, the disk decides
            for n in range(20):
                append(journal, "s", written, ("a", {}), ("b", {"n": n, "content": "x" * size}))
                written += 2
        assert len(journal.load("s")) == written
        journal.close()
        reopened = open_journal(tmp_path / "home")
        assert len(reopened.load("s")) == written
        reopened.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_file_that_is_no_database_is_left_alone_and_named(home: Path) -> None:
    home.mkdir()
    (home / "agent.db").write_text("hello, I am a letter. " * 100)
    with pytest.raises(JournalError, match=r"agent\.db' is damaged or not a journal.*move it away") as caught:
        open_journal(home)
    assert caught.value.exit_code == 2
    assert (home / "agent.db").read_text().startswith("hello")


def test_a_database_with_broken_pages_is_named(home: Path) -> None:
    journal = open_journal(home)
    for after in range(50):
        append(journal, "s", after, ("e", {"text": "x" * 3000}))
    journal.close()
    whole = bytearray((home / "agent.db").read_bytes())
    whole[4096 * 2 :] = b"\xff" * (len(whole) - 4096 * 2)
    (home / "agent.db").write_bytes(whole)
    journal = open_journal(home)
    with pytest.raises(JournalError, match=r"agent\.db' is damaged"):
        journal.load("s")
    journal.close()


def test_the_database_of_a_newer_version_is_refused_and_both_versions_are_named(home: Path) -> None:
    open_journal(home).close()
    with sqlite3.connect(home / "agent.db") as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(JournalError, match=r"has format 7, this program knows formats up to 1; update agentrunner"):
        open_journal(home)


@pytest.mark.parametrize("where", ["file", "file/below", "folder-as-database"])
def test_a_home_that_cannot_hold_a_journal_is_a_usage_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder-as-database" / "agent.db").mkdir(parents=True)
    with pytest.raises(UsageError, match="AGENT_HOME"):
        open_journal(tmp_path / where)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_is_not_writable_is_a_usage_error(home: Path) -> None:
    home.mkdir(mode=0o500)
    with pytest.raises(UsageError, match="AGENT_HOME"):
        open_journal(home)


def test_a_postgres_url_is_refused_without_showing_its_password(home: Path) -> None:
    with pytest.raises(UsageError, match="not part of this version") as caught:
        open_journal(home, "postgresql://me:hunter2@db/agent")
    assert "hunter2" not in str(caught.value)
    assert not home.exists()


def test_new_ids_sort_by_time_and_differ() -> None:
    ids = [new_session_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert [id_[:15] for id_ in ids] == sorted(id_[:15] for id_ in ids)
    assert all(re.fullmatch(r"\d{8}-\d{6}-[a-z2-9]{8}", id_) for id_ in ids)


@pytest.mark.parametrize("id_", ["../x", "", ".hidden", "a/b", "a\x00b", "-rf", "x" * 129, "a\n"])
def test_an_id_that_is_not_safe_as_a_file_name_is_refused_everywhere(
    home: Path, journal: SqliteJournal, id_: str
) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        session_folder(home, id_)
    with pytest.raises(UsageError, match="cannot be used"):
        append(journal, id_, 0, ("session.created", CREATED))
    with pytest.raises(UsageError, match="cannot be used"):
        journal.remove(id_)
