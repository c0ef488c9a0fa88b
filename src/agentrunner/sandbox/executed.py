"""Finds what in a workspace other programs execute, or read commands from, by its name; tells whether it is still what
it was. It moves nothing.

Works on descriptors of folders, so no link is ever followed. Folders that their owner may not enter are entered all the
same: for that long they get another mode, since a program may take it from them to hide what lies there.
"""
# ruff: noqa: PTH101, PTH208 - names in a descriptor

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from .trees import QUIET

EXECUTED = frozenset(
    {
        ".envrc",  # direnv runs it on entering the folder
        ".vscode", ".idea", ".devcontainer", ".fleet", ".zed",  # tasks and settings with commands
        ".husky",  # hooks of git, wherever core.hooksPath leads there
        ".claude", ".cursor", ".gemini", ".codex", ".kiro", ".opencode",  # hooks and servers of coding agents
        ".mcp.json", "opencode.json",
        ".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".gdbinit", ".lldbinit",  # run on opening
        ".Rprofile", ".pdbrc", ".irbrc", ".ghci", ".octaverc",  # run by an interpreter that is started there
        ".cargo",  # programs that cargo, and editors by it, start instead of the compiler
        ".gitmodules", ".hgsub",  # names addresses that are fetched from
    }
)  # fmt: skip
"""Names that other programs execute, or read commands from, because a user enters or opens a folder. Build files are
not among them: those run when somebody asks for it by name."""

MAX_ENTRIES, _MAX_DEPTH = 50_000, 32
"""More than a session may add to a workspace; deeper is nothing that a person opens."""
_MAX_CONFIG_BYTES = 64 << 10
_MAX_READ_BYTES = 256 << 10
"""Settings and hooks are smaller; of what is larger, the time of its last change tells enough."""
_MAX_FILES = 2_000
"""Remembered of one folder such as `.idea`."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | QUIET
_HANDLE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_HG = ("hgrc", "hgrc-not-shared", "sharedpath")
_LOOSE = re.compile(r"[0-9a-f]{2}|pack")
_PLAIN_KEYS = re.compile(
    r"core\.(repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|precomposeunicode|symlinks|autocrlf|eol)"
    r"|user\.(name|email)|init\.defaultbranch|extensions\.objectformat|commit\.gpgsign|pull\.(rebase|ff)|push\.default"
    r"|(branch|remote)\.(remote|merge|rebase|description|url|fetch)|advice\.\w+|gc\.auto"
)
"""What a fresh repository's configuration holds; every other key may name a command or another file."""


class Found(NamedTuple):
    folder: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        return "/".join((*self.folder, self.name))


class Mark(NamedTuple):
    """What was found under a name: the file or folder, and what it holds."""

    inode: tuple[int, int]
    times: bytes
    """Of all that it holds; as long as they are the same, nothing needs to be read again."""
    content: dict[str, bytes]
    """By path below the name, which is empty for a file."""


# --- folders ---------------------------------------------------------------------------------------------------------


@contextmanager
def opened(above: int, name: str) -> Generator[int]:
    """A folder, no link, that its owner can list and change for as long as it is open."""
    handle = os.open(name, _HANDLE, dir_fd=above)
    try:
        with permitted(handle):
            fd = os.open(".", _OPEN, dir_fd=handle)
            try:
                yield fd
            finally:
                os.close(fd)
    finally:
        os.close(handle)


@contextmanager
def permitted(folder: int) -> Generator[None]:
    """Changes the mode of an opened folder where its owner may not do everything, and takes that back."""
    seen = os.fstat(folder)
    mode = stat.S_IMODE(seen.st_mode)
    change = seen.st_uid == os.geteuid() and mode & 0o700 != 0o700
    if change:
        with suppress(OSError):
            os.chmod(f"/proc/self/fd/{folder}", mode | 0o700)
    try:
        yield
    finally:
        if change:
            with suppress(OSError):
                os.chmod(f"/proc/self/fd/{folder}", mode)


@contextmanager
def descended(root: int, place: tuple[str, ...]) -> Generator[int]:
    """Opened name by name, so that a folder swapped for a link is an error."""
    if not place:
        with permitted(root), opened(root, ".") as fd:
            yield fd
    else:
        with descended(root, place[:-1]) as above, opened(above, place[-1]) as fd:
            yield fd


# --- what is there ---------------------------------------------------------------------------------------------------


