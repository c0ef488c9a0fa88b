"""The folder that stands in for /tmp where there is no mount namespace: of one sandbox, seen by nobody else, and gone
with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .trees import sweep

_PREFIX = "agent-tmp-"
_YOUNG_S = 60.0
"""One that was made a moment ago may not be locked yet."""
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class PrivateFolder:
    path: str
    lock: int
    """A descriptor; as long as it is open, nobody takes the folder for one that was left."""

    @classmethod
    def make(cls) -> PrivateFolder:
        parent = Path(tempfile.gettempdir()).resolve()
        _remove_left(parent)
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        lock = os.open(path, _FLAGS)
        fcntl.flock(lock, fcntl.LOCK_SH)
        return cls(path, lock)

    def remove(self) -> None:
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1
            _remove(Path(self.path))


def _remove(path: Path) -> None:
    """Whatever was left in it, by hands that are not followed anywhere."""
    with contextlib.suppress(OSError):
        parent = os.open(path.parent, _FLAGS)
        try:
            sweep(parent, path.name, opening=True)
        finally:
            os.close(parent)


def _remove_left(parent: Path) -> None:
    """Those of agents that were killed."""
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            fd = os.open(path, _FLAGS)
            try:
                state = os.fstat(fd)
                if state.st_uid == os.geteuid() and time.time() - state.st_mtime > _YOUNG_S:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
            finally:
                os.close(fd)
