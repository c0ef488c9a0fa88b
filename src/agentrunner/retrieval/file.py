"""The index as one SQLite file that may be lost. It knows the file, its locks and its failures, and no statement.

Whatever is in it was computed from something else, so a file that is damaged or was made by another version is replaced
by an empty one and a sentence. Any number of processes and threads may use the same file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

from agentrunner.errors import UsageError

T = TypeVar("T")
Execute = Callable[..., sqlite3.Cursor]
"""Runs one statement: text, then the sequence of its parameters."""

BUSY_TIMEOUT_S = 30.0
"""A writer holds the file for the time it takes to index one source: well below a second."""

APPLICATION_ID = 0x61675849
"""Tells our files from other programs' databases, which are never replaced."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BROKEN = ("no such table", "vtable constructor failed", "invalid fts5 file format", "Could not decode to UTF-8")
"""Our own statements name no table that is not there, so these can only be said of a file that is not whole."""
_OUTSIDE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
)
"""What the machine is to blame for: everything else is our mistake, and is raised as it is."""


class IndexFile:
    """`path` None keeps everything in memory. `version` is any 31-bit number that changes with what `tables` makes;
    `tell` is given a sentence when the file had to be made anew."""

    def __init__(
        self, path: Path | None, version: int, tables: Iterable[str], tell: Callable[[str], None] | None = None
    ) -> None:
        """Raises `UsageError` when the file cannot be used for a reason that making it anew does not mend."""
        self.path = path
        self._version = version
        self._tables = tuple(tables)
        self._tell = tell
        self._lock = threading.RLock()
        self.generation = 0
        """Grows when the file was replaced by another one."""
        with self._errors():
            self._db, self._inode = self._open()

    def read(self, work: Callable[[Execute], T]) -> T:
        """All statements of `work` see the same state."""
        return self._run("BEGIN", work)

    def write(self, work: Callable[[Execute], T]) -> T:
        """One transaction, which takes the write lock at once: one that took it later could fail half way."""
        return self._run("BEGIN IMMEDIATE", work)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _run(self, begin: str, work: Callable[[Execute], T]) -> T:
        with self._lock, self._errors():
            if self._was_replaced():
                self._reopen()
            try:
                return self._transaction(begin, work)
            except (sqlite3.DatabaseError, ValueError) as error:
                if not _is_damage(error) or self.path is None:
                    raise
            self._reopen(damaged=True)
            return self._transaction(begin, work)

    def _transaction(self, begin: str, work: Callable[[Execute], T]) -> T:
        self._db.execute(begin)
        try:
            result = work(self._db.execute)
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite has already rolled back after some errors, and a full disk must not hide the first error.
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise
        return result

    def _was_replaced(self) -> bool:
        return self.path is not None and _inode(self.path) != self._inode

    def _reopen(self, damaged: bool = False) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        before, self._inode = self._inode, -1  # Should opening fail, the next one who comes tries again.
        self._db, self._inode = self._open(before if damaged else None)
        self.generation += 1

    def _open(self, damaged: int | None = None) -> tuple[sqlite3.Connection, int | None]:
        """`damaged`: the inode of a file that is to be replaced, unless another process has done it meanwhile."""
        if self.path is None:
            return self._connect(), None
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(self.path):
            if damaged is not None and _inode(self.path) == damaged:
                self._set_aside(self.path)
            try:
                return self._connect(), _inode(self.path)
            except (sqlite3.DatabaseError, ValueError) as error:
                if not _is_damage(error):
                    raise
            self._set_aside(self.path)
            return self._connect(), _inode(self.path)

    def _connect(self) -> sqlite3.Connection:
        if self.path is not None:
            _make_private(self.path)
        db = sqlite3.connect(
            self.path or ":memory:", timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            if self._is_empty(db):
                self._create(db)
            # A power cut may lose the last commits, never the file: enough for what can be computed again.
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    def _is_empty(self, db: sqlite3.Connection) -> bool:
        """Raises `UsageError` for the database of another program. What another version made is emptied."""
        application, version = _number(db, "PRAGMA application_id"), _number(db, "PRAGMA user_version")
        if not _number(db, "SELECT count(*) FROM sqlite_schema"):
            return True
        if application != APPLICATION_ID:
            raise UsageError(
                f"{str(self.path)!r} is a database, but not a search index", "give the index a file of its own"
            )
        if version != self._version:
            raise _Outdated
        return False

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        for statement in self._tables:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {self._version}")
        db.execute("COMMIT")

    def _set_aside(self, path: Path) -> None:
        """Out of the way, not gone: should it have been something else, it can be fetched back. The file comes first:
        who still has it open notices by that, and leaves the write-ahead log of the next one alone."""
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        if self._tell is not None:
            self._tell(
                f"the search index {str(path)!r} was damaged, or made by another version: it begins empty,"
                f" and what it was is now {aside.name!r}"
            )

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _OUTSIDE:
                raise
            raise UsageError(
                f"the search index {str(self.path)!r} cannot be used: {error}",
                "free some space, end what keeps it locked, or make it and its folder writable",
            ) from error
        except OSError as error:
            raise UsageError(
                f"the search index {str(self.path)!r} cannot be used: {error.strerror}", "choose a writable place"
            ) from error


class _Outdated(sqlite3.DatabaseError):
    """Made by another version of this program: of no more use than a damaged one."""


def _is_damage(error: Exception) -> bool:
    """Besides what SQLite notices itself: tables that are gone, and text that cannot be read any more."""
    if isinstance(error, sqlite3.DatabaseError):
        known = isinstance(error, _Outdated) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
        return known or str(error).startswith(_BROKEN)
    return isinstance(error, UnicodeDecodeError | json.JSONDecodeError)


def _make_private(path: Path) -> None:
    """It holds what was in people's files, so it must never have been readable to others. A file that is there is not
    opened: closing it again would drop the locks that other connections of this process hold on it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # A write-ahead log that is there without its file would be read into this one.
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _number(db: sqlite3.Connection, statement: str) -> int:
    found: Any = db.execute(statement).fetchone()[0]
    return int(found)


@contextlib.contextmanager
def _alone(path: Path) -> Generator[None]:
    """Nobody else opens or replaces the file meanwhile."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
