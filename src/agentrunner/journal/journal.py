"""The journal: events appended by session, and the inbox. It never interprets an event, and it does not know which
database it speaks to.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from agentrunner.errors import AgentError, JournalError, UsageError
from agentrunner.journal.blobs import delete_blob, read_blob
from agentrunner.journal.database import Database, Execute
from agentrunner.journal.encoding import decode, encode, now
from agentrunner.journal.faults import damaged
from agentrunner.journal.holding import release
from agentrunner.journal.listing import find_session, list_sessions
from agentrunner.journal.lock import lock_path
from agentrunner.journal.sessions import SessionRow, check_session_id
from agentrunner.journal.sqlite import SqliteDatabase
from agentrunner.journal.writing import Batch, Writer, batch_of
from agentrunner.types import JSON, Event

_SELECT = "SELECT session_id, seq, at, type, key, blob, data FROM events WHERE session_id = ?"


def open_journal(home: Path, url: str | None = None) -> SqlJournal:
    """The journal at `url`, by default the SQLite file `home/agent.db` (0600; `home` is made with mode 0700). Raises
    `UsageError` when it cannot be reached, `JournalError` when the database cannot be used."""
    if not url:
        return SqlJournal(home, SqliteDatabase(home))
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in ("postgresql", "postgres"):
        raise UsageError(
            f"a journal at {scheme + '://...'!r} is not supported",
            "give AGENT_DATABASE_URL as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or unset it to use SQLite",
        )
    from agentrunner.journal.postgres import PostgresDatabase

    return SqlJournal(home, PostgresDatabase(url))


class SqlJournal:
    """Events and inbox in a database. Any thread may use it; any number of processes may open the same database.

    `home` holds what belongs to this machine: locks, the sessions' own files, and large payloads where the database is
    a file.
    """

    def __init__(self, home: Path, database: Database) -> None:
        self.home = home
        self.blobs = home / "blobs"
        self.name = database.name
        self.database = database
        self._writer = Writer(home, database)

    def another(self) -> SqlJournal:
        """The same journal through a connection of its own, which does not wait for what this one does."""
        return SqlJournal(self.home, self.database.another())

    async def append(
        self, session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], handled: Sequence[int] = ()
    ) -> list[Event]:
        """Write (type, key, data) at `after + 1`, `after + 2`, ... and mark the inbox entries `handled`, all in one
        durable commit. Raises `Fenced` when the session went on without this writer, `JournalFull` when it cannot be
        written; then nothing was.

        It does not yield to the event loop: a commit takes about a millisecond, and an append that could be cancelled
        half way would leave its caller not knowing what the journal holds.
        """
        batch = batch_of(session_id, after, events, handled)
        self._writer.write(batch)
        return list(batch.events)

    def append_all(self, batches: Sequence[Batch]) -> list[AgentError | None]:
        """What several `append`s write, in one durable commit. Where a session went on without this writer, its place
        holds the error, and nothing of it was written. Raises what concerns all; then nothing at all was."""
        return self._writer.write_all(batches) if batches else []

    def copy_in(self, session_id: str, events: Sequence[Event], after: int = 0) -> None:
        """Write events that another journal holds, with their own times, in one commit. Raises `Fenced` when there are
        events after `after`, and `JournalError` when these do not follow it without a gap."""
        check_session_id(session_id)
        found = [(event.session_id, event.seq) for event in events]
        if found != [(session_id, seq) for seq in range(after + 1, after + 1 + len(events))]:
            raise JournalError(
                f"session {session_id} is not whole: its events are not numbered {after + 1}, {after + 2}, ...",
                "copy it again from where it is whole",
            )
        self._writer.write(Batch(session_id, after, events, [encode(event.data)[0] for event in events], ()))

    def load(self, session_id: str, after: int = 0) -> list[Event]:
        """All events with a number greater than `after`, in order."""
        rows = self.database.read(
            lambda execute: execute(_SELECT + " AND seq > ? ORDER BY seq", (session_id, after)).fetchall()
        )
        return [self._event(row) for row in rows]

    def last(self, session_id: str) -> Event | None:
        """The newest event of the session, None when there is no such session."""
        row = self.database.read(
            lambda execute: execute(_SELECT + " ORDER BY seq DESC LIMIT 1", (session_id,)).fetchone()
        )
        return self._event(row) if row else None

    def post(self, session_id: str, kind: str, data: JSON) -> int:
        """Leave something in the session's inbox. Anybody may. Returns its id."""
        entry = (session_id, now(), kind, encode(data)[0])

        def insert(execute: Execute) -> int:
            statement = "INSERT INTO inbox (session_id, at, kind, data) VALUES (?, ?, ?, ?) RETURNING id"
            return int(execute(statement, entry).fetchone()[0])

        def look(execute: Execute) -> int | None:
            statement = "SELECT MAX(id) FROM inbox WHERE session_id = ? AND at = ? AND kind = ? AND data = ?"
            return execute(statement, entry).fetchone()[0]

        return self.database.write(insert, single=True, done=look)

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        """What waits in the inbox: (id, kind, data), oldest first. An entry waits until an `append` names it as
        handled, so one whose owner died before journalling the outcome is seen by the next owner."""
        rows = self.database.read(
            lambda execute: execute(
                "SELECT id, kind, data FROM inbox WHERE session_id = ? AND handled_seq IS NULL ORDER BY id",
                (session_id,),
            ).fetchall()
        )
        return [(int(id_), kind, decode(data)) for id_, kind, data in rows]

    def posted(self) -> set[str]:
        """The sessions in whose inbox something waits."""
        query = "SELECT DISTINCT session_id FROM inbox WHERE handled_seq IS NULL"
        return {str(id_) for (id_,) in self.database.read(lambda execute: execute(query).fetchall())}

    def sessions(self, workspace: str | None = None) -> list[SessionRow]:
        """All sessions, newest first; only those of `workspace` when it is given."""
        rows = self.database.read(list_sessions)
        return [row for row in rows if workspace is None or row.workspace == workspace]

    def find(self, prefix: str) -> str:
        """The id of the one session whose id, or the last part of it, begins with `prefix`. Raises `UsageError`."""
        return self.database.read(lambda execute: find_session(execute, prefix))

    def remove(self, session_id: str) -> Collection[str]:
        """Delete the session: its events, inbox, folder, lock file, and payloads that no other session uses. The folder
        stays while another database has a copy of the session: the names of those come back. The caller holds its
        `SessionLock`; a writer that does not is fenced off."""
        check_session_id(session_id)

        def delete_rows(execute: Execute) -> list[str]:
            query = "SELECT DISTINCT blob FROM events WHERE session_id = ? AND blob <> ''"
            blobs = [str(blob) for (blob,) in execute(query, (session_id,))]
            execute("DELETE FROM events WHERE session_id = ?", (session_id,))
            execute("DELETE FROM inbox WHERE session_id = ?", (session_id,))
            return blobs

        blobs = self.database.write(delete_rows, alone=True)

        def delete_blobs(execute: Execute) -> None:
            for blob in blobs:
                if not execute("SELECT 1 FROM events WHERE blob = ? LIMIT 1", (blob,)).fetchone():
                    delete_blob(self.blobs, blob)

        # In a transaction of its own: rows that refer to a file must be gone for good before the file is, and nobody
        # may begin to refer to it in between.
        if blobs:
            self.database.write(delete_blobs, alone=True)
        return self._remove_files(session_id)

    def close(self) -> None:
        self.database.close()

    def _event(self, row: tuple[str, int, str, str, str, str, str]) -> Event:
        session_id, seq, at, type_, key, blob, data = row
        text = read_blob(self.blobs, blob) if blob else data
        try:
            return Event(session_id, seq, at, type_, key, decode(text))
        except ValueError as error:
            raise damaged(self.name, f"event {seq} of session {session_id} is not JSON") from error

    def _remove_files(self, session_id: str) -> Collection[str]:
        folder = self.home / "sessions" / session_id
        try:
            if others := release(self.home, session_id, self.database):
                return others
            if folder.exists():
                shutil.rmtree(folder)
            lock_path(self.home, session_id).unlink(missing_ok=True)
            return ()
        except OSError as error:
            raise UsageError(
                f"the session is deleted, but not its files in {str(folder)!r}: {error.strerror}", "delete them by hand"
            ) from error
