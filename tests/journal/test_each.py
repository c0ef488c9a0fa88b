"""Several changes in one transaction: each succeeds or fails for itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from agentrunner.errors import AgentError
from agentrunner.journal.database import Execute
from agentrunner.journal.sqlite import SqliteDatabase


def _entry(execute: Execute, text: str) -> str:
    execute("INSERT INTO inbox (session_id, at, kind, data) VALUES (?, '', '', '')", (text,))
    return text


def _entry_and_then(execute: Execute, text: str, error: Exception) -> str:
    _entry(execute, text)
    raise error


def _kept(database: SqliteDatabase) -> list[str]:
    return [text for (text,) in database.read(lambda execute: execute("SELECT session_id FROM inbox").fetchall())]


def test_what_fails_is_undone_alone_and_its_error_is_told(tmp_path: Path) -> None:
    with contextlib.closing(SqliteDatabase(tmp_path)) as database:
        problem = KeyError("mine")
        found = database.write_each(
            [
                lambda execute: _entry(execute, "a"),
                lambda execute: _entry_and_then(execute, "b", problem),
                lambda execute: _entry(execute, "c"),
            ]
        )
        assert found == ["a", problem, "c"]
        assert _kept(database) == ["a", "c"]


def test_a_row_that_is_there_already_fails_alone(tmp_path: Path) -> None:
    with contextlib.closing(SqliteDatabase(tmp_path)) as database:

        def twice(execute: Execute) -> str:
            for _ in range(2):
                execute("INSERT INTO inbox (id, session_id, at, kind, data) VALUES (7, 'x', '', '', '')")
            return "never"

        first, second = database.write_each([twice, lambda execute: _entry(execute, "y")])
        assert isinstance(first, database.taken)
        assert second == "y"
        assert _kept(database) == ["y"]


def test_what_fails_for_all_is_raised_and_nothing_was_done(tmp_path: Path) -> None:
    with contextlib.closing(SqliteDatabase(tmp_path)) as database:
        with pytest.raises(AgentError):
            database.write_each(
                [lambda execute: _entry(execute, "a"), lambda execute: execute("INSERT INTO nowhere VALUES (1)")]
            )
        assert _kept(database) == []
