"""The server's tables beside those of the journal, as a list of migrations of their own. It keeps no data.

A migration that has been released is never edited again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentrunner.errors import JournalError
from agentrunner.journal.database import Database, Execute, Words


def m001_objects_and_keys(execute: Execute, words: Words) -> None:
    """One table for every kind of object: they differ in their JSON, not in how they are found. `parent` is the object
    that it belongs to, `label` what else it is listed by, `refers_to` the SHA-256 of its content or the file that it
    stands for. A deleted row stays, empty, so that a listing can go on from it."""
    text = words.text
    execute(
        f"CREATE TABLE server_objects (seq {words.auto_id}, id {text} NOT NULL UNIQUE, owner {text} NOT NULL,"
        f" kind {text} NOT NULL, parent {text} NOT NULL, created_at BIGINT NOT NULL, status {text} NOT NULL,"
        f" label {text} NOT NULL, refers_to {text} NOT NULL, expires_at BIGINT, deleted BIGINT NOT NULL,"
        " data TEXT NOT NULL)"
    )
    execute("CREATE INDEX server_objects_listed ON server_objects (owner, kind, parent, created_at, seq)")
    execute("CREATE INDEX server_objects_of ON server_objects (kind, status, seq) WHERE deleted = 0")
    execute("CREATE INDEX server_objects_referring ON server_objects (refers_to) WHERE refers_to <> ''")
    execute("CREATE INDEX server_objects_expiring ON server_objects (expires_at) WHERE expires_at IS NOT NULL")
    execute(
        f"CREATE TABLE server_keys (id {text} NOT NULL PRIMARY KEY, name {text} NOT NULL UNIQUE,"
        f" hash {text} NOT NULL UNIQUE, hint {text} NOT NULL, created_at BIGINT NOT NULL)"
    )


def m002_spending(execute: Execute, words: Words) -> None:
    """Limits of keys, and what was spent, in billionths of a dollar: sums of whole numbers are exact. A row of
    `server_spending` is a run that is not over; later its amount is in the key's sum."""
    text = words.text
    execute("ALTER TABLE server_keys ADD COLUMN max_nano_usd BIGINT")
    execute("ALTER TABLE server_keys ADD COLUMN spent_nano_usd BIGINT NOT NULL DEFAULT 0")
    execute(
        f"CREATE TABLE server_spending (run_id {text} NOT NULL PRIMARY KEY, owner {text} NOT NULL,"
        " spent BIGINT NOT NULL, reserved BIGINT NOT NULL)"
    )
    execute("CREATE INDEX server_spending_of ON server_spending (owner)")


MIGRATIONS: Sequence[Callable[[Execute, Words], None]] = (m001_objects_and_keys, m002_spending)


def prepare(database: Database) -> None:
    """Make the tables, or bring them up to date. Raises `JournalError` for those of a newer program."""

    def work(execute: Execute) -> None:
        execute("CREATE TABLE IF NOT EXISTS server_format (format BIGINT NOT NULL)")
        row = execute("SELECT MAX(format) FROM server_format").fetchone()
        version = int(row[0] or 0)
        if version > len(MIGRATIONS):
            raise JournalError(
                f"the server's tables in {database.name!r} have format {version}, this program knows formats up to"
                f" {len(MIGRATIONS)}",
                "update agentrunner, or set AGENT_HOME (for a server: AGENT_DATABASE_URL) to another place",
            )
        for migration in MIGRATIONS[version:]:
            migration(execute, database.words)
        if version < len(MIGRATIONS):
            execute("INSERT INTO server_format VALUES (?)", (len(MIGRATIONS),))

    database.write(work, alone=True)
