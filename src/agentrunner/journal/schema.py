"""The tables, as a list of migrations that bring any older database up to date. It keeps no data of its own.

The statements are those that SQLite and PostgreSQL share; a migration that has been released is never edited again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

from agentrunner.errors import JournalError


def m001_events_and_inbox(db: sqlite3.Connection) -> None:
    """`blob` is the SHA-256 of a payload kept outside, then `data` is empty. `summary` stands before `data` so that a
    listing does not have to read through the payload to reach it."""
    db.execute(
        "CREATE TABLE events (session_id TEXT NOT NULL, seq BIGINT NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL,"
        " at TEXT NOT NULL, summary TEXT NOT NULL, blob TEXT NOT NULL, data TEXT NOT NULL,"
        " PRIMARY KEY (session_id, seq))"
    )
    # Only the few events that a listing shows are indexed: every other insert touches one index less.
    db.execute("CREATE INDEX events_listed ON events (type, session_id, seq) WHERE summary <> ''")
    db.execute("CREATE INDEX events_blob ON events (blob) WHERE blob <> ''")
    # AUTOINCREMENT: an id must never come back, since the journal refers to entries by it.
    db.execute(
        "CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, at TEXT NOT NULL,"
        " kind TEXT NOT NULL, data TEXT NOT NULL, handled_seq BIGINT)"
    )
    db.execute("CREATE INDEX inbox_waiting ON inbox (session_id, id) WHERE handled_seq IS NULL")


MIGRATIONS: Sequence[Callable[[sqlite3.Connection], None]] = (m001_events_and_inbox,)


def use_wal(db: sqlite3.Connection, timeout_s: float) -> None:
    """Switch to write-ahead logging. SQLite's own timeout does not cover this when two processes do it at once."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring `db` to the newest version, in one transaction. Raises `JournalError` for one that is newer than this."""
    if _version(db, path) == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have migrated it while this one waited.
        for migration in MIGRATIONS[_version(db, path) :]:
            migration(db)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection, path: str) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= len(MIGRATIONS):
        raise JournalError(
            f"the journal {path!r} has format {version}, this program knows formats up to {len(MIGRATIONS)}",
            "update agentrunner, or set AGENT_HOME to another folder",
        )
    return int(version)
