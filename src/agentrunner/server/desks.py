"""One sandboxed interpreter for each thread, with the thread's files: its folder is /mnt/data to whatever runs there.

A desk is cleared after an hour without use, or when many wait: variables are gone then, files stay as long as
the thread does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.errors import SandboxError, UsageError
from agentrunner.journal.sessions import make_private
from agentrunner.sandbox import Limits, Sandbox, open_sandbox
from agentrunner.server.ids import is_id
from agentrunner.tools.python import BranchCells
from agentrunner.tools.workspace import Workspace
from agentrunner.types import JSON

if TYPE_CHECKING:
    from agentrunner.config import Settings

PLACE = "/mnt/data"
IDLE_S = 3_600.0
"""What the original kept an interpreter for."""

MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MAX_WAITING = max(16, MEMORY // 4 // (80 << 20))
"""Interpreters without a run that goes on: a quarter of the machine's memory, for each has five processes, and up to
80 MB before it does anything."""


@dataclass
class Desk:
    """An interpreter and its folder."""

    folder: Path
    sandbox: Sandbox
    cells: BranchCells
    places: Workspace
    used: float = field(default_factory=time.monotonic)
    busy: bool = False
    ran: bool = False
    """Whether there was a cell, so that there may be variables."""

    async def aclose(self) -> None:
        await self.cells.aclose()
        await self.sandbox.aclose()

    @property
    def worn_out(self) -> bool:
        """Whether it has used the processor time that one interpreter may use."""
        return self.sandbox.cpu_used_s >= self.sandbox.limits.cpu_total_s


class Desks:
    """By thread. All of it belongs to one event loop."""

    def __init__(self, home: Path, settings: Settings, in_use: Callable[[str], bool] = lambda _: False) -> None:
        """`in_use`: whether there is a run at work on a thread."""
        self._home, self._settings, self._in_use = home, settings, in_use
        self._desks: dict[str, Desk] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    def folder(self, thread_id: str) -> Path:
        return make_private(self._home, "threads", thread_id)

    async def at(self, thread_id: str) -> Desk:
        """The thread's desk. Raises `UsageError` where code cannot be run as it should."""
        async with self._opening.setdefault(thread_id, asyncio.Lock()):
            desk = self._desks.get(thread_id)
            if desk is not None and desk.worn_out and not desk.busy:
                await self._desks.pop(thread_id).aclose()
                desk = None
            if desk is None:
                await self._make_room()
                desk = self._desks[thread_id] = await asyncio.to_thread(self._open, self.folder(thread_id))
            desk.used = time.monotonic()
            return desk

    def _open(self, folder: Path) -> Desk:
        settings = self._settings
        try:
            if settings.sandbox in ("partial", "none"):
                raise SandboxError(f"--sandbox {settings.sandbox} was given")
            sandbox = open_sandbox(
                folder,
                level="full",
                launcher=settings.sandbox_launcher,
                limits=Limits.parse(settings.sandbox_limits),
                allow_net=settings.allow_net,
                place=PLACE,
            )
        except SandboxError as error:
            raise UsageError(
                f"the code interpreter needs the sandbox at level FULL, where {PLACE} can be mounted; {error.message}",
                "run 'agent doctor', or leave code_interpreter out of the tools",
            ) from None
        return Desk(folder, sandbox, BranchCells(sandbox), Workspace(folder, folder.parent / "outputs"))

    def folders(self) -> list[Path]:
        """Those of all threads, also of other servers'."""
        place = self._home / "threads"
        return sorted(place.iterdir()) if place.is_dir() else []

    async def clear(self, gone: Callable[[str], bool], folders: Sequence[Path]) -> None:
        """Close what was not used for long, and remove those `folders` whose threads are gone. They were listed before
        it was known which threads there are: the folder of a thread that was made since then is not among them."""
        now = time.monotonic()
        for thread_id in list(self._desks):
            desk = self._desks[thread_id]
            if not desk.busy and (now - desk.used > IDLE_S or gone(thread_id)):
                await self._desks.pop(thread_id).aclose()
        await self._make_room()
        for folder in folders:
            if folder.name not in self._desks and gone(folder.name):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                self._opening.pop(folder.name, None)

    async def _make_room(self) -> None:
        """Clear those desks beyond `MAX_WAITING` that were not used for longest, those first at which nothing was
        done."""
        waiting = [id_ for id_, desk in self._desks.items() if not desk.busy and not self._in_use(id_)]
        waiting.sort(key=lambda id_: (self._desks[id_].ran, self._desks[id_].used))
        for thread_id in waiting[: max(0, len(waiting) - MAX_WAITING)]:
            if thread_id in self._desks and not self._in_use(thread_id):  # others may have come meanwhile
                await self._desks.pop(thread_id).aclose()

    async def aclose(self) -> None:
        for thread_id in list(self._desks):
            await self._desks.pop(thread_id).aclose()


def lay_out(folder: Path, files: Sequence[JSON], path_of: Callable[[str], Path]) -> tuple[list[str], list[str]]:
    """Put copies of these files on a desk, each under its id, with a link by its own name where that is free. Their
    names there, and sentences for the model that say both."""
    names: list[str] = []
    sentences: list[str] = []
    for file in files:
        place = folder / file["id"]
        if not os.path.lexists(place):
            # Not in the folder itself: what runs there could have put a link in its way.
            part = folder.parent / f".{folder.name}.{file['id']}"
            shutil.copyfile(path_of(file["_sha256"]), part)
            part.replace(place)
    for file in files:  # after all ids: no file's own name may stand in for the id of another
        if _is_linked(folder, file):
            names.append(file["filename"])
            sentences.append(f"{PLACE}/{file['filename']} is also there as {PLACE}/{file['id']}.")
        else:
            names.append(file["id"])
            sentences.append(f"{PLACE}/{file['id']} was uploaded as {file['filename']}.")
    return names, sentences


def laid_out(folder: Path) -> list[str]:
    """The ids of files that lie on a desk."""
    return [path.name for path in folder.iterdir() if is_id("file", path.name)]


def put_away(folder: Path, ids: Collection[str]) -> None:
    """Remove these files from a desk, and the links to them."""
    for path in list(folder.iterdir()) if ids else ():
        # What runs there may have put anything in their places.
        with contextlib.suppress(OSError):
            if path.name in ids or (path.is_symlink() and str(path.readlink()) in ids):
                path.unlink()


def _is_linked(folder: Path, file: JSON) -> bool:
    """Whether the file is there under its own name, too. A name may be longer than a file system takes."""
    link = folder / file["filename"]
    try:
        if not os.path.lexists(link):
            link.symlink_to(file["id"])
        return link.is_symlink() and str(link.readlink()) == file["id"]
    except OSError:
        return False
