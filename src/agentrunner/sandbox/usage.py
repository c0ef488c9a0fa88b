"""Reads from the kernel what programs use: their processes, time, memory, and what files of theirs take up.

It decides nothing. Everything may end or change while it is looked at, and what is gone counts nothing.
"""
# ruff: noqa: PTH116, PTH123, PTH208 - ten times a second

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .inside import kernel

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_FAR = 3_000
"""Bytes of a path after which it begins anew: with one more name it stays below the kernel's 4,096."""
_MOST = 4_096
"""Processes that are looked for: far more than any limit lets live."""


class Usage(NamedTuple):
    size_bytes: int
    entries: int
    unseen: int = 0
    """Files and folders whose size may not be read."""


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, parents before children. Those of a pid namespace never leave this tree: orphans go to
    its first process."""
    found = dict.fromkeys(_children(pid))
    waiting = [*found]
    while waiting and len(found) < _MOST:  # a program could start them as fast as they are looked for
        new = [child for child in _children(waiting.pop()) if child not in found]
        found.update(dict.fromkeys(new))
        waiting += new
    return [*found]


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
        self._seen: dict[int, float] = {}

    def read(self, pids: Iterable[int]) -> None:
        with_children = 0.0
        for pid in pids:
            own, children = cpu_s(pid)
            self._seen[pid] = max(own, self._seen.get(pid, 0.0))
            with_children += own + children
        self.used_s = max(self.used_s, with_children, sum(self._seen.values()))


def threads(pid: int) -> int:
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
    size = entries = unseen = 0
    base = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    waiting = [(base, ""), (base, ".")]
    while waiting:
        above, path = waiting.pop()
        if not path:  # all that is below it was counted
            os.close(above)
            continue
        try:
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
                        try:  # a folder of many names is large itself
                            size += entry.stat(follow_symlinks=False).st_blocks * 512
                        except PermissionError:
                            unseen += 1
                        except OSError:  # removed meanwhile
                            continue
            finally:
                if not far:
                    os.close(here)
        except PermissionError:
            unseen += 1
        except OSError:  # removed meanwhile
            continue
    return Usage(size, entries, unseen)


def _open_folder(above: int, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return kernel.open_at(above, path, flags, kernel.RESOLVE_NO_SYMLINKS)
    except OSError as failure:
        if failure.errno not in (errno.ENOSYS, errno.EPERM):  # before Linux 5.6, or refused by a filter
            raise
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)


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


def hides_files(pids: Iterable[int], folder: Path) -> bool:
    """Whether one of `pids` may hold files without a name that `nameless_bytes` cannot see: only mapped into memory, on
    their way from process to process, or of a process that lets nobody look at it."""
    device = os.stat(folder).st_dev
    on_disk = f" {os.major(device):02x}:{os.minor(device):02x} "

    def hides(pid: int) -> bool:
        if _maps(pid, lambda line: line.endswith(" (deleted)\n") and on_disk in line):
            return True
        os.listdir(f"/proc/{pid}/fd")  # closed where the rest of such a process is open
        for fd in os.listdir(f"/proc/{pid}/fdinfo"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{fd}") as info:
                if any(line.startswith("scm_fds:") and line.split()[1] != "0" for line in info):
                    return True
        return False

    return any(_or_closed(pid, hides) for pid in pids)


def shared_bytes() -> int:
    """Memory of the whole machine that belongs to files in memory and to shared mappings."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo") as facts:
        return next(int(line.split()[1]) for line in facts if line.startswith("Shmem:")) * 1024
    return 0


def shares_memory(pids: Iterable[int]) -> bool:
    """Whether one of `pids` has memory that it shares without a file, or lets nobody look. What it has filled of that
    and let go of again is still there, and stands in nobody's account."""
    return any(_or_closed(pid, lambda pid: _maps(pid, _is_shared)) for pid in pids)


def _is_shared(line: str) -> bool:
    return line.endswith(" /dev/zero (deleted)\n")


def _maps(pid: int, wanted: Callable[[str], bool]) -> bool:
    """Whether a mapping of the process is like that. Raises `OSError`."""
    with open(f"/proc/{pid}/maps", errors="replace") as maps:
        return any(map(wanted, maps))


def _or_closed(pid: int, look: Callable[[int], bool]) -> bool:
    """What a look at the process says; True for one of the program's own that lets nobody look."""
    try:
        return look(pid)
    except PermissionError:
        return not _is_first(pid)
    except OSError:  # ended meanwhile
        return False


def _is_first(pid: int) -> bool:
    """Process 1 of a namespace is the sandbox's own, which lets nobody look at it either."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as status:
        return any(line.startswith("NSpid:") and line.split()[2:] and line.split()[-1] == "1" for line in status)
    return True  # ended meanwhile
