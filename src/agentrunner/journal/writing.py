"""How events become rows: of one session, or of many sessions in one commit. It reads nothing back, except to see
whether a commit whose answer was lost was made.

All writing is an `INSERT` at the number the writer expects to be next. Whoever takes over a session appends a claim
first, so the next insert of every earlier owner collides: no lease, no open transaction, no clock is needed for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from agentrunner.errors import AgentError, Fenced
from agentrunner.journal.blobs import write_blob
from agentrunner.journal.database import Database, Execute
from agentrunner.journal.encoding import encode, now, summary
from agentrunner.journal.faults import fenced
from agentrunner.journal.sessions import check_session_id, make_private
from agentrunner.types import JSON, Event

BLOB_BYTES = 256 * 1024
"""Larger payloads are kept outside: they would make every backup, checkpoint and copy of the database slow."""

ROWS_AT_ONCE = 500
"""Rows of one statement: at 8 parameters each, well below the smallest limit (SQLite's, 32,766)."""

MIXED_ROWS_AT_ONCE = 64
"""Rows of one statement for many sessions. Only powers of two are used, so that few statements have to be prepared."""

Row = tuple[str, int, str, str, str, str, str, str]

_SELECT = "SELECT session_id, seq, at, type, key, data FROM events WHERE session_id = ? AND seq > ? ORDER BY seq"


class Batch(NamedTuple):
    """What one `append` writes: all of it or nothing."""

    session_id: str
    after: int
    events: Sequence[Event]
    texts: Sequence[str]
    """The payloads of the events."""
    handled: Sequence[int]
    """Entries of the inbox."""


def batch_of(
    session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], handled: Sequence[int] = ()
) -> Batch:
    """(type, key, data) as events that happen now, numbered from `after + 1` on."""
    if after == 0:
        check_session_id(session_id)
    at = now()
    encoded = [encode(data) for _, _, data in events]
    made = [
        Event(session_id, seq, at, type_, key, data)
        for seq, ((type_, key, _), (_, data)) in enumerate(zip(events, encoded, strict=True), after + 1)
    ]
    return Batch(session_id, after, made, [text for text, _ in encoded], handled)


