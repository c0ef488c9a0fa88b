"""The server's own tools of a run: what they are called, and what carries them out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from agentrunner.engine import Purse
from agentrunner.journal.sessions import make_private
from agentrunner.server.desks import Desks, laid_out, lay_out, put_away
from agentrunner.server.file_search import MAX_BYTES, search_form, search_tool
from agentrunner.server.interpreter import interpreter_tool, python_form, save
from agentrunner.server.marks import paths_in
from agentrunner.server.services import Services
from agentrunner.server.steps import RunView
from agentrunner.server.storage.tables import Tenant
from agentrunner.strategies.prompts import load_prompts
from agentrunner.tools import LocalToolbox, Policy, Tool
from agentrunner.types import JSON, Event, ToolSpec

CLEAR_S = 30.0
MAX_NAMED = 20
"""Files that one answer may link to."""


@dataclass(frozen=True, slots=True)
class Code:
    """What a run's interpreter finds: names in its folder, what the model is told of them, the sandbox's level."""

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    level: str = "OFF"


class Tools:
    """For all runs of this server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._desks = Desks(services.home, services.settings, lambda thread_id: services.worker.is_at(thread_id))

    @cached_property
    def prompts(self) -> Mapping[str, str]:
        return load_prompts(self._services.settings.prompts)

    @cached_property
    def _sessions(self) -> Path:
        return make_private(self._services.home, "sessions")

    async def run(self) -> None:
        """Clears desks that nobody uses, until cancelled; then all of them."""
        try:
            while True:
                await asyncio.sleep(CLEAR_S)
                folders = await asyncio.to_thread(self._desks.folders)
                threads = await self._services.store.scan(
                    lambda execute: {
                        str(id_)
                        for (id_,) in execute("SELECT id FROM server_objects WHERE kind = 'thread' AND deleted = 0")
                    }
                )
                await self._desks.clear(lambda id_, known=threads: id_ not in known, folders)
        finally:
            await self._desks.aclose()

    def specs(self, run: JSON) -> tuple[ToolSpec, ...]:
        """As a model sees them; the deliberation is the client's own affair."""
        made = [python_form()] if _has(run, "code_interpreter") else []
        made += [search_form()] if _has(run, "file_search") else []
        return tuple(replace(tool.spec(), thoughts=False) for tool in made)

    async def prepare(self, owner: str, run: JSON) -> Code:
        """What has to be there before the run begins. Raises `UsageError` where code cannot be run."""
        if not _has(run, "code_interpreter"):
            return Code()
        desk = await self._desks.at(run["thread_id"])
        desk.cells.warm_up()
        ids: list[str] = run["tool_resources"]["code_interpreter"]["file_ids"]
        before = await asyncio.to_thread(laid_out, desk.folder)

        def read(t: Tenant) -> tuple[list[JSON], set[str]]:
            return t.children("file", ids), {file["id"] for file in t.children("file", before)}

        files, there = await self._services.store.read(owner, read)
        await asyncio.to_thread(put_away, desk.folder, set(before) - there)
        names, notes = await asyncio.to_thread(lay_out, desk.folder, files, self._services.blobs.path)
        return Code(tuple(names), tuple(notes), desk.sandbox.level)

    async def open(self, owner: str, run: JSON, purse: Purse, marks_after: int = 0) -> LocalToolbox:
        """`purse`: what the run's tools pay from."""
        made: list[Tool] = []
        if _has(run, "code_interpreter"):
            desk = await self._desks.at(run["thread_id"])
            made.append(interpreter_tool(self._services, owner, desk, self._services.settings.python_timeout))
        if _has(run, "file_search"):
            made.append(search_tool(self._services, owner, run, purse, marks_after))
        folder = self._sessions / run["id"]
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700, parents=True)
        return LocalToolbox(made, policy=Policy("yes"), outputs=folder / "outputs", max_result_bytes=2 * MAX_BYTES)

    async def save_named(self, owner: str, view: RunView, event: Event) -> None:
        """Make files of those that an answer links to."""
        if event.type != "completion.received" or not _has(view.run, "code_interpreter"):
            return
        paths = dict.fromkeys(path for path, _ in paths_in(str(event.data["text"])))
        for path in list(paths)[:MAX_NAMED]:
            if path not in view.files:
                root = (await self._desks.at(view.run["thread_id"])).places.root
                file_id = await save(self._services, owner, root, path)
                if not file_id and unquote(path) != path:  # as links are written in pages
                    file_id = await save(self._services, owner, root, unquote(path))
                view.files |= {path: file_id} if file_id else {}


def _has(run: JSON, kind: str) -> bool:
    return any(tool["type"] == kind for tool in run["tools"])
