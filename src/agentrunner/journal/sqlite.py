"""The journal's database as one SQLite file. It knows the file, its locks and its failures, and no statement.

It is written with a write-ahead log and a full sync: a commit that returned outlives a power cut.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from agentrunner.errors import UsageError
from agentrunner.journal.database import Execute, T, Words
from agentrunner.journal.faults import for_people, full
from agentrunner.journal.schema import MIGRATIONS, check_version, migrate
from agentrunner.journal.sessions import make_private

BUSY_TIMEOUT_S = 30.0
"""With 32 writers on one file the longest wait measured was below 1 s; 30 s leaves room for a slow disk."""

CACHE_KB = 512
"""An append touches the last pages of one session only, and what is read is read once."""

WORDS = Words(text="TEXT", auto_id="INTEGER PRIMARY KEY AUTOINCREMENT")


class SqliteDatabase:
    """`home/agent.db`. Any number of processes may open the same file."""

    taken: type[Exception] = sqlite3.IntegrityError
    large_outside = True
    words = WORDS

    def __init__(self, home: Path) -> None:
        """Raises `UsageError` when `home` cannot be used, `JournalError` when the file cannot."""
        self.path = home / "agent.db"
        self.name = str(self.path)
        try:
            make_private(home)
            _create(self.path)
        except OSError as error:
            raise UsageError(
                f"cannot keep the journal in {str(home)!r}: {error.strerror}", "set AGENT_HOME to a writable folder"
            ) from error
        self._lock = threading.RLock()
        with self._errors():
            self._db = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=32
            )
        try:
            with self._errors():
                _use_wal(self._db)
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            if not check_version(self.read(_version), self.name):
                self.write(self._migrate)
        except BaseException:
            self._db.close()
            raise

    def read(self, work: Callable[[Execute], T]) -> T:
        with self._lock, self._errors():
            return work(self._db.execute)

    def write(
        self,
        work: Callable[[Execute], T],
        *,
        single: bool = False,
        alone: bool = False,
        done: Callable[[Execute], T | None] | None = None,
    ) -> T:
        """One transaction, which takes the write lock at once: one that took it later could fail half way."""
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
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

    def write_each(self, works: Sequence[Callable[[Execute], T]]) -> list[T | Exception]:
        """One transaction, so one wait for the disk. What fails for all (a full disk) is raised."""
        return self.write(lambda execute: [self._one_of(execute, work) for work in works])

    def _one_of(self, execute: Execute, work: Callable[[Execute], T]) -> T | Exception:
        execute("SAVEPOINT one")
        try:
            result: T | Exception = work(execute)
        except Exception as error:
            # Of whatever kind it is: it is told to whoever wanted this work, and the others go on.
            if isinstance(error, sqlite3.Error) and not isinstance(error, self.taken):
                raise
            result = error
            execute("ROLLBACK TO SAVEPOINT one")
        execute("RELEASE SAVEPOINT one")
        return result

    def identity(self) -> str:
        return self.path.name  # An AGENT_HOME has one of these, wherever it is moved to.

    def another(self) -> SqliteDatabase:
        return SqliteDatabase(self.path.parent)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _migrate(self, execute: Execute) -> None:
        # Read again: another process may have migrated it while this one waited.
        migrate(execute, WORDS, _version(execute))
        execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise for_people(error, self.path) from error
        except OSError as error:
            raise full(self.path, str(error.strerror)) from error


def _version(execute: Execute) -> int:
    return int(execute("PRAGMA user_version").fetchone()[0])


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite's own timeout does not cover this when two processes do it at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _create(path: Path) -> None:
    """The file must never have been readable to others, so it is made before SQLite opens it. It is not opened when it
    is there: closing it again would drop the locks that other connections of this process hold on it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