class Writer:
    """Writes batches into a database; `home` holds the large payloads of one that is a file."""

    def __init__(self, home: Path, database: Database) -> None:
        self._home = home
        self._database = database

    def write(self, batch: Batch) -> None:
        """In one durable commit. Raises `Fenced` when the session went on without this writer, `JournalFull` when it
        cannot be written; then nothing was."""
        statements = -(-len(batch.events) // ROWS_AT_ONCE) + len(batch.handled)

        def insert(execute: Execute) -> bool:
            self._insert(execute, batch)
            return True

        try:
            self._database.write(
                insert, single=statements == 1, done=lambda execute: _is_written(execute, batch) or None
            )
        except self._database.taken as error:
            raise fenced(batch.session_id) from error

    def write_all(self, batches: Sequence[Batch]) -> list[AgentError | None]:
        """All in one durable commit. Where one cannot be written because its session went on without this writer, its
        place holds the error, and nothing of it was written; any other failure is raised, and nothing at all was."""
        failures: list[AgentError | None] = [None] * len(batches)
        if len(batches) == 1:
            try:
                self.write(batches[0])
            except Fenced as error:
                failures = [error]
            return failures

        def insert(execute: Execute) -> list[AgentError | None]:
            failures[:] = [None] * len(batches)
            if not self._attempt(execute, batches):
                failures[:] = [None if self._attempt(execute, [one]) else fenced(one.session_id) for one in batches]
            return failures

        def look(execute: Execute) -> list[AgentError | None] | None:
            ours = [one for one, failure in zip(batches, failures, strict=True) if failure is None and one.events]
            return failures if ours and all(_is_written(execute, one) for one in ours) else None

        return self._database.write(insert, done=look)

    def _attempt(self, execute: Execute, batches: Sequence[Batch]) -> bool:
        """Whether all of these are written now; if not, none of them is."""
        execute("SAVEPOINT attempt")
        try:
            written = self._insert_mixed(execute, batches)
        except self._database.taken:
            written = False
        if not written:
            execute("ROLLBACK TO SAVEPOINT attempt")
        execute("RELEASE SAVEPOINT attempt")
        return written

    def _insert(self, execute: Execute, batch: Batch) -> None:
        rows = self._rows(batch)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            values = [value for row in some for value in row]
            parameters = (*values, batch.after, batch.session_id, batch.after)
            if execute(_insert_one(len(some)), parameters).rowcount != len(some):
                raise fenced(batch.session_id)
        _mark_handled(execute, batch)

    def _insert_mixed(self, execute: Execute, batches: Sequence[Batch]) -> bool:
        rows = [(*row, batch.after) for batch in batches for row in self._rows(batch)]
        while rows:
            count = min(MIXED_ROWS_AT_ONCE, 1 << (len(rows).bit_length() - 1))
            some, rows = rows[:count], rows[count:]
            if execute(_insert_many(count), [value for row in some for value in row]).rowcount != count:
                return False
        for batch in batches:
            _mark_handled(execute, batch)
        return True

    def _rows(self, batch: Batch) -> Iterator[Row]:
        for event, text in zip(batch.events, batch.texts, strict=True):
            blob = self._keep_outside(text) if self._database.large_outside else ""
            brief = summary(event.type, event.data)
            yield (event.session_id, event.seq, event.at, event.type, event.key, blob, "" if blob else text, brief)

    def _keep_outside(self, text: str) -> str:
        # At most 4 bytes per character: a short text need not be encoded to know that it fits.
        if len(text) * 4 <= BLOB_BYTES or len(content := text.encode()) <= BLOB_BYTES:
            return ""
        make_private(self._home, "blobs")
        return write_blob(self._home / "blobs", content)


def _mark_handled(execute: Execute, batch: Batch) -> None:
    for entry in batch.handled:
        execute(
            "UPDATE inbox SET handled_seq = ? WHERE id = ? AND session_id = ?",
            (batch.after + 1, entry, batch.session_id),
        )


def _is_written(execute: Execute, batch: Batch) -> bool:
    """A connection that broke while a batch was committed does not say whether it was."""
    rows = execute(_SELECT, (batch.session_id, batch.after)).fetchall()
    ours = [(e.session_id, e.seq, e.at, e.type, e.key, t) for e, t in zip(batch.events, batch.texts, strict=True)]
    return bool(ours) and [tuple(row) for row in rows[: len(ours)]] == ours


@lru_cache(16)
def _insert_one(rows: int) -> str:
    """Writes this many events, unless the one before them is gone: a session that lost its last event was deleted, and
    what would be written now would begin in the middle."""
    values = ", ".join(["(?, CAST(? AS BIGINT), ?, ?, ?, ?, ?, ?)"] * rows)
    return (
        f"INSERT INTO events (session_id, seq, at, type, key, blob, data, summary) SELECT * FROM (VALUES {values}) v"  # noqa: S608 - made of constants
        " WHERE CAST(? AS BIGINT) = 0 OR EXISTS (SELECT 1 FROM events WHERE session_id = ? AND seq = ?)"
    )


@lru_cache(16)
def _insert_many(rows: int) -> str:
    """The same for events of several sessions, each with the number after which its batch goes."""
    values = ", ".join(["(?, CAST(? AS BIGINT), ?, ?, ?, ?, ?, ?, CAST(? AS BIGINT))"] * rows)
    columns = ", ".join(f"v.column{n}" for n in range(1, 9))
    return (
        f"INSERT INTO events (session_id, seq, at, type, key, blob, data, summary) SELECT {columns}"  # noqa: S608 - made of constants
        f" FROM (VALUES {values}) v WHERE v.column9 = 0"
        " OR EXISTS (SELECT 1 FROM events e WHERE e.session_id = v.column1 AND e.seq = v.column9)"
    )
