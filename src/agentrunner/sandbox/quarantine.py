"""Takes out of the workspace what sandboxed programs left there for other programs to execute: settings of editors and
shells, hooks and configuration of git.

A sandbox ends at its walls, but the user's shell, editor and git read such names later, outside of them. What was there
before is the user's and stays. Works on descriptors of folders, so no link is ever followed; nothing is deleted.
"""
# ruff: noqa: PTH208 - a listing of a descriptor

from __future__ import annotations

import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .paths import PathError, Root
from .trees import QUIET

FOLDER = "quarantined"
EXECUTED = frozenset(
    {
        ".envrc",  # direnv runs it on entering the folder
        ".vscode", ".idea", ".devcontainer", ".fleet", ".zed",  # tasks and settings with commands
        ".husky",  # hooks of git, wherever core.hooksPath leads there
        ".claude", ".cursor", ".mcp.json",  # hooks and servers of coding agents
        ".exrc", ".nvimrc", ".nvim.lua", ".gdbinit", ".lldbinit",  # run on opening
        ".gitmodules",  # names addresses that git fetches from
    }
)  # fmt: skip
"""Names that other programs execute, or read commands from, because a user enters or opens a folder. Build files are
not among them: those run when somebody asks for it by name."""

_MAX_ENTRIES, _MAX_DEPTH = 50_000, 32
"""More than a session may add to a workspace; deeper is nothing that a person opens."""
_MAX_MOVED = 100
_MAX_CONFIG_BYTES = 64 << 10
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | QUIET
_PLAIN_KEYS = re.compile(
    r"core\.(repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|precomposeunicode|symlinks|autocrlf|eol)"
    r"|user\.(name|email)|init\.defaultbranch|extensions\.objectformat|commit\.gpgsign|pull\.(rebase|ff)|push\.default"
    r"|(branch|remote)\.(remote|merge|rebase|description|url|fetch)|advice\.\w+|gc\.auto"
)
"""What a fresh repository's configuration holds; every other key may name a command or another file."""


class Moved(NamedTuple):
    """Both paths are relative to the workspace."""

    path: str
    now: str


class _Found(NamedTuple):
    folder: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        return "/".join((*self.folder, self.name))


class Quarantine:
    """Of one workspace. What it holds when this is made is the user's."""

    def __init__(self, workspace: Path) -> None:
        self._root = Root(workspace)
        self._fd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._users = {found.path for found in self._look()}

    def close(self) -> None:
        os.close(self._fd)
        self._root.close()

    def sweep(self) -> tuple[Moved, ...]:
        """Moves what is new and would be executed to names that nothing executes. Others may change the workspace at
        the same time; whatever then lies at a name is what is moved."""
        new = [found for found in self._look() if found.path not in self._users][:_MAX_MOVED]
        return tuple(moved for found in new if (moved := self._move(found)))

    def _move(self, found: _Found) -> Moved | None:
        with suppress(OSError, PathError), self._into() as (place, prefix), self._folder(found.folder) as folder:
            kind = os.stat(found.name, dir_fd=folder, follow_symlinks=False).st_mode
            suffix = "" if stat.S_ISDIR(kind) else ".txt"
            plain = found.name.lstrip(".").replace(".", "-")[:100]
            for number in range(1, 10_000):
                name = f"{plain}-{number}{suffix}"
                with suppress(FileNotFoundError):
                    os.stat(name, dir_fd=place, follow_symlinks=False)
                    continue
                os.rename(found.name, name, src_dir_fd=folder, dst_dir_fd=place)
                return Moved(found.path, f"{prefix}/{name}")
        return None

    @contextmanager
    def _into(self) -> Generator[tuple[int, str]]:
        """The folder of what was moved. A link or file of its name is none, then it gets another name."""
        for name in (FOLDER, f"{FOLDER}-{secrets.token_hex(4)}"):
            with suppress(OSError, PathError):
                self._root.make_dirs(name)
                fd = os.open(name, _OPEN, dir_fd=self._fd)
                break
        else:
            raise PathError(f"{FOLDER!r} cannot be made")
        try:
            yield fd, name
        finally:
            os.close(fd)

    # --- what is there -------------------------------------------------------------------------------------------

    def _look(self) -> Iterator[_Found]:
        """All that would be executed, near the top first."""
        left = _MAX_ENTRIES
        waiting: deque[tuple[str, ...]] = deque([()])
        while waiting and left > 0:
            place = waiting.popleft()
            with suppress(OSError), self._folder(place) as folder:
                with os.scandir(folder) as entries:
                    found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
                left -= len(found)
                executed = {name for name in found if name in EXECUTED}
                if ".git" in found and not found[".git"]:
                    executed.add(".git")  # a file or link that leads to a repository anywhere
                if found.get("objects") and found.get("refs") and "HEAD" in found:
                    executed |= set(_of_git(folder, found))
                    found.pop("objects")  # many, and never executed
                    for hook in _hooks(folder):
                        yield _Found((*place, "hooks"), hook)
                for name in sorted(executed):
                    yield _Found(place, name)
                if len(place) < _MAX_DEPTH:
                    waiting += [(*place, name) for name in sorted(found) if found[name] and name not in executed]

    @contextmanager
    def _folder(self, place: tuple[str, ...]) -> Generator[int]:
        """Opened name by name, so that a folder swapped for a link is an error."""
        fd = os.dup(self._fd)
        try:
            for name in place:
                deeper = os.open(name, _OPEN, dir_fd=fd)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)


def _of_git(folder: int, found: dict[str, bool]) -> Iterator[str]:
    """Names in the folder of a repository that can make git execute something or read another configuration."""
    if "hooks" in found and not found["hooks"]:
        yield "hooks"
    yield from (name for name in ("commondir", "config.worktree") if name in found)
    if "config" in found and not _is_plain(folder):
        yield "config"


def _hooks(folder: int) -> list[str]:
    with suppress(OSError):
        fd = os.open("hooks", _OPEN, dir_fd=folder)
        try:
            return sorted(name for name in os.listdir(fd) if not name.endswith(".sample"))
        finally:
            os.close(fd)
    return []


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
