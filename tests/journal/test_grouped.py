"""Many sessions on one journal: what they append together shares commits, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.errors import Fenced, JournalError, JournalFull
from agentrunner.journal import GroupedJournal, SqlJournal, new_session_id, open_journal
from agentrunner.journal.sqlite import SqliteDatabase
from agentrunner.types import JSON
from tests.journal.parts import append

NOTHING: JSON = {}


@pytest.fixture
def grouped(journal: SqlJournal) -> Iterator[GroupedJournal]:
    with contextlib.closing(GroupedJournal(journal)) as opened:
        yield opened


def test_what_many_sessions_append_is_there_when_each_append_returns(
    journal: SqlJournal, grouped: GroupedJournal
) -> None:
    ids = [new_session_id() for _ in range(30)]

    async def session(id_: str) -> None:
        for step in range(0, 12, 2):
            pair = [("note", "/llm:1", {"step": step}), ("session.claimed", "", {"step": step + 1})]
            [_, event] = await grouped.append(id_, step, pair)
            assert (event.seq, event.data) == (step + 2, {"step": step + 1})
            assert journal.last(id_) == event

    async def run() -> None:
        await asyncio.gather(*map(session, ids))

    asyncio.run(run())
    for id_ in ids:
        events = grouped.load(id_)
        assert [event.data["step"] for event in events] == list(range(12))
        assert [event.seq for event in events] == list(range(1, 13))


def test_what_they_append_together_is_one_commit(home: Path) -> None:
    journal = open_journal(home)
    grouped = GroupedJournal(journal)
    with sqlite3.connect(home / "agent.db") as other:
        other.execute("BEGIN IMMEDIATE")  # While this lasts, nobody else can commit, and everything gathers.

        async def run() -> None:
            appends = [asyncio.ensure_future(grouped.append(f"s{n}", 0, [("note", "", {})])) for n in range(50)]
            await asyncio.sleep(0.2)
            assert not any(one.done() for one in appends)
            before = _frames(home)
            other.execute("ROLLBACK")
            await asyncio.gather(*appends)
            # One page of rows, a page of the index, and what each commit adds: 50 commits write far more.
            assert _frames(home) - before < 20

        asyncio.run(run())
    other.close()
    grouped.close()
    journal.close()


def _frames(home: Path) -> int:
    return (home / "agent.db-wal").stat().st_size // 4096


def test_a_session_that_was_taken_over_fails_alone_and_leaves_nothing(
    journal: SqlJournal, grouped: GroupedJournal
) -> None:
    ids = [new_session_id() for _ in range(20)]

    async def run() -> list[object]:
        for id_ in ids:
            await grouped.append(id_, 0, [("note", "", {})])
        await journal.append(ids[7], 1, [("session.claimed", "", {"owner": "other"})])
        journal.remove(ids[11])
        pair = [("note", "", NOTHING), ("note", "", NOTHING)]
        return list(await asyncio.gather(*(grouped.append(id_, 1, pair) for id_ in ids), return_exceptions=True))

    results = asyncio.run(run())
    assert [isinstance(result, Fenced) for result in results] == [id_ in (ids[7], ids[11]) for id_ in ids]
    assert [event.type for event in journal.load(ids[7])] == ["note", "session.claimed"]
    assert journal.load(ids[11]) == []
    assert all(len(journal.load(id_)) == 3 for id_ in ids if id_ not in (ids[7], ids[11]))


def test_two_appends_of_one_session_at_once_are_written_in_order(journal: SqlJournal, grouped: GroupedJournal) -> None:
    async def run() -> None:
        await asyncio.gather(*(grouped.append("s", n, [("note", "", {"n": n})]) for n in range(5)))

    asyncio.run(run())
    assert [event.data["n"] for event in journal.load("s")] == list(range(5))


def test_what_cannot_be_written_as_json_fails_alone(journal: SqlJournal, grouped: GroupedJournal) -> None:
    async def run() -> list[object]:
        one = grouped.append("good", 0, [("note", "", {})])
        other = grouped.append("bad", 0, [("note", "", {}), ("note", "", {"x": object()})])
        return list(await asyncio.gather(one, other, return_exceptions=True))

    _, failure = asyncio.run(run())
    assert isinstance(failure, TypeError)
    assert len(journal.load("good")) == 1
    assert journal.load("bad") == []


def test_a_cancelled_append_still_says_what_it_wrote_and_the_cancellation_comes_next(grouped: GroupedJournal) -> None:
    written: list[int] = []

    async def session() -> None:
        written.append((await grouped.append("s", 0, [("note", "", {})]))[-1].seq)
        await asyncio.sleep(0)
        written.append(99)

    async def run() -> None:
        task = asyncio.create_task(session())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert written == [1]
    assert len(grouped.load("s")) == 1


def test_a_timeout_around_an_append_is_still_a_timeout(grouped: GroupedJournal) -> None:
    async def run() -> None:
        async with asyncio.timeout(0):
            await grouped.append("s", 0, [("note", "", {})])
            await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert len(grouped.load("s")) == 1


def test_a_commit_that_fails_is_told_to_everybody_who_waits_and_nothing_of_it_is_written(home: Path) -> None:
    database = SqliteDatabase(home)
    journal = SqlJournal(home, database)
    ids = [f"s{n}" for n in range(10)]
    for id_ in ids:
        append(journal, id_, 0, ("note", {}))
    db: sqlite3.Connection = database._db  # pyright: ignore[reportPrivateUsage]
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    grouped = GroupedJournal(journal)

    async def run(size: int) -> list[object]:
        events = [("note", "", NOTHING), ("tool.finished", "", {"content": "x" * size})]
        return list(await asyncio.gather(*(grouped.append(id_, 1, events) for id_ in ids), return_exceptions=True))

    with sqlite3.connect(home / "agent.db") as other:
        other.execute("BEGIN IMMEDIATE")  # so that they gather, and fail together
        loop = asyncio.new_event_loop()
        loop.call_later(0.2, other.execute, "ROLLBACK")
        results = loop.run_until_complete(run(20_000))
        loop.close()
    other.close()
    assert [type(result) for result in results].count(JournalFull) >= 9  # the first may have gone ahead alone
    assert {len(journal.load(id_)) for id_, result in zip(ids, results, strict=True) if result is not None} == {1}
    db.execute("PRAGMA max_page_count = 1000000")
    assert all(isinstance(result, list) for result in asyncio.run(run(20_000)))
    assert {len(grouped.load(id_)) for id_ in ids} == {3}
    grouped.close()
    journal.close()


def test_after_it_is_closed_nothing_waits_for_ever(journal: SqlJournal) -> None:
    grouped = GroupedJournal(journal)

    async def run() -> None:
        waiting = asyncio.ensure_future(grouped.append("s", 0, [("note", "", {})]))
        await asyncio.sleep(0)
        grouped.close()
        grouped.close()
        await waiting
        with pytest.raises(JournalError, match="is closed"):
            await grouped.append("s", 1, [("note", "", {})])

    asyncio.run(run())
    assert len(journal.load("s")) == 1


def test_what_others_post_is_seen_a_moment_later_until_it_is_handled(
    journal: SqlJournal, grouped: GroupedJournal
) -> None:
    async def run() -> None:
        await grouped.append("s", 0, [("note", "", {})])
        assert grouped.drain("s") == []
        entry = journal.post("s", "message", {"text": "hello"})
        await asyncio.sleep(0.1)
        assert grouped.drain("s") == [(entry, "message", {"text": "hello"})]
        assert grouped.drain("t") == []
        await grouped.append("s", 1, [("message.added", "", {"text": "hello"})], handled=[entry])
        assert grouped.drain("s") == []

    asyncio.run(run())


_SESSIONS = """
import asyncio, sys
from pathlib import Path
from agentrunner.journal import GroupedJournal, open_journal

