"""Files of the workspace, read and written by this program itself on paths that a model chose.

The kernel decides whether a path stays inside (openat2 with RESOLVE_BENEATH), not a comparison of strings. A program
that swaps folders for links at the same time gains nothing. Where openat2 is missing, each component is opened by
itself and no link is followed at all. Every message is an instruction to a model.
"""
# ruff: noqa: PTH115, PTH119 - plain strings and descriptors, as the kernel takes them

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from .inside import kernel
from .trees import QUIET, Entry, sweep, walk

MAX_READ_BYTES = 10 << 20
MAX_DEPTH, MAX_ENTRIES = 32, 10_000
"""How deep and how far a listing goes: deeper trees are made by accident or to trip somebody."""
_MAX_MADE = 100
"""Folders made for one path; more than anybody means."""
_O_PATH = getattr(os, "O_PATH", 0)
_RETRIES = 16
"""openat2 answers EAGAIN when something is renamed while it looks."""


class PathError(Exception):
    """A path cannot be used; the text tells a model what to do instead."""


class Root:
    """Confined access to one folder. Paths are relative to it, or absolute and inside it. Holds one descriptor."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` when `path` is not a folder that can be opened."""
        self.path = path.resolve()
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        owner = os.fstat(self._fd)
        self._owner = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 and owner.st_uid else None
        """Root working in somebody else's folder leaves that person's files."""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, rel: str, offset: int = 0, max_bytes: int = MAX_READ_BYTES) -> bytes:
        """At most `max_bytes` from `offset` on of a regular file, counted as they come: a size may lie."""
        with self._regular(rel, os.O_RDONLY) as fd:
            os.lseek(fd, offset, os.SEEK_SET)
            data = bytearray()
            while len(data) < max_bytes:
                more = os.read(fd, min(1 << 20, max_bytes - len(data)))
                if not more:
                    break
                data += more
            return bytes(data)

    def size(self, rel: str) -> int:
        """Bytes of a regular file."""
        with self._regular(rel, os.O_RDONLY) as fd:
            return os.fstat(fd).st_size

    def exists(self, rel: str) -> bool:
        """Whether a file or folder of this name is inside, as far as links inside lead."""
        try:
            fd = self._open(rel, _O_PATH)
        except PathError:
            return False
        try:
            return not stat.S_ISLNK(os.fstat(fd).st_mode)  # a link that was not followed
        finally:
            os.close(fd)

    def entries(self, rel: str = ".", max_depth: int = MAX_DEPTH, max_entries: int = MAX_ENTRIES) -> list[Entry]:
        """What lies below a folder, sorted by path; links are named and not followed. Ends at either limit."""
        found: list[Entry] = []
        start = self._open(rel, os.O_RDONLY | os.O_DIRECTORY)
        try:
            prefix = self._place_of(start)
            walk(start, f"{prefix}/" if prefix else "", max_depth, max_entries, found)
        finally:
            os.close(start)
        return sorted(found, key=lambda entry: entry.path)

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, rel: str, data: bytes) -> None:
        """The whole content of a file, at once or not at all; folders on the way are made. A link is replaced, not
        followed."""
        with self._parent(rel, make=True) as (folder, name):
            before = _lstat(folder, name)
            if before and stat.S_ISDIR(before.st_mode):
                raise PathError(f"{rel!r} is a folder; give the path of a file")
            temporary = f".{name[:100]}.{secrets.token_hex(6)}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | QUIET
            fd = os.open(temporary, flags, 0o666, dir_fd=folder)
            try:
                self._fill(fd, data, before)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            finally:
                os.close(fd)
            os.fsync(folder)

    def append(self, rel: str, data: bytes) -> None:
        """To the end of a file; made if it is missing."""
        with self._parent(rel, make=True) as (folder, name):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | QUIET
            fd = os.open(name, flags, 0o666, dir_fd=folder)
            try:
                _check_regular(fd, rel)
                self._fill(fd, data, os.fstat(fd))
            finally:
                os.close(fd)

    def move(self, source: str, destination: str) -> None:
        """To a new name, which must be free. Folders on the way are made."""
        with self._parent(source) as (old, old_name), self._parent(destination, make=True) as (new, new_name):
            if not _lstat(old, old_name):
                raise PathError(f"{source!r} does not exist; call list_files to see what is there")
            if _lstat(new, new_name):
                raise PathError(f"{destination!r} exists already; choose another name or delete it first")
            os.rename(old_name, new_name, src_dir_fd=old, dst_dir_fd=new)

    def delete(self, rel: str) -> None:
        """A file, a link (not what it points to), or a folder with all that is in it."""
        with self._parent(rel) as (folder, name):
            found = _lstat(folder, name)
            if not found:
                raise PathError(f"{rel!r} does not exist; call list_files to see what is there")
            if stat.S_ISDIR(found.st_mode):
                sweep(folder, name)
            else:
                os.unlink(name, dir_fd=folder)

    # --- one way in ----------------------------------------------------------------------------------------------

    @contextmanager
    def _regular(self, rel: str, flags: int) -> Generator[int]:
        fd = self._open(rel, flags)
        try:
            _check_regular(fd, rel)
            place = self._place_of(fd)
            if os.path.basename(place).startswith(".env"):
                raise _secret(rel)
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _parent(self, rel: str, make: bool = False) -> Generator[tuple[int, str]]:
        """The folder of a name, and the name. System errors inside become instructions."""
        head, _, name = self._relative(rel).rpartition("/")
        if name in ("", ".", ".."):
            raise PathError(f"{rel!r} is not the name of a file; use a path inside the workspace such as 'notes.md'")
        folder = self._folder(head, rel, make)
        try:
            self._check_place(folder, name, rel)
            yield folder, name
        except OSError as failure:
            raise _instruction(failure, rel) from failure
        finally:
            os.close(folder)

    def _folder(self, head: str, rel: str, make: bool) -> int:
        """The folder `head`, made together with those above it if that is wanted."""
        try:
            return self._try_open(head or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as failure:
            if failure.errno != errno.ENOENT or not make or head.count("/") > _MAX_MADE:
                raise _instruction(failure, rel) from failure
        above, _, name = head.rpartition("/")
        folder = self._folder(above, rel, make)
        try:
            self._check_place(folder, name, rel)
            with suppress(FileExistsError):
                os.mkdir(name, 0o777, dir_fd=folder)
                if self._owner:
                    os.chown(name, *self._owner, dir_fd=folder, follow_symlinks=False)
            return self._try_open(head, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as failure:
            raise _instruction(failure, rel) from failure
        finally:
            os.close(folder)

    def _check_place(self, folder: int, name: str, rel: str) -> None:
        """By where the folder really is, whatever the path looked like."""
        if f"{self._place_of(folder)}/{name}/".lstrip("/").startswith(".git/"):
            raise PathError(f"{rel!r} belongs to git and is read-only; use another path")
        if name.startswith(".env"):
            raise _secret(rel)

    def _open(self, rel: str, flags: int) -> int:
        try:
            return self._try_open(self._relative(rel) or ".", flags)
        except OSError as failure:
            raise _instruction(failure, rel) from failure

    def _try_open(self, path: str, flags: int) -> int:
        resolve = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_MAGICLINKS
        for _ in range(_RETRIES):
            try:
                return kernel.open_at(self._fd, path, flags | QUIET if flags != _O_PATH else flags, resolve)
            except OSError as failure:
                if failure.errno in (errno.ENOSYS, errno.EPERM):  # before Linux 5.6, or refused by a filter
                    return _open_step_by_step(self._fd, path, flags)
                if failure.errno != errno.EAGAIN:
                    raise
        raise OSError(errno.EAGAIN, "it is being moved at this moment")

    def _relative(self, rel: str) -> str:
        if "\0" in rel:
            raise PathError(f"{rel!r} holds a NUL character; use an ordinary path inside the workspace")
        for prefix in (f"{self.path}/", f"{self.path}"):
            if rel.startswith(prefix) and (prefix.endswith("/") or rel == prefix):
                return rel[len(prefix) :].strip("/")
        if rel.startswith("/"):
            raise _outside(rel)
        return rel.rstrip("/")

    def _place_of(self, fd: int) -> str:
        """Where an opened file really is, below the root; what the kernel says after all links."""
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # no /proc: links were not followed there
            return ""
        return real[len(str(self.path)) :].strip("/") if real.startswith(str(self.path)) else ""

    def _fill(self, fd: int, data: bytes, like: os.stat_result | None) -> None:
        if like and stat.S_ISREG(like.st_mode):
            os.fchmod(fd, stat.S_IMODE(like.st_mode) & 0o777)
        if self._owner:
            os.fchown(fd, *self._owner)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)


def _open_step_by_step(root: int, path: str, flags: int) -> int:
    """Without openat2: no link is followed, `..` is refused."""
    current = os.dup(root)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        os.close(current)
        raise OSError(errno.EXDEV, "leaves the folder", path)
    for number, part in enumerate(parts, 1):
        wanted = (flags | QUIET) if number == len(parts) else os.O_RDONLY | os.O_DIRECTORY | QUIET
        try:
            deeper = os.open(part, wanted | os.O_NOFOLLOW, dir_fd=current)
        finally:
            os.close(current)
        current = deeper
    return current


def _check_regular(fd: int, rel: str) -> None:
    found = os.fstat(fd)
    if stat.S_ISDIR(found.st_mode):
        raise PathError(f"{rel!r} is a folder; call list_files with it, or give the path of a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise PathError(f"{rel!r} is not a regular file; use another path")
    if found.st_nlink != 1:  # a second name may lie anywhere, with anything in it
        raise PathError(f"{rel!r} is a hard link to a file with another name; copy it in the sandbox and use the copy")


def _lstat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _outside(rel: str) -> PathError:
    return PathError(f"{rel!r} leaves the workspace; use a path inside it, relative to it")


def _secret(rel: str) -> PathError:
    return PathError(f"{rel!r} may hold secrets and is kept from models and programs; use another file")


def _instruction(failure: OSError, rel: str) -> PathError:
    if failure.errno in (errno.EXDEV, errno.ELOOP):
        return _outside(rel)
    if failure.errno == errno.ENOENT:
        return PathError(f"{rel!r} does not exist; call list_files to see what is there")
    if failure.errno == errno.ENOTDIR:
        return PathError(f"{rel!r} goes through something that is not a folder; call list_files to see what is there")
    if failure.errno == errno.EISDIR:
        return PathError(f"{rel!r} is a folder; give the path of a file")
    if failure.errno == errno.ENXIO:
        return PathError(f"{rel!r} is not a regular file; use another path")
    if failure.errno == errno.ENAMETOOLONG:
        return PathError(f"the path {rel[:60]!r}... is too long; use a shorter one")
    return PathError(f"{rel!r} cannot be used: {failure.strerror}; use another path")
