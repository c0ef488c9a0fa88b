"""Puts one program behind the wall: builds what each launcher needs, starts it, and ends it.

The three walls: "bwrap" (bubblewrap builds the namespaces), "native" (inside/launcher.py builds the same ones),
"landlock" (no namespaces). "none" is the same launcher without any wall, for those who asked for that.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import re
import resource
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from agentrunner.errors import SandboxError

from . import bwrap, plan
from .group import TaskGroup
from .inside import launcher
from .private import PrivateFolder
from .ready import Ready
from .values import Limits

Launcher = Literal["bwrap", "native", "landlock", "none"]
PROCESSES = {"native": 2, "bwrap": 3}
"""Below the guard once all mounts are made: process 1 of the namespace, bubblewrap's own, and the program."""
_BWRAP_MARK = "bwrap: "
_RAN = '"exit-code"'
"""In bubblewrap's own report: the program was run."""
_DOORMAN = [sys.executable, "-I", "-S", str(Path(__file__).parent / "inside" / "listen.py")]
_STAGES = ("/mnt", "/media", "/srv")
"""Where root lays out its files for bubblewrap, in a mount namespace of its own: nothing is ever taken from there."""
END_S = 2.0
"""How long a guard gets to end what it guards before it is killed itself; the kernel does the rest then."""
LONE_END_S = 30.0
"""The same where nobody ends the rest when the guard is killed."""


@dataclass(frozen=True, slots=True)
class Wall:
    """All that is the same for every program of one sandbox."""

    launcher: Launcher
    workspace: str
    limits: Limits
    environment: Mapping[str, str]
    filter: bytes
    mounts: tuple[plan.Step, ...] = ()
    """Decided once: a program inside cannot change where the next one's interpreter is taken from."""
    host_ids: tuple[int, int] | None = None
    """Whom root becomes; None for ordinary users."""
    owners: Mapping[str, list[int]] = field(default_factory=dict[str, list[int]])
    private: PrivateFolder | None = None
    """At "landlock" and "none": what stands in for /tmp."""
    place: str = ""
    """Where programs find the workspace as well, and begin; empty: only at its own path."""
    group: TaskGroup | None = None
    """What bounds the number of tasks where nothing else does."""
    ready: Ready = field(default_factory=Ready, compare=False)

    def discard(self) -> None:
        self.ready.close()
        if self.group:
            self.group.close()
        if self.private:
            self.private.remove()


