"""The tables, as a list of migrations that bring any older database up to date. It keeps no data of its own.

A migration that has been released is never edited again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentrunner.errors import JournalError
from agentrunner.journal.database import Execute, Words


def m001_events_and_inbox(execute: Execute, words: Words) -> None:
    """`blob` is the SHA-256 of a payload kept outside, then `data` is empty. `summary` stands before `data` so that a
    listing does not have to read through the payload to reach it."""
    text = words.text
    execute(
        f"CREATE TABLE events (session_id {text} NOT NULL, seq BIGINT NOT NULL, type {text} NOT NULL,"
        f" key {text} NOT NULL, at {text} NOT NULL, summary TEXT NOT NULL, blob TEXT NOT NULL, data TEXT NOT NULL,"
        " PRIMARY KEY (session_id, seq))"
    )
    # Only the few events that a listing shows are indexed: every other insert touches one index less.
    execute("CREATE INDEX events_listed ON events (type, session_id, seq) WHERE summary <> ''")
    execute("CREATE INDEX events_blob ON events (blob) WHERE blob <> ''")
    # An id must never come back, since the journal refers to entries by it.
    execute(
        f"CREATE TABLE inbox (id {words.auto_id}, session_id {text} NOT NULL, at TEXT NOT NULL,"
        " kind TEXT NOT NULL, data TEXT NOT NULL, handled_seq BIGINT)"
    )
    execute("CREATE INDEX inbox_waiting ON inbox (session_id, id) WHERE handled_seq IS NULL")


MIGRATIONS: Sequence[Callable[[Execute, Words], None]] = (m001_events_and_inbox,)


def check_version(version: int, name: str) -> bool:
    """Whether a database of this version is up to date. Raises `JournalError` for one that is newer than this."""
    if not 0 <= version <= len(MIGRATIONS):
        raise JournalError(
            f"the journal {name!r} has format {version}, this program knows formats up to {len(MIGRATIONS)}",
            "update agentrunner, or set AGENT_HOME (for a server: AGENT_DATABASE_URL) to another place",
        )
    return version == len(MIGRATIONS)


def migrate(execute: Execute, words: Words, version: int) -> None:
    """Bring the tables of `version` up to date. The caller holds whoever else would do it off."""
    for migration in MIGRATIONS[version:]:
        migration(execute, words)
