"""The journal in one SQLite file: events appended by session, and the inbox. It never interprets an event.

All writing is an `INSERT` at the number the writer expects to be next. Whoever takes over a session appends a claim
first, so the next insert of every earlier owner collides: no lease, no open transaction, no clock is needed for that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from agentrunner.errors import UsageError
from agentrunner.journal.blobs import delete_blob, read_blob, write_blob
from agentrunner.journal.encoding import decode, encode, now, summary
from agentrunner.journal.faults import damaged, fenced, for_people, full
from agentrunner.journal.listing import find_session, list_sessions
from agentrunner.journal.lock import lock_path
from agentrunner.journal.schema import migrate, use_wal
from agentrunner.journal.sessions import SessionRow, check_session_id, make_private
from agentrunner.types import JSON, Event

BUSY_TIMEOUT_S = 30.0
"""With 32 writers on one file the longest wait measured was below 1 s; 30 s leaves room for a slow disk."""

BLOB_BYTES = 256 * 1024
"""Larger payloads are kept outside: they would make every backup, checkpoint and copy of the database slow."""

_INSERT = "INSERT INTO events (session_id, seq, at, type, key, blob, data, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT session_id, seq, at, type, key, blob, data FROM events WHERE session_id = ?"


def open_journal(home: Path, url: str | None = None) -> SqliteJournal:
    """The journal in `home/agent.db` (0600; `home` is made with mode 0700). Raises `UsageError` when `home` cannot be
    used, `JournalError` when the database cannot."""
    if url:
        raise UsageError(
            f"a journal at {urlsplit(url).scheme + '://...'!r} is not supported: it is kept in SQLite in AGENT_HOME",
            "unset AGENT_DATABASE_URL (PostgreSQL support is not part of this version)",
        )
    path = home / "agent.db"
    try:
        make_private(home)
        _create(path)
    except OSError as error:
        raise UsageError(
            f"cannot keep the journal in {str(home)!r}: {error.strerror}", "set AGENT_HOME to a writable folder"
        ) from error
    return SqliteJournal(home)


class SqliteJournal:
    """Events and inbox in `home/agent.db`. Any thread may use it; any number of processes may open the same file."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "agent.db"
        self.blobs = home / "blobs"
        self._lock = threading.RLock()
        with self._errors():
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=32
            )
        try:
            with self._errors():
                use_wal(self._db, BUSY_TIMEOUT_S)
                self._db.execute("PRAGMA synchronous = FULL")
                migrate(self._db, str(self.path))
        except BaseException:
            self._db.close()
            raise

    async def append(
        self, session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], handled: Sequence[int] = ()
    ) -> list[Event]:
        """Write (type, key, data) at `after + 1`, `after + 2`, ... and mark the inbox entries `handled`, all in one
        durable commit. Raises `Fenced` when the session went on without this writer, `JournalFull` when it cannot be
        written; then nothing was.

        It does not yield to the event loop: a commit takes about a millisecond, and an append that could be cancelled
        half way would leave its caller not knowing what the journal holds.
        """
        if after == 0:
            check_session_id(session_id)
        at = now()
        written: list[Event] = []
        with self._write() as db:
            _check_last(db, session_id, after)
            for seq, (type_, key, data) in enumerate(events, after + 1):
                text, data = encode(data)
                blob = self._keep_outside(text)
                row = (session_id, seq, at, type_, key, blob, "" if blob else text, summary(type_, data))
                try:
                    db.execute(_INSERT, row)
                except sqlite3.IntegrityError as error:
                    raise fenced(session_id) from error
                written.append(Event(session_id, seq, at, type_, key, data))
            for entry in handled:
                db.execute(
                    "UPDATE inbox SET handled_seq = ? WHERE id = ? AND session_id = ?", (after + 1, entry, session_id)
                )
        return written

    def load(self, session_id: str, after: int = 0) -> list[Event]:
        """All events with a number greater than `after`, in order."""
        with self._read() as db:
            rows = db.execute(_SELECT + " AND seq > ? ORDER BY seq", (session_id, after)).fetchall()
        return [self._event(row) for row in rows]

    def last(self, session_id: str) -> Event | None:
        """The newest event of the session, None when there is no such session."""
        with self._read() as db:
            row = db.execute(_SELECT + " ORDER BY seq DESC LIMIT 1", (session_id,)).fetchone()
        return self._event(row) if row else None

    def post(self, session_id: str, kind: str, data: JSON) -> int:
        """Leave something in the session's inbox. Anybody may. Returns its id."""
        with self._write() as db:
            cursor = db.execute(
                "INSERT INTO inbox (session_id, at, kind, data) VALUES (?, ?, ?, ?) RETURNING id",
                (session_id, now(), kind, encode(data)[0]),
            )
            return int(cursor.fetchone()[0])

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        """What waits in the inbox: (id, kind, data), oldest first. An entry waits until an `append` names it as
        handled, so one whose owner died before journalling the outcome is seen by the next owner."""
        with self._read() as db:
            rows = db.execute(
                "SELECT id, kind, data FROM inbox WHERE session_id = ? AND handled_seq IS NULL ORDER BY id",
                (session_id,),
            ).fetchall()
        return [(int(id_), kind, decode(data)) for id_, kind, data in rows]

    def sessions(self, workspace: str | None = None) -> list[SessionRow]:
        """All sessions, newest first; only those of `workspace` when it is given."""
        with self._read() as db:
            rows = list_sessions(db)
        return [row for row in rows if workspace is None or row.workspace == workspace]

    def find(self, prefix: str) -> str:
        """The id of the one session whose id, or the last part of it, begins with `prefix`. Raises `UsageError`."""
        with self._read() as db:
            return find_session(db, prefix)

    def remove(self, session_id: str) -> None:
        """Delete the session: its events, inbox, folder, lock file, and payloads that no other session uses. The caller
        holds its `SessionLock`; a writer that does not is fenced off."""
        check_session_id(session_id)
        with self._write() as db:
            query = "SELECT DISTINCT blob FROM events WHERE session_id = ? AND blob <> ''"
            blobs = [str(blob) for (blob,) in db.execute(query, (session_id,))]
            db.execute("DELETE FROM events WHERE session_id = ?", (session_id,))
            db.execute("DELETE FROM inbox WHERE session_id = ?", (session_id,))
        # In a transaction of its own: rows that refer to a file must be gone for good before the file is, and nobody
        # may begin to refer to it in between.
        with self._write() as db:
            for blob in blobs:
                if not db.execute("SELECT 1 FROM events WHERE blob = ? LIMIT 1", (blob,)).fetchone():
                    delete_blob(self.blobs, blob)
        self._remove_files(session_id)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _keep_outside(self, text: str) -> str:
        # At most 4 bytes per character: a short text need not be encoded to know that it fits.
        if len(text) * 4 <= BLOB_BYTES or len(content := text.encode()) <= BLOB_BYTES:
            return ""
        make_private(self.home, "blobs")
        return write_blob(self.blobs, content)

    def _event(self, row: tuple[str, int, str, str, str, str, str]) -> Event:
        session_id, seq, at, type_, key, blob, data = row
        text = read_blob(self.blobs, blob) if blob else data
        try:
            return Event(session_id, seq, at, type_, key, decode(text))
        except ValueError as error:
            raise damaged(self.path, f"event {seq} of session {session_id} is not JSON") from error

    def _remove_files(self, session_id: str) -> None:
        folder = self.home / "sessions" / session_id
        try:
            if folder.exists():
                shutil.rmtree(folder)
            lock_path(self.home, session_id).unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"the session is deleted, but not its files in {str(folder)!r}: {error.strerror}", "delete them by hand"
            ) from error

    @contextlib.contextmanager
    def _read(self) -> Generator[sqlite3.Connection]:
        with self._lock, self._errors():
            yield self._db

    @contextlib.contextmanager
    def _write(self) -> Generator[sqlite3.Connection]:
        """One transaction that takes the write lock at once: one that took it later could fail half way."""
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                # SQLite has already rolled back after some errors, and a full disk must not hide the first error.
                if self._db.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise for_people(error, self.path) from error
        except OSError as error:
            raise full(self.path, str(error.strerror)) from error


def _create(path: Path) -> None:
    """The file must never have been readable to others, so it is made before SQLite opens it. It is not opened when it
    is there: closing it again would drop the locks that other connections of this process hold on it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _check_last(db: sqlite3.Connection, session_id: str, after: int) -> None:
    """A session that lost its last event was deleted: what would be written now would begin in the middle."""
    if (
        after
        and not db.execute("SELECT 1 FROM events WHERE session_id = ? AND seq = ?", (session_id, after)).fetchone()
    ):
        raise fenced(session_id)