async def session(journal, id_):
    after = 0
    while True:
        pair = [("a", "", {"x": "y" * 500}), ("b", "", {})]
        after = (await journal.append(id_, after, pair))[-1].seq
        print(id_, after, flush=True)

async def main(journal):
    await asyncio.gather(*(session(journal, f"s{n}") for n in range(20)))

asyncio.run(main(GroupedJournal(open_journal(Path(sys.argv[1]), *sys.argv[2:]))))
"""


@pytest.mark.parametrize("seconds", [0.05, 0.13, 0.3])
def test_a_killed_process_has_written_all_that_it_said_and_no_half_of_anything(
    home: Path, url: str | None, tmp_path: Path, seconds: float
) -> None:
    said = tmp_path / "said"
    with said.open("w") as output:
        arguments = [sys.executable, "-c", _SESSIONS, str(home), *([url] if url else [])]
        process = subprocess.Popen(arguments, stdout=output)
        while not said.stat().st_size:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    last: dict[str, int] = defaultdict(int)
    for line in said.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            id_, seq = line.split()
            last[id_] = int(seq)
    with contextlib.closing(open_journal(home, url)) as journal:
        for n in range(20):
            events = journal.load(f"s{n}")
            assert [event.type for event in events] == ["a", "b"] * (len(events) // 2)
            assert len(events) - last[f"s{n}"] in (0, 2)
