"""The journal as a file: who may read it, large payloads beside it, full disks, and files that are no journal."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
from pathlib import Path

import pytest

from agentrunner.errors import JournalError, JournalFull, UsageError
from agentrunner.journal import SqlJournal, open_journal, session_folder
from agentrunner.journal.sqlite import SqliteDatabase
from tests.journal.parts import CREATED, append


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


def test_large_payloads_are_kept_once_outside_of_the_database(home: Path, file_journal: SqlJournal) -> None:
    large = {"content": "ä" * 200_000}
    append(file_journal, "s", 0, ("session.created", CREATED), ("tool.finished", large), ("tool.finished", large))
    append(file_journal, "t", 0, ("session.created", CREATED), ("tool.finished", large))
    blobs = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    assert [path.parent.name for path in blobs] == [blobs[0].name[:2]]
    assert [event.data for event in file_journal.load("s")] == [CREATED, large, large]
    with sqlite3.connect(home / "agent.db") as db:
        assert db.execute("SELECT DISTINCT data FROM events WHERE blob <> ''").fetchall() == [("",)]
    db.close()
    file_journal.remove("s")
    assert file_journal.load("t")[1].data == large
    file_journal.remove("t")
    assert not blobs[0].exists()


def test_a_payload_that_was_lost_or_changed_is_named(home: Path, file_journal: SqlJournal) -> None:
    append(file_journal, "s", 0, ("session.created", {"goal": "g" * 300_000}))
    (blob,) = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    blob.write_text("{}")
    with pytest.raises(JournalError, match=re.escape(str(blob))):
        file_journal.load("s")
    blob.unlink()
    with pytest.raises(JournalError, match=re.escape(str(blob))):
        file_journal.load("s")
    assert file_journal.sessions()[0].goal == "g" * 400


def test_a_full_disk_writes_nothing_says_where_and_leaves_the_journal_usable(home: Path) -> None:
    database = SqliteDatabase(home)
    journal = SqlJournal(home, database)
    append(journal, "s", 0, ("session.created", CREATED))
    db: sqlite3.Connection = database._db  # pyright: ignore[reportPrivateUsage]
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
