"""Looks after what runs: memory of all its processes, their number, and the growth of the workspace.

The kernel's limits are per process; these are for the whole. They are polled, so a fast program overshoots a little.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from .usage import (
    Meter,
    Usage,
    descendants,
    hides_files,
    measure,
    nameless_bytes,
    resident_bytes,
    shared_bytes,
    shares_memory,
    threads,
)
from .values import Limits

TICK_S = 0.1
_SCAN_EVERY_S = 1.0
_SCAN_SHARE = 20
"""A scan that took t is not repeated before 20 t: it never costs more than about 5 % of one core."""
_SUDDEN = Usage(32 << 20, 500)
"""A fall of what is free that brings the next scan forward. Others write to the disk too, so it proves nothing."""


class Watch:
    """The limits of one sandbox."""

    def __init__(self, workspace: Path, limits: Limits, private: Path | None = None) -> None:
        """`private`: another folder that counts as if it lay in the workspace."""
        self.workspace = workspace
        self.limits = limits
        self._private = private
        self._before: Usage | None = None
        """What the workspace held when the first program started."""
        self._free_before = Usage(0, 0)
        """What was free on the disk at that time."""
        self._at_scan = Usage(0, 0)
        """What was free on the disk when the workspace was last measured."""
        self._grown_by = Usage(0, 0)
        """Since the first program started, when it was last measured."""
        self._shared_before = 0
        """What the whole machine shared at that time, in bytes."""
        self._meters: dict[int, Meter] = {}
        """Of what runs now, by process."""
        self._cpu_ended_s = 0.0
        """Processor time of what has ended."""

    @property
    def cpu_used_s(self) -> float:
        """Of everything that ran or runs."""
        return self._cpu_ended_s + sum(meter.used_s for meter in self._meters.values())

    def ended(self, pid: int) -> None:
        """To be called when the program has ended, and before it is waited for."""
        meter = self._meters.pop(pid, None) or Meter()
        meter.read([pid])
        self._cpu_ended_s += meter.used_s

    async def measure_before(self) -> None:
        """To be called before the first program starts."""
        if self._before is None:
            self._before = await asyncio.to_thread(self._measured)
            self._shared_before = shared_bytes()
            self._at_scan = self._free_before = self._free()

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
        if shared_bytes() - self._shared_before > self.limits.memory_total_bytes and shares_memory(found):
            return f"the machine lost more than {_size(self.limits.memory_total_bytes)} of memory to what it shared"
        if sum(map(threads, found)) > self.limits.tasks + 8:  # our own ones, and some slack for the moment of counting
            return f"it started more than {self.limits.tasks} processes and threads"
        return ""

    async def _growth(self, pid: int) -> Usage:
        self._at_scan = self._free()
        now = await asyncio.to_thread(self._measured)
        if pid:
            pids = descendants(pid)
            held = [await asyncio.to_thread(nameless_bytes, pids, folder) for folder in self._of_each_disk()]
            now = now._replace(size_bytes=now.size_bytes + sum(held))
        self._grown_by = Usage(*(a - b for a, b in zip(now, self._before or now, strict=True)))
        return self._grown_by

    def _measured(self) -> Usage:
        return Usage(*map(sum, zip(*map(measure, self._folders()), strict=True)))

    def _folders(self) -> list[Path]:
        """Without a wall, a program can remove the private one."""
        return [self.workspace, *([self._private] if self._private and self._private.is_dir() else [])]

    def _of_each_disk(self) -> list[Path]:
        return list({folder.stat().st_dev: folder for folder in reversed(self._folders())}.values())

    async def _too_large(self, at_start: Usage, pid: int = 0) -> str:
        """A workspace that was too large before the program started is not its fault, if it does not add to it."""
        now = await self._growth(pid)
        if now.size_bytes > max(self.limits.growth_bytes, at_start.size_bytes):
            return f"the workspace grew by more than {_size(self.limits.growth_bytes)}; delete what is not needed"
        if now.entries > max(self.limits.entries, at_start.entries):
            return f"the workspace grew by more than {self.limits.entries} files; delete what is not needed"
        lost = self._free_before.size_bytes - self._at_scan.size_bytes
        if lost <= self.limits.growth_bytes:
            return ""
        hidden = now.unseen > max(0, at_start.unseen)
        for folder in self._of_each_disk() if pid and not hidden else ():
            hidden = hidden or await asyncio.to_thread(hides_files, descendants(pid), folder)
        if not hidden:
            return ""  # others write to the disk too
        return f"the disk lost more than {_size(self.limits.growth_bytes)} while it held files that cannot be seen"

    def _fell(self) -> bool:
        free = self._free()
        fell = Usage(self._at_scan.size_bytes - free.size_bytes, self._at_scan.entries - free.entries)
        return fell.size_bytes > _SUDDEN.size_bytes or fell.entries > _SUDDEN.entries

    def _free(self) -> Usage:
        try:
            found = [os.statvfs(folder) for folder in self._of_each_disk()]
        except OSError:
            return Usage(0, 0)
        return Usage(sum(state.f_bfree * state.f_frsize for state in found), sum(state.f_ffree for state in found))


def _size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