@dataclass(slots=True, eq=False)
class Child:
    """A started program. Its descriptors belong to whoever holds this."""

    process: subprocess.Popen[bytes]
    handle: int
    """On that process: readable when it has ended, and never another one of the same number."""
    stdout: int
    stderr: int
    status: int
    lifeline: int = -1
    """Closing it makes the guard end everything."""
    failure_mark: str = ""
    """How what the launcher itself says on standard error begins."""
    end_s: float = END_S
    """How long to wait for the end before it is enforced."""

    @property
    def lives(self) -> bool:
        return self.handle >= 0 and not select.select([self.handle], [], [], 0)[0]

    def end(self) -> None:
        """Begins to end it."""
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1
        elif self.process.returncode is None:
            self.process.kill()

    def end_now(self) -> None:
        """Ends it and waits until nothing of it is left, but not for ever for a guard that hangs."""
        self.end()
        try:
            self.process.wait(self.end_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def discard(self) -> None:
        """For a program whose output nobody wants any more."""
        self.end_now()
        os.close(self.stdout)
        os.close(self.stderr)
        self.close()

    def failure(self, printed: str = "") -> str:
        """Why the wall could not be built; empty when it was. To be asked once, after the process ended. `printed`: on
        standard error, which a program could make look like a failure: so it counts only where none was run."""
        code = self.process.returncode
        if code != launcher.SETUP_FAILED and not (self.failure_mark and code == 1):
            return ""
        ready, _, _ = select.select([self.status], [], [], 0)
        told = os.read(self.status, 4096).decode(errors="replace") if ready else ""
        if not self.failure_mark or not told.startswith("{"):
            return told
        return printed.strip() if printed.startswith(self.failure_mark) and _RAN not in told else ""

    def close(self) -> None:
        for fd in (self.handle, self.status, self.lifeline):
            if fd >= 0:
                os.close(fd)
        self.handle = self.status = self.lifeline = -1


def launch(wall: Wall, argv: Sequence[str], *, stdin: bytes = b"", keep: Sequence[int] = (), door: int = -1) -> Child:
    """Starts `argv` in the workspace; empty: only builds the wall and exits 0. `keep`: descriptors it inherits. `door`:
    the end of a socket over which a listening one of the sandbox's network is handed out (not below FULL)."""
    status, status_in_child = os.pipe()
    lifeline_in_guard, lifeline = os.pipe()
    try:
        with contextlib.ExitStack() as theirs:
            theirs.callback(os.close, status_in_child)
            theirs.callback(os.close, lifeline_in_guard)
            order: launcher.Plan = {"lifeline": lifeline_in_guard, "status": status_in_child}
            if wall.launcher == "bwrap":
                order |= _bubble(wall, argv, [*keep, *_given(door)], door, status_in_child, theirs)
            elif wall.launcher == "native":
                order |= {"kind": "namespaces", "keep": list(keep), "door": door} | _program(wall, argv) | _root(wall)
            else:
                order |= {"kind": "landlock", "keep": list(keep), "door": -1} | _program(wall, argv) | _rights(wall)
            passed = [lifeline_in_guard, status_in_child, *order["keep"], *_given(order["door"])]
            process, out, err = _start(wall, order, passed, stdin)
    except BaseException:
        os.close(status)
        os.close(lifeline)
        raise
    end_s = END_S if wall.launcher == "native" else LONE_END_S
    mark = _BWRAP_MARK if wall.launcher == "bwrap" else ""
    return Child(process, os.pidfd_open(process.pid), out, err, status, lifeline, mark, end_s)


def _given(fd: int) -> list[int]:
    return [fd] if fd >= 0 else []


def _program(wall: Wall, argv: Sequence[str]) -> dict[str, Any]:
    return {
        "argv": list(argv),
        "env": dict(wall.environment),
        "cwd": wall.place or wall.workspace,
        "rlimits": _rlimits(wall),
        "filter": wall.filter,
    }


def _root(wall: Wall) -> dict[str, Any]:
    return {
        "mounts": [asdict(step) for step in (*wall.mounts, *plan.guarded(wall.workspace))],
        "root_bytes": plan.ROOT_BYTES,
        "host_ids": list(wall.host_ids) if wall.host_ids else None,
        "owners": dict(wall.owners),
    }


def _rights(wall: Wall) -> dict[str, Any]:
    if wall.launcher == "none":
        return {"confined": False}
    return {
        "confined": True,
        "readable": plan.readable(wall.workspace),
        "writable": [wall.workspace, *([wall.private.path] if wall.private else [])],
        "devices": plan.DEVICES,
    }


def _rlimits(wall: Wall) -> list[tuple[int, int]]:
    limits = wall.limits
    found = [
        (resource.RLIMIT_CORE, 0),  # memory with secrets, written into the workspace
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, 512),
        (resource.RLIMIT_MEMLOCK, 64 << 10),  # one io ring or key store; nothing here needs more
        (resource.RLIMIT_MSGQUEUE, 0),
    ]
    if wall.launcher in ("bwrap", "native") and _kernel() >= (5, 14):  # counted from zero in a user namespace
        return [*found, (resource.RLIMIT_NPROC, limits.tasks)]
    return [*found, (resource.RLIMIT_NPROC, _tasks_of_user() + limits.tasks)]


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _tasks_of_user() -> int:
    """Threads of this user on the whole machine: without a user namespace the kernel counts all of them."""
    count = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                count += sum(1 for _ in (entry / "task").iterdir())
    return count


def _bubble(
    wall: Wall, argv: Sequence[str], keep: Sequence[int], door: int, status: int, fds: contextlib.ExitStack
) -> launcher.Plan:
    """What the guard needs to start bubblewrap, and in root's case to lay out its files for it before."""
    steps = [*wall.mounts, *plan.guarded(wall.workspace)]
    staged = [step for step in steps if step.own] if wall.host_ids else []
    stage = next((path for path in _STAGES if os.path.isdir(path)), "")  # noqa: PTH112
    places = {step: f"{stage}/{number}" for number, step in enumerate(staged)}
    steps = [replace(step, source=places[step]) if step in places else step for step in steps]
    ids = wall.owners["workspace"] if wall.host_ids else None
    passed = list(keep)

    def file_of(data: bytes) -> int:
        fd = memory_file(data)
        fds.callback(os.close, fd)
        passed.append(fd)
        return fd

    program = _program(wall, [*_DOORMAN, str(door), *argv] if door >= 0 else argv)
    return {
        "kind": "bubblewrap",
        "argv": bwrap.command(steps, program, plan.ROOT_BYTES, status, file_of, ids),
        "keep": passed,
        "door": -1,
        "stage": stage,
        "mounts": [asdict(step) for step in staged],
        "host_ids": list(wall.host_ids) if wall.host_ids else None,
        "owners": dict(wall.owners),
    }


_Started = tuple[subprocess.Popen[bytes], int, int]
"""A process, and our ends of its standard output and standard error."""


def _start(wall: Wall, order: launcher.Plan, passed: Sequence[int], stdin: bytes) -> _Started:
    out, out_in_child = os.pipe()
    err, err_in_child = os.pipe()
    source = memory_file(stdin) if stdin else os.open(os.devnull, os.O_RDONLY)
    standard = (source, out_in_child, err_in_child)
    numbers = [(fd, number) for number, fd in enumerate(standard)] + [(fd, fd) for fd in passed]
    try:
        return wall.ready.start(marshal.dumps(order), numbers, wall.group), out, err
    except OSError as failure:
        os.close(out)
        os.close(err)
        raise SandboxError(f"the sandbox's launcher could not be started: {failure}") from failure
    finally:
        for fd in standard:
            os.close(fd)


def memory_file(data: bytes) -> int:
    """A file that has no name and is at its beginning."""
    fd = os.memfd_create("agent", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
