"""Who works on a session now, on this machine: one lock file per session, held with `flock`.

The kernel drops the lock when its process ends in any way, so there is no stale lock to clean up. The lock is about
liveness only; what keeps two owners from both writing is the journal's sequence number.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

from agentrunner.errors import SessionBusy, UsageError
from agentrunner.journal.sessions import check_session_id, make_private

_TRIES = 5
_PAUSE_S = 0.02
"""`holder` takes the lock for microseconds to look; an owner that meets it in this moment tries again."""


class Holder(NamedTuple):
    """The process that holds a session. `started` is UTC, ISO 8601; fields are empty or 0 where it did not say."""

    pid: int
    host: str
    started: str
    command: str

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        try:
            since = datetime.fromisoformat(self.started).astimezone().strftime("%Y-%m-%d %H:%M")
        except ValueError:
            since = "an unknown time"
        return f"process {self.pid} ({self.command}) since {since} on {self.host}"


class SessionLock:
    """The right to work on one session, while it is held."""

    def __init__(self, home: Path, session_id: str) -> None:
        self.session_id = check_session_id(session_id)
        self.home = home
        self.path = lock_path(home, session_id)
        self._descriptor = -1

    def acquire(self) -> Self:
        """Hold the lock. Raises `SessionBusy` when somebody else does (this process included), and `UsageError` when
        locking is impossible here."""
        found = Holder(0, "", "", "")
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            descriptor = self._open()
            try:
                if _flock(descriptor, fcntl.LOCK_EX, self.path) and _is_at(descriptor, self.path):
                    self._descriptor = os.dup(descriptor)
                    self._sign()
                    return self
                found = _read(descriptor)
            finally:
                os.close(descriptor)
        raise SessionBusy(
            f"session {self.session_id} is held by {found}", "wait for it to end, or stop that process first"
        )

    def release(self) -> None:
        """Let go. Nothing happens when it is not held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        try:
            make_private(self.home, "locks")
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _impossible(self.path, error) from error

    def _sign(self) -> None:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])[:100]
        signed = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), command)
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(signed._asdict()).encode(), 0)
        except OSError:
            # A full disk must not keep the one who holds the lock from working: only the name is missing then.
            return


def holder(home: Path, session_id: str) -> Holder | None:
    """Who holds this session at the moment, None when nobody does."""
    path = lock_path(home, check_session_id(session_id))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _impossible(path, error) from error
    try:
        return None if _flock(descriptor, fcntl.LOCK_SH, path) else _read(descriptor)
    finally:
        os.close(descriptor)


def lock_path(home: Path, session_id: str) -> Path:
    return home / "locks" / f"{session_id}.lock"


def _flock(descriptor: int, how: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _impossible(path, error) from error
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the locked file still is the one at `path`: its session may have been removed in the meantime."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> Holder:
    try:
        found: object = json.loads(os.pread(descriptor, 4096, 0))
        fields = cast(dict[str, object], found)
        return Holder(int(str(fields["pid"])), str(fields["host"]), str(fields["started"]), str(fields["command"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Holder(0, "", "", "")


def _impossible(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot lock {str(path)!r}: {error.strerror}", "set AGENT_HOME to a writable folder on a local disk"
    )