def look(root: int) -> Iterator[tuple[Found, int] | None]:
    """All that would be executed, near the top first, each with the folder that it lies in, open until the next one.
    None when there was more than could be looked at."""
    left = MAX_ENTRIES
    waiting: deque[tuple[str, ...]] = deque([()])
    while waiting:
        if left <= 0:
            yield None
            return
        place = waiting.popleft()
        with suppress(OSError), descended(root, place) as folder:
            found: dict[str, bool] = {}  # whether each is a folder
            with os.scandir(folder) as entries:
                found.update((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
            left -= len(found)
            executed = set(_in_folder(folder, found))
            for name in sorted(executed):
                yield Found(place, name), folder
            for name in ("hooks", ".hg"):
                if found.get(name) and (name == ".hg" or _is_git(found)):
                    with suppress(OSError), opened(folder, name) as below:
                        yield from ((Found((*place, name), each), below) for each in _listed(name, below))
            if len(place) < _MAX_DEPTH:
                loose = bool(place) and place[-1] == "objects"  # of git: many, and never executed
                waiting += [
                    (*place, name)
                    for name in sorted(found)
                    if found[name] and name not in executed and not (loose and _LOOSE.fullmatch(name))
                ]


def _in_folder(folder: int, found: dict[str, bool]) -> Iterator[str]:
    """Of the names in a folder (and whether each is a folder) those that are executed."""
    yield from (name for name in found if name in EXECUTED)
    yield from (name for name in (".git", ".hg") if name in found and not found[name])  # leads anywhere
    if not _is_git(found):
        return
    if "hooks" in found and not found["hooks"]:
        yield "hooks"
    yield from (name for name in ("commondir", "config.worktree") if name in found)
    if "config" in found and not found["config"] and not _is_plain(folder):
        yield "config"


def _listed(name: str, folder: int) -> list[str]:
    """What is executed of the hooks of git or in the folder of Mercurial."""
    names = sorted(os.listdir(folder))
    if name == "hooks":
        return [each for each in names if not each.endswith(".sample")]
    return [each for each in names if each in _OF_HG]


def _is_git(found: dict[str, bool]) -> bool:
    """Git takes less for a repository than one would think: links, files in the place of folders, parts elsewhere."""
    return "HEAD" in found and any(name in found for name in ("objects", "refs", "commondir", "config"))


def _is_plain(folder: int) -> bool:
    """Whether the configuration holds nothing but what cannot name a command. What is not understood is not plain."""
    try:
        fd = os.open("config", os.O_RDONLY | os.O_NOFOLLOW | QUIET, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return False
            text = os.read(fd, _MAX_CONFIG_BYTES).decode()
        finally:
            os.close(fd)
    except (OSError, UnicodeDecodeError):
        return False
    section = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if heading := re.fullmatch(r'\[([A-Za-z]+)(?: "[^"\\]*")?\]', line):
            section = heading[1].lower()
            continue
        key, _, value = line.partition("=")
        if not _PLAIN_KEYS.fullmatch(f"{section}.{key.strip().lower()}") or value.endswith("\\"):
            return False
    return len(text.encode()) < _MAX_CONFIG_BYTES


# --- whether it is what it was ---------------------------------------------------------------------------------------


def mark_of(folder: int, name: str, before: Mark | None = None) -> Mark:
    """`before` itself when nothing changed since then."""
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    files = _files(folder, name, contents=False)
    times = hashlib.sha256(repr(sorted(files.items())).encode()).digest()
    if before and before.times == times:
        return before
    return Mark((seen.st_dev, seen.st_ino), times, _files(folder, name, contents=True))


def _files(folder: int, name: str, contents: bool, path: str = "", left: int = _MAX_FILES) -> dict[str, bytes]:
    """Of each file what it holds, or its times."""
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISDIR(seen.st_mode):
        kind = f"{stat.S_IFMT(seen.st_mode)} {seen.st_mode & 0o111} "
        held = _content(folder, name, seen) if contents else None
        return {path: kind.encode() + (_times(seen) if held is None else held)}
    files: dict[str, bytes] = {}
    if path.count("/") < _MAX_DEPTH:
        with suppress(OSError), opened(folder, name) as below:
            for each in sorted(os.listdir(below)):
                if len(files) >= left:
                    break
                with suppress(OSError):  # gone meanwhile
                    inner = f"{path}/{each}".lstrip("/")
                    files |= _files(below, each, contents, inner, left - len(files))
    return files


def _times(seen: os.stat_result) -> bytes:
    return f"{seen.st_dev} {seen.st_ino} {seen.st_ctime_ns} {seen.st_size}".encode()


def _content(folder: int, name: str, seen: os.stat_result) -> bytes | None:
    """The digest of a file or of where a link leads; None when it cannot be read or is too large."""
    with suppress(OSError):
        if stat.S_ISLNK(seen.st_mode):
            return hashlib.sha256(os.fsencode(os.readlink(name, dir_fd=folder))).digest()
        if stat.S_ISREG(seen.st_mode) and seen.st_size <= _MAX_READ_BYTES:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | QUIET, dir_fd=folder)
            try:
                return hashlib.sha256(os.read(fd, _MAX_READ_BYTES)).digest()
            finally:
                os.close(fd)
    return None
