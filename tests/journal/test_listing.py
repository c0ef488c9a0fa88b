"""The listing of sessions, and finding one by a few typed characters."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from agentrunner.errors import UsageError
from agentrunner.journal import SessionRow, SqlJournal
from agentrunner.types import JSON


def record(journal: SqlJournal, session: str, *events: tuple[str, JSON]) -> None:
    after = len(journal.load(session))
    asyncio.run(journal.append(session, after, [(type_, "", data) for type_, data in events]))


def test_a_listing_shows_the_end_of_the_last_attempt_and_what_was_spent(journal: SqlJournal) -> None:
    created: JSON = {"goal": "g", "strategy": "babyagi", "workspace": "/w", "prompts": {"system": "x" * 400_000}}
    record(journal, "s", ("session.created", created), ("session.claimed", {"owner": "a"}))
    assert journal.sessions()[0].status == "in_progress"
    record(journal, "s", ("completion.received", {"step": 3, "spent_usd": 0.25, "text": "t"}))
    row = journal.sessions()[0]
    assert (row.status, row.steps, row.spent_usd) == ("in_progress", 3, 0.25)
    record(journal, "s", ("completion.received", {"step": None, "label": "wrap_up", "spent_usd": 0.26}))
    finished: JSON = {"status": "incomplete", "reason": "budget_steps", "steps": 3, "spent_usd": 0.26, "answer": "a"}
    record(journal, "s", ("session.finished", finished))
    last = journal.last("s")
    assert last is not None
    assert journal.sessions() == [
        SessionRow("s", journal.load("s")[0].at, "g", "babyagi", "/w", "incomplete", "budget_steps", 3, 0.26, last.at)
    ]
    record(journal, "s", ("session.claimed", {"owner": "b"}))
    row = journal.sessions()[0]
    assert (row.status, row.reason, row.steps) == ("in_progress", "", 3)


def test_a_fork_is_interrupted_until_somebody_goes_on_with_it(journal: SqlJournal) -> None:
    finished: JSON = {"status": "incomplete", "reason": "budget_steps", "steps": 3, "spent_usd": 0.26}
    attempt: list[tuple[str, JSON]] = [("session.claimed", {"owner": "a"}), ("session.finished", finished)]
    forked: tuple[str, JSON] = ("session.forked", {"from": "r", "step": 3, "seconds": 1.0})
    for beginning in ([], attempt, [*attempt, ("session.claimed", {"owner": "a"})]):
        session = f"s{len(beginning)}"
        record(journal, session, ("session.created", {"goal": "g"}), *beginning, forked)
        row = journal.sessions()[0]
        assert (row.id, row.status, row.reason) == (session, "cancelled", "interrupted")
        record(journal, session, ("session.claimed", {"owner": "b"}))
        assert journal.sessions()[0].status == "in_progress"


def test_a_listing_can_be_limited_to_a_workspace_and_is_newest_first(journal: SqlJournal) -> None:
    for id_, workspace in [("1", "/a"), ("2", "/b"), ("3", "/a")]:
        record(journal, id_, ("session.created", {"goal": id_, "workspace": workspace}))
    assert [row.id for row in journal.sessions()] == ["3", "2", "1"]
    assert [row.id for row in journal.sessions("/a")] == ["3", "1"]
    assert journal.sessions("/nowhere") == []


def test_odd_values_in_a_journal_do_not_break_the_listing(journal: SqlJournal) -> None:
    record(
        journal, "s", ("session.created", {"goal": ["no text"], "strategy": None}), ("session.finished", {"steps": "x"})
    )
    row = journal.sessions()[0]
    assert (row.goal, row.strategy, row.status, row.steps) == ("", "", "", 0)


def test_ten_thousand_sessions_are_listed_from_the_index_without_a_scan(home: Path, file_journal: SqlJournal) -> None:
    with sqlite3.connect(home / "agent.db") as db:
        db.executemany(
            "INSERT INTO events VALUES (?, ?, ?, '', '2026-11-22T10:00:00.000Z', ?, '', '{}')",
            (
                (f"s{n:05}", seq, type_, summary)
                for n in range(10_000)
                for seq, (type_, summary) in enumerate(
                    [
                        ("session.created", '{"goal":"g","workspace":"/w"}'),
                        ("session.claimed", "{}"),
                        ("request.sent", ""),
                        ("completion.received", '{"step":1,"spent_usd":0.5}'),
                        ("session.finished", '{"status":"completed","reason":"goal_met"}'),
                    ],
                    1,
                )
            ),
        )
    db.close()
    rows = file_journal.sessions()
    assert len(rows) == 10_000
    assert rows[0].id == "s09999"
    assert {(row.status, row.steps, row.spent_usd) for row in rows} == {("completed", 1, 0.5)}
    from agentrunner.journal import listing

    db = sqlite3.connect(home / "agent.db")
    plan = [str(row[-1]) for row in db.execute("EXPLAIN QUERY PLAN " + listing._ROWS)]  # pyright: ignore[reportPrivateUsage]
    db.close()
    assert not [line for line in plan if line.startswith("SCAN") and "CONSTANT" not in line], plan


def test_a_session_is_found_by_its_beginning_or_the_beginning_of_its_last_part(journal: SqlJournal) -> None:
    for id_ in ["20261122-183411-k3f9x2mq", "20261122-183411-p7w2aaaa", "20261123-090000-zzzz2222"]:
        record(journal, id_, ("session.created", {}))
    assert journal.find("20261123") == "20261123-090000-zzzz2222"
    assert journal.find("k3f") == "20261122-183411-k3f9x2mq"
    assert journal.find("20261122-183411-p7w2aaaa") == "20261122-183411-p7w2aaaa"
    with pytest.raises(UsageError, match=r"'20261122' is ambiguous: 2 sessions.*k3f9x2mq"):
        journal.find("20261122")
    with pytest.raises(UsageError, match=r"unknown session '20261122-183411-k3f9x2mp'; did you mean .*k3f9x2mq.*list"):
        journal.find("20261122-183411-k3f9x2mp")
    for nothing in ["", "%", "_", "x" * 10_000, "\ud800"]:
        with pytest.raises(UsageError, match="'agent sessions list'"):
            journal.find(nothing)


def test_an_exact_id_is_found_even_when_it_begins_others(journal: SqlJournal) -> None:
    for id_ in ["run", "run2"]:
        record(journal, id_, ("session.created", {}))
    assert journal.find("run") == "run"
