"""What can go wrong with a journal in a file, as errors for people. It only chooses words; nothing is retried here."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from agentrunner.errors import AgentError, Fenced, JournalError, JournalFull, UsageError


def for_people(error: sqlite3.Error, path: Path) -> Exception:
    """The error to raise in place of `error`; `error` itself when it can only be our own mistake."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    match code & 0xFF:  # The upper bits only say more about the same failure.
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return full(path, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return JournalFull(
                f"the journal {str(path)!r} could not be written: another process keeps it locked",
                "end that process, then resume",
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return UsageError(
                f"the journal {str(path)!r} cannot be opened for writing: {error}",
                "make it and its folder writable, or set AGENT_HOME to another folder",
            )
        case _:
            return damaged(path, str(error))


def full(path: Path, why: str) -> AgentError:
    return JournalFull(f"the journal {str(path)!r} could not be written: {why}", "free some space, then resume")


def damaged(path: Path | str, why: str) -> AgentError:
    if "://" in str(path):
        return JournalError(f"the journal {path!r} is damaged: {why}", "restore a copy")
    return JournalError(
        f"the journal {str(path)!r} is damaged or not a journal: {why}",
        f"move it away (mv {str(path)!r} {str(path) + '.bad'!r}) to begin a new one, or restore a copy",
    )


def fenced(session_id: str) -> AgentError:
    return Fenced(
        f"session {session_id} went on in another process, which this one must not disturb",
        f"see 'agent sessions show {session_id}'",
    )
