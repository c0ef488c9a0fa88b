"""Takes out of the workspace what sandboxed programs left there for other programs to execute, and says what it could
not take out and what was changed of the user's. What such things are, `executed` knows.

A sandbox ends at its walls, but the user's shell, editor and git read such names later, outside of them. What was there
before is the user's and stays: people ask agents to edit it, so a change is only reported. Nothing is deleted.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .executed import MAX_ENTRIES, Found, Mark, descended, look, mark_of, opened, permitted

FOLDER = "quarantined"
MAX_MOVED = 10_000
"""Moved by one sweep, in less than a second; the next one takes the others."""
_MAX_SHOWN, _MAX_SHOWN_CHARS = 20, 200
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What lay there is there no more, or a folder on the way is none any more."""


class Moved(NamedTuple):
    """Both paths are relative to the workspace."""

    path: str
    now: str


class Stuck(NamedTuple):
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What there is to say; false when there is nothing. All paths are relative to the workspace."""

    moved: tuple[Moved, ...] = ()
    changed: tuple[str, ...] = ()
    """The user's own, with something else in it than before."""
    stuck: tuple[Stuck, ...] = ()
    left: int = 0
    """Still to be moved."""
    unseen: bool = False
    """There are more names now than are looked at."""

    def __bool__(self) -> bool:
        return bool(self.lines())

    def lines(self) -> list[str]:
        """For people and models."""
        stuck = [f"{_shown(path)} ({why})" for path, why in self.stuck]
        said = [
            ("moved ", [f"{_shown(path)} to {_shown(now)}" for path, now in self.moved], "would execute it"),
            ("changed ", [_shown(path) for path in self.changed], "execute it; look at it before they do"),
            ("could not move ", stuck, "would execute it; remove it before they do"),
        ]
        lines = [f"{what}{_some(items)}: other programs {why}" for what, items, why in said if items]
        if self.left:
            lines.append(f"left {self.left:,} more where they are: other programs would execute them")
        if self.unseen:
            lines.append(f"looked at {MAX_ENTRIES:,} names in the workspace only: others may be executed")
        return lines


class Quarantine:
    """Of one workspace. What it holds when this is made is the user's."""

    def __init__(self, workspace: Path) -> None:
        self._fd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._users: dict[str, Mark] = {}
        self._said: set[str] = set()
        self._numbers = Counter[str]()
        self._unseen = False
        for seen in look(self._fd):
            if seen is None:
                self._unseen = True  # the user knows how large it is
            else:
                with suppress(OSError):
                    self._users[seen[0].path] = mark_of(seen[1], seen[0].name)
        self._owned = {mark.inode: mark.content for mark in self._users.values()}
        """By inode, to know it again under another name. A new file may get the number of one that was removed, so what
        it holds counts too."""

    def close(self) -> None:
        os.close(self._fd)

    def sweep(self) -> Swept:
        """Moves what is new and would be executed to names that nothing executes. Others may change the workspace at
        the same time; whatever then lies at a name is what is moved."""
        new: list[Found] = []
        changed: list[str] = []
        unseen = False
        for seen in look(self._fd):
            if seen is None:
                unseen, self._unseen = not self._unseen, True
                continue
            found, folder = seen
            before = self._users.get(found.path)
            try:
                mark = mark_of(folder, found.name, before)
            except OSError:  # gone, or hidden from us
                new += [found] if before is None else []
                continue
            if before is not None:
                changed += _differences(found.path, before, mark)
            elif self._owned.get(mark.inode) != mark.content:
                new.append(found)
                continue
            self._users[found.path] = mark  # the user's own, under another name too
        done = [self._move(found) for found in new[:MAX_MOVED]]
        return Swept(
            tuple(each for each in done if isinstance(each, Moved)),
            tuple(changed),
            tuple(self._not_said(each for each in done if isinstance(each, Stuck))),
            max(0, len(new) - MAX_MOVED),
            unseen,
        )

    def _not_said(self, stuck: Iterator[Stuck]) -> Iterator[Stuck]:
        for each in stuck:
            if each.path not in self._said:
                self._said.add(each.path)
                yield each

    def _move(self, found: Found) -> Moved | Stuck | None:
        """None when it is gone."""
        try:
            with descended(self._fd, found.folder) as folder, self._into() as (place, prefix):
                kind = os.stat(found.name, dir_fd=folder, follow_symlinks=False).st_mode
                suffix = "" if stat.S_ISDIR(kind) else ".txt"
                plain = found.name.lstrip(".").replace(".", "-")[:100]
                name = self._free(place, plain, suffix)
                if stat.S_ISDIR(kind):
                    with opened(folder, found.name):  # a folder that cannot be changed cannot be moved either
                        os.rename(found.name, name, src_dir_fd=folder, dst_dir_fd=place)
                else:
                    os.rename(found.name, name, src_dir_fd=folder, dst_dir_fd=place)
                return Moved(found.path, f"{prefix}/{name}")
        except OSError as failure:
            return None if failure.errno in _GONE else Stuck(found.path, failure.strerror or "")

    def _free(self, place: int, plain: str, suffix: str) -> str:
        """A name that nothing has in the folder of what was moved."""
        while True:
            self._numbers[plain] += 1
            name = f"{plain}-{self._numbers[plain]}{suffix}"
            try:
                os.stat(name, dir_fd=place, follow_symlinks=False)
            except FileNotFoundError:
                return name

    @contextmanager
    def _into(self) -> Generator[tuple[int, str]]:
        """The folder of what was moved. A link or file of its name is none, then it gets another name."""
        with permitted(self._fd):
            owner = os.fstat(self._fd)
            for name in (FOLDER, f"{FOLDER}-{secrets.token_hex(4)}"):
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self._fd)
                    if os.geteuid() == 0 and owner.st_uid:  # root working in somebody else's folder
                        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=self._fd, follow_symlinks=False)
                if stat.S_ISDIR(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode):
                    with opened(self._fd, name) as fd:
                        yield fd, name
                    return
            raise OSError(errno.ENOTDIR, "there is no place for it")


def _differences(path: str, before: Mark, now: Mark) -> list[str]:
    """What is new or other; what was removed is not executed any more."""
    if now is before:
        return []
    return [
        f"{path}/{each}" if each else path for each, held in now.content.items() if before.content.get(each) != held
    ]


def _some(items: list[str]) -> str:
    more = f" and {len(items) - _MAX_SHOWN:,} more" if len(items) > _MAX_SHOWN else ""
    return ", ".join(items[:_MAX_SHOWN]) + more


def _shown(path: str) -> str:
    return repr(path if len(path) <= _MAX_SHOWN_CHARS else f"{path[:_MAX_SHOWN_CHARS]}...")
