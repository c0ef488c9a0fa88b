"""Looks after what runs: memory of all its processes, their number, and the growth of the workspace.

The kernel's limits are per process; these are for the whole. They are polled, so a fast program overshoots a little.
"""
# ruff: noqa: PTH116, PTH123, PTH208 - ten times a second

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .inside import kernel
from .values import Limits

TICK_S = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_SCAN_EVERY_S = 1.0
_SCAN_SHARE = 20
"""A scan that took t is not repeated before 20 t: it never costs more than about 5 % of one core."""


_FAR = 3_000
"""Bytes of a path after which it begins anew: with one more name it stays below the kernel's 4,096."""


class Usage(NamedTuple):
    size_bytes: int
    entries: int


_SUDDEN = Usage(32 << 20, 500)
"""A fall of what is free that brings the next scan forward. Others write to the disk too, so it proves nothing."""


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, parents before children. Those of a pid namespace never leave this tree: orphans go to
    its first process."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):  # ended meanwhile
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                yield from map(int, file.read().split())


def cpu_s(pid: int) -> tuple[float, float]:
    """Seconds of processor time: its own, and that of its children which it has waited for. Readable until it is
    waited for itself."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0, 0.0
    own, children = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    return own / _TICKS_PER_S, children / _TICKS_PER_S


class Meter:
    """Processor time of one program with all that it started.

    What waited-for children used stands at their parents. A parent that ignores its children's end loses it, so what
    each process was seen to use is added up as well, and the larger of the two counts.
    """

    def __init__(self) -> None:
        self.used_s = 0.0
        self.read_at = time.monotonic() - TICK_S
        self._seen: dict[int, float] = {}

    def read(self, pids: Iterable[int]) -> None:
        with_children = 0.0
        self.read_at = time.monotonic()
        for pid in pids:
            own, children = cpu_s(pid)
            self._seen[pid] = max(own, self._seen.get(pid, 0.0))
            with_children += own + children
        self.used_s = max(self.used_s, with_children, sum(self._seen.values()))


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:  # ended meanwhile
        return 0


def resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def measure(folder: Path) -> Usage:
    """What the tree holds, however deep: what no path can name is counted from a folder on the way. Links count and are
    never followed, not even one that takes a folder's place at this moment."""
    size = entries = 0
    base = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    waiting = [(base, ""), (base, ".")]
    while waiting:
        above, path = waiting.pop()
        if not path:  # all that is below it was counted
            os.close(above)
            continue
        with contextlib.suppress(OSError):  # removed meanwhile, or not readable
            here = _open_folder(above, path)
            far = len(path) > _FAR
            if far:
                waiting.append((here, ""))
            try:
                with os.scandir(here) as found:
                    for entry in found:
                        entries += 1
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((here, entry.name) if far else (above, f"{path}/{entry.name}"))
                        else:
                            size += _size_on_disk(entry)
            finally:
                if not far:
                    os.close(here)
    return Usage(size, entries)


