"""Looks after what runs: memory of all its processes, their number, and the growth of the workspace.

The kernel's limits are per process; these are for the whole. They are polled, so a fast program overshoots a little.
"""
# ruff: noqa: PTH123, PTH208 - ten times a second

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .values import Limits

TICK_S = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SCAN_EVERY_S = 1.0
_SCAN_SHARE = 20
"""A scan that took t is not repeated before 20 t: it never costs more than about 5 % of one core."""


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


def resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def measure(folder: Path) -> Usage:
    """What the tree holds. Links count and are not followed; a tree deeper than a path can name is cut off."""
    size = entries = 0
    folders = [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:  # removed meanwhile, not readable, or too long a path
            continue
    return Usage(size, entries)


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
                if reason := await self._too_large(at_start):
                    return reason
                next_scan = time.monotonic() + max(_SCAN_EVERY_S, _SCAN_SHARE * (time.monotonic() - started))

    async def check_at_end(self) -> str:
        """For a program that was done before it could be measured."""
        return await self._too_large(self._grown_by) if self._fell() else ""

    def _processes(self, pid: int) -> str:
        found = descendants(pid)
        if sum(map(resident_bytes, found)) > self.limits.memory_total_bytes:
            return f"its processes used more than {_size(self.limits.memory_total_bytes)} of memory together"
        if len(found) > self.limits.tasks + 8:  # our own ones, and some slack for the moment of counting
            return f"it started more than {self.limits.tasks} processes"
        return ""

    async def _growth(self) -> Usage:
        self._at_scan = self._free()
        now = await asyncio.to_thread(measure, self.workspace)
        before = self._before or now
        self._grown_by = Usage(now.size_bytes - before.size_bytes, now.entries - before.entries)
        return self._grown_by

    async def _too_large(self, at_start: Usage) -> str:
        """A workspace that was too large before the program started is not its fault, if it does not add to it."""
        now = await self._growth()
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
