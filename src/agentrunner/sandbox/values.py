"""The values that the sandbox takes and gives back: limits, and what came of a program or a cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentrunner.errors import UsageError

_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_FIELDS = {
    "wall": "wall_s",
    "cpu": "cpu_s",
    "cpu_total": "cpu_total_s",
    "memory": "memory_bytes",
    "memory_total": "memory_total_bytes",
    "tasks": "tasks",
    "file": "file_bytes",
    "growth": "growth_bytes",
    "entries": "entries",
    "output": "output_bytes",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program or cell may use. Time of a cell, memory and tasks are those of everything it starts."""

    wall_s: float = 60.0
    cpu_s: int = 600
    """CPU time of each process."""
    cpu_total_s: int = 600
    """CPU time of everything that runs while the sandbox is open; polled, so it can overshoot."""
    memory_bytes: int = 1 << 30
    """Data of each process. Not address space: BLAS reserves that by the gigabyte for every core."""
    memory_total_bytes: int = 2 << 30
    tasks: int = 128
    file_bytes: int = 256 << 20
    growth_bytes: int = 1 << 30
    """By how much the workspace may grow while the sandbox is open; measured from time to time, so it can overshoot."""
    entries: int = 20_000
    """How many files may be added while the sandbox is open."""
    output_bytes: int = 256 << 10
    """Kept of each stream: the first 60 % and the last 40 %."""
    output_kill_bytes: int = 10 << 20
    """What a program prints beyond this ends it."""

    @classmethod
    def parse(cls, pairs: Sequence[str]) -> Limits:
        """From `wall=8`, `memory=1G`, ...; sizes take K, M or G. Raises `UsageError`."""
        found: dict[str, float | int] = {}
        for pair in pairs:
            name, _, text = pair.partition("=")
            if name not in _FIELDS:
                raise UsageError(f"unknown limit {pair!r}", f"known: {', '.join(_FIELDS)}; for example memory=1G")
            match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)([KMG]?)", text.strip().upper())
            if not match or float(match[1]) <= 0:
                raise UsageError(f"the limit {pair!r} is not a positive number", "for example wall=8, memory=512M")
            value = float(match[1]) * _SIZES[match[2]]
            found[_FIELDS[name]] = value if name == "wall" else max(1, int(value))
        if "cpu_s" in found:  # asking for more in one process asks for more in all
            found.setdefault("cpu_total_s", max(found["cpu_s"], cls().cpu_total_s))
        limits = replace(cls(), **found)  # pyright: ignore[reportArgumentType] - whole numbers but for wall_s
        return replace(limits, output_kill_bytes=max(limits.output_kill_bytes, 2 * limits.output_bytes))


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a program. `stopped` says in one sentence why it was ended early, else it is empty."""

    exit_code: int
    """128 + n for signal n; 127 when there is no such command."""
    stdout: str
    stderr: str
    cut_bytes: int = 0
    """How much output was left out of the middle of the two streams."""
    seconds: float = 0.0
    stopped: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of a piece of Python. `value` is the last expression as text, empty if there was none."""

    ok: bool
    stdout: str = ""
    stderr: str = ""
    value: str = ""
    error: str = ""
    """The traceback, from the cell's own lines on."""
    figures: tuple[str, ...] = ()
    """Workspace paths of the figures that were open at the end and are now saved."""
    cut_bytes: int = 0
    stopped: str = ""
    state_lost: bool = False
    """The interpreter is gone with its variables; the next cell starts a new one."""
    seconds: float = 0.0
