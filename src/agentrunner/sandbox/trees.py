"""Lists and removes trees by descriptors of folders, never by path, so that no link is ever followed."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

QUIET = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""No terminal gained, no waiting for the other end of a named pipe."""
_MAX_DELETED = 1_000_000
_SWEEP_DEPTH = 64
"""Folders held open at once while a tree is removed; what lies deeper is moved up first."""

Kind = Literal["file", "dir", "link", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a listing shows of one name. `path` is relative to the root, with `/`."""

    path: str
    kind: Kind
    bytes: int
    mtime: float


def walk(folder: int, prefix: str, depth: int, max_entries: int, found: list[Entry]) -> None:
    """Adds to `found` what lies in `folder` and, down to `depth`, below; `prefix` is put before each name."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if len(found) >= max_entries:
                return
            with suppress(OSError):  # gone meanwhile
                seen = entry.stat(follow_symlinks=False)
                found.append(Entry(prefix + entry.name, _kind(seen.st_mode), seen.st_size, seen.st_mtime))
                if stat.S_ISDIR(seen.st_mode) and depth > 1:
                    below = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | QUIET, dir_fd=folder)
                    try:
                        walk(below, f"{prefix}{entry.name}/", depth - 1, max_entries, found)
                    finally:
                        os.close(below)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    return "dir" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "other"


def sweep(folder: int, name: str, *, opening: bool = False) -> None:
    """Removes a tree of any depth with a bounded number of open folders: what lies too deep is first moved up.
    `opening`: folders of the caller that are closed to it too."""
    waiting = [name]
    budget = _MAX_DELETED
    while waiting:
        top = waiting[-1]
        deep: list[str] = []
        budget = _empty(folder, folder, top, _SWEEP_DEPTH, deep, budget, opening)
        if deep:
            waiting += deep
        else:
            os.rmdir(top, dir_fd=folder)
            waiting.pop()


def _empty(base: int, parent: int, name: str, depth: int, deep: list[str], budget: int, opening: bool) -> int:
    if opening:
        _open_up(parent, name)
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | QUIET, dir_fd=parent)
    try:
        with os.scandir(folder) as found:
            entries = list(found)
        budget -= len(entries)
        if budget < 0:
            raise OSError(errno.EFBIG, f"more than {_MAX_DELETED} files")
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=folder)
            elif depth > 1:
                budget = _empty(base, folder, entry.name, depth - 1, deep, budget, opening)
                with suppress(OSError):  # not empty while something below waits at the top
                    os.rmdir(entry.name, dir_fd=folder)
            else:
                moved = f".{secrets.token_hex(8)}.deleted"
                os.rename(entry.name, moved, src_dir_fd=folder, dst_dir_fd=base)
                deep.append(moved)
    finally:
        os.close(folder)
    return budget


def _open_up(parent: int, name: str) -> None:
    """By a descriptor that needs no right to the folder; what takes its place meanwhile is not touched."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        state = os.fstat(fd)
        if state.st_uid == os.geteuid() and state.st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)  # noqa: PTH101 - a descriptor, not a path
    finally:
        os.close(fd)
