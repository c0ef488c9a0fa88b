"""Bounds the number of tasks where the kernel's limit per user does not: for root that cannot become somebody else.

One control group (cgroups(7), version 1 or 2) for each sandbox. Its launchers are put into it before they start
anything, and nothing behind a wall can reach the files through which one leaves it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

OWN_TASKS = 6
"""Launchers, guards and first processes of a few programs at once: these are not counted against the programs."""
_TOP = Path("/sys/fs/cgroup")
_NAME = re.compile(r"agent-([0-9]+)-[0-9a-f]{8}")
_REMOVE_S = 1.0


class TaskGroup:
    """At most `tasks` processes and threads at a time. Raises `OSError` where no such group may be made."""

    def __init__(self, tasks: int) -> None:
        refusal = OSError("there is no control group for tasks")
        for parent in _parents():
            _remove_left(parent)
            self._path = parent / f"agent-{os.getpid()}-{secrets.token_hex(4)}"
            try:
                self._path.mkdir(0o755)
            except OSError as failure:
                refusal = failure
                continue
            try:
                (self._path / "pids.max").write_text(str(tasks + OWN_TASKS))
                return
            except OSError as failure:
                refusal = failure
                self.close()
        raise refusal

    def add(self, pid: int) -> None:
        """With all that it starts from now on. Raises `OSError`."""
        (self._path / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """To be called when its processes were ended; the kernel keeps a group until the last of them is buried."""
        until = time.monotonic() + _REMOVE_S
        while time.monotonic() < until:
            try:
                self._path.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # there is still one in it
                time.sleep(0.01)


def _parents() -> Iterator[Path]:
    """Where one may be made: beside this process, or above, since version 2 allows none below a group with
    processes."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if "pids" in controllers.split(","):
                tops = [_TOP / "pids"]
            else:
                tops = [_TOP, _TOP / "unified"] if number == "0" else []
            own = Path(path.lstrip("/"))
            for top in tops:
                yield from (top / place for place in (own, *own.parents) if (top / place / "cgroup.procs").exists())


def _remove_left(parent: Path) -> None:
    """Groups of agents that were killed. One that still holds a process cannot be removed."""
    with contextlib.suppress(OSError):
        for path in parent.glob("agent-*"):
            found = _NAME.fullmatch(path.name)
            if found and not Path("/proc", found[1]).exists():
                with contextlib.suppress(OSError):
                    path.rmdir()
