"""A hash of the files in the workspace: the sign that something was achieved. It is compared, never shown.

Files are looked at by size, time and inode; only one that changed in these is read, so that writing the same text again
is no news and a change taken back is the state before it. Links are never followed.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

MAX_FILES = 50_000
"""Above that the workspace is not looked at: a scan would take longer than most commands."""
MAX_DEPTH = 48
"""Folders are held open on the way down."""
MAX_READ_BYTES = 1 << 20
"""Of one file; a larger one is known by size and time alone."""
MAX_SCAN_BYTES = 8 << 20
"""Of all files in one scan, which takes about 10 ms to hash."""
SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        "__pycache__",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        "node_modules",
        ".venv",
    }
)
"""What programs keep for themselves: it changes without anything being achieved."""
_PATHS: Mapping[str, tuple[str, ...]] = {
    "write_file": ("path",),
    "append_file": ("path",),
    "edit_file": ("path",),
    "delete_file": ("path",),
    "move_file": ("source", "destination"),
}

Stat = tuple[int, int, int, int, int]
"""Size, time of the content, time of the inode, inode, mode."""


class Tree:
    """The files below one folder. The first look is a scan; after commands that name their files only these are."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._files: dict[str, tuple[Stat, int]] = {}
        self._sum = 0
        self._scanned = False
        self._left = 0
        self._changed: set[str] = set()
        self.bytes = 0
        """Of all files together."""

    def __len__(self) -> int:
        return len(self._files)

    def take_changes(self) -> dict[str, tuple[int, int] | None]:
        """Size and mode of each file that is new or other than at the last time, None for one that is gone."""
        changed, self._changed = self._changed, set()
        stats = {name: self._files[name][0] if name in self._files else None for name in changed}
        return {name: None if found is None else (found[0], found[4]) for name, found in stats.items()}

    def after(self, tool: str, arguments: Mapping[str, object]) -> str:
        """The hash after this command, empty when the workspace cannot be looked at or is too large."""
        paths = [arguments.get(name) for name in _PATHS.get(tool, ())]
        plain = [path for path in paths if isinstance(path, str)]
        self._left = MAX_SCAN_BYTES
        try:
            if not (self._scanned and plain and all(self._look(path) for path in plain)):
                self._scanned = self._scan()
        except (OSError, ValueError):  # ValueError: a path with a NUL character
            self._scanned = False
        return f"{self._sum:032x}" if self._scanned else ""

    def _look(self, path: str) -> bool:
        """Look at one file again. False when it takes a scan: a folder, or a way over a link."""
        full = os.path.normpath(self._root / path)
        name = os.path.relpath(full, self._root)
        if os.path.realpath(full) != full or name.startswith("..") or SKIPPED & set(Path(name).parts):
            return False
        try:
            found = os.lstat(full)
        except FileNotFoundError:
            self._forget(name)
            return not any(known.startswith(name + os.sep) for known in self._files)
        if not stat.S_ISREG(found.st_mode):
            return False
        folder = os.open(os.path.dirname(full), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # noqa: PTH120
        try:
            self._keep(name, found, folder)
        finally:
            os.close(folder)
        return True

    def _scan(self) -> bool:
        """Look at everything. False when it is too much."""
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            seen: set[str] = set()
            for name, found, parent in _files(folder, "", MAX_DEPTH):
                seen.add(name)
                if len(seen) > MAX_FILES:
                    return False
                self._keep(name, found, parent)
        finally:
            os.close(folder)
        for name in self._files.keys() - seen:
            self._forget(name)
        return True

    def _keep(self, name: str, found: os.stat_result, folder: int) -> None:
        seen = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, stat.S_IMODE(found.st_mode))
        known = self._files.get(name)
        if known is not None and known[0] == seen:
            return
        self._forget(name)
        content = self._content(os.path.basename(name), found, folder)  # noqa: PTH119
        digest = blake2b(digest_size=16)
        digest.update(os.fsencode(name) + b"\0" + content)
        value = int.from_bytes(digest.digest())
        self._files[name] = (seen, value)
        self._changed.add(name)
        self.bytes += found.st_size
        self._sum ^= value

    def _forget(self, name: str) -> None:
        known = self._files.pop(name, None)
        if known is not None:
            self._changed.add(name)
            self.bytes -= known[0][0]
            self._sum ^= known[1]

    def _content(self, name: str, found: os.stat_result, folder: int) -> bytes:
        if found.st_size <= min(MAX_READ_BYTES, self._left):
            with suppress(OSError):  # not readable, or gone: its size and time stand for it
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                try:
                    data = os.read(file, MAX_READ_BYTES)
                finally:
                    os.close(file)
                self._left -= len(data)
                return b"c" + blake2b(data, digest_size=16).digest()
        return f"s{found.st_size} {found.st_mtime_ns}".encode()


def _files(folder: int, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result, int]]:
    """Path, state and open folder of each regular file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in SKIPPED:
                continue
            with suppress(OSError):  # gone meanwhile
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield prefix + entry.name, found, folder
                elif stat.S_ISDIR(found.st_mode) and depth > 1:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    below = os.open(entry.name, flags, dir_fd=folder)
                    try:
                        yield from _files(below, f"{prefix}{entry.name}/", depth - 1)
                    finally:
                        os.close(below)