def _open_folder(above: int, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return kernel.open_at(above, path, flags, kernel.RESOLVE_NO_SYMLINKS)
    except OSError as failure:
        if failure.errno not in (errno.ENOSYS, errno.EPERM):  # before Linux 5.6, or refused by a filter
            raise
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


def _size_on_disk(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def nameless_bytes(pids: Iterable[int], folder: Path) -> int:
    """What files on the folder's disk take up that have no name any more and are held open by one of `pids`."""
    device = os.stat(folder).st_dev
    found: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # ended meanwhile
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    state = os.stat(f"/proc/{pid}/fd/{fd}")
                    if state.st_dev == device and not state.st_nlink:
                        found[state.st_ino] = state.st_blocks * 512
    return sum(found.values())


class Watch:
    """The limits of one sandbox."""

    def __init__(self, workspace: Path, limits: Limits) -> None:
        self.workspace = workspace
        self.limits = limits
        self._before: Usage | None = None
        """What the workspace held when the first program started."""
        self._at_scan = Usage(0, 0)
        """What was free on the disk when the workspace was last measured."""
        self._grown_by = Usage(0, 0)
        """Since the first program started, when it was last measured."""
        self._meters: dict[int, Meter] = {}
        """Of what runs now, by process."""
        self._cpu_ended_s = 0.0
        """Processor time of what has ended."""

    @property
    def cpu_used_s(self) -> float:
        """Of everything that ran or runs."""
        return self._cpu_ended_s + sum(meter.used_s for meter in self._meters.values())

    def ended(self, pid: int, unseen: bool) -> None:
        """To be called when the program has ended, and before it is waited for. `unseen`: nobody waited for what it
        started, so the time since the last look at that is taken to have been used."""
        meter = self._meters.pop(pid, None) or Meter()
        before_s = meter.read_at
        meter.read([pid])
        self._cpu_ended_s += meter.used_s + (min(meter.read_at - before_s, TICK_S) if unseen else 0.0)

    async def measure_before(self) -> None:
        """To be called before the first program starts."""
        if self._before is None:
            self._before = await asyncio.to_thread(measure, self.workspace)
            self._at_scan = self._free()

    async def until_exceeded(self, pid: int, printed: Callable[[], int]) -> str:
        """Returns, as one sentence, what the program `pid` exceeded. `printed`: the longer of its streams in bytes."""
        at_start = self._grown_by
        next_scan = time.monotonic() + _SCAN_EVERY_S
        while True:
            await asyncio.sleep(TICK_S)
            if printed() > self.limits.output_kill_bytes:
                return f"it printed more than {_size(self.limits.output_kill_bytes)}"
            if reason := self._processes(pid):
                return reason
            if time.monotonic() >= next_scan or self._fell():
                started = time.monotonic()
                if reason := await self._too_large(at_start, pid):
                    return reason
                next_scan = time.monotonic() + max(_SCAN_EVERY_S, _SCAN_SHARE * (time.monotonic() - started))

    async def check_at_end(self) -> str:
        """For a program that was done before it could be measured."""
        return await self._too_large(self._grown_by) if self._fell() else ""

    def _processes(self, pid: int) -> str:
        found = descendants(pid)
        self._meters.setdefault(pid, Meter()).read([pid, *found])
        if self.cpu_used_s > self.limits.cpu_total_s:
            return f"the session used more than {self.limits.cpu_total_s} s of processor time"
        if sum(map(resident_bytes, found)) > self.limits.memory_total_bytes:
            return f"its processes used more than {_size(self.limits.memory_total_bytes)} of memory together"
        if sum(map(_threads, found)) > self.limits.tasks + 8:  # our own ones, and some slack for the moment of counting
            return f"it started more than {self.limits.tasks} processes and threads"
        return ""

    async def _growth(self, pid: int) -> Usage:
        self._at_scan = self._free()
        now = await asyncio.to_thread(measure, self.workspace)
        if pid:
            held = await asyncio.to_thread(nameless_bytes, descendants(pid), self.workspace)
            now = Usage(now.size_bytes + held, now.entries)
        before = self._before or now
        self._grown_by = Usage(now.size_bytes - before.size_bytes, now.entries - before.entries)
        return self._grown_by

    async def _too_large(self, at_start: Usage, pid: int = 0) -> str:
        """A workspace that was too large before the program started is not its fault, if it does not add to it."""
        now = await self._growth(pid)
        if now.size_bytes > max(self.limits.growth_bytes, at_start.size_bytes):
            return f"the workspace grew by more than {_size(self.limits.growth_bytes)}; delete what is not needed"
        if now.entries > max(self.limits.entries, at_start.entries):
            return f"the workspace grew by more than {self.limits.entries} files; delete what is not needed"
        return ""

    def _fell(self) -> bool:
        free = self._free()
        fell = Usage(self._at_scan.size_bytes - free.size_bytes, self._at_scan.entries - free.entries)
        return fell.size_bytes > _SUDDEN.size_bytes or fell.entries > _SUDDEN.entries

    def _free(self) -> Usage:
        try:
            state = os.statvfs(self.workspace)
        except OSError:
            return Usage(0, 0)
        return Usage(state.f_bfree * state.f_frsize, state.f_ffree)


def _size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
