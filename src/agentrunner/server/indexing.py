"""Reads files into vector stores, in the background. The rows say what is to be done, so a restart goes on with it.

Every file comes to an end, completed or failed with a reason: clients ask until none is left in progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path, PurePath
from typing import NamedTuple

from agentrunner.errors import AgentError
from agentrunner.journal.database import Execute
from agentrunner.journal.encoding import decode
from agentrunner.retrieval.chunk import chunks
from agentrunner.retrieval.documents import Unreadable
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.kinds import kind_of
from agentrunner.retrieval.parse import Parser
from agentrunner.retrieval.passages import Chunk
from agentrunner.server.services import Services
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.stores import take_bytes
from agentrunner.server.vectors import failure_of
from agentrunner.server.wire.parts import object_in
from agentrunner.types import JSON

SLOTS = 2
"""Files that are read at a time: parsing shares the processor with the requests."""
ORIGINAL_SUFFIXES = (
    ".c", ".cpp", ".cs", ".css", ".doc", ".docx", ".go", ".html", ".java", ".js", ".json", ".md", ".pdf", ".php",
    ".pptx", ".py", ".rb", ".sh", ".tex", ".ts", ".txt",
)  # fmt: skip
"""What the original took into vector stores."""
LOOK_AGAIN_S = 2.0
"""Other processes may have added files too."""


class Job(NamedTuple):
    owner: str
    store_id: str
    file: JSON

    @property
    def key(self) -> tuple[str, str]:
        return self.store_id, self.file["_token"]


class Failed(Exception):
    """Why a file could not be indexed: a code that clients know, and a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Indexer:
    """The index of all vector stores, and what fills it."""

    def __init__(self, home: Path, *, strict: bool = False) -> None:
        """`strict`: files that the original refused are refused, though they could be read."""
        self._strict = strict
        self.index = Index(home / "stores.db", tell=self._index_lost)
        self.reader = Index(home / "stores.db", tell=self._index_lost)
        """For what must not wait while a file is put in."""
        self._lost = True
        self._parser = Parser()
        self._wake = asyncio.Event()
        self._done = asyncio.Condition()
        self._busy: set[tuple[str, str]] = set()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self, services: Services) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(SLOTS):
                group.create_task(self._slot(services))

    async def wait_for_change(self, timeout_s: float) -> None:
        """Until some file came to its end, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._done:
                await self._done.wait()

    def close(self) -> None:
        self._parser.close()
        self.reader.close()
        self.index.close()

    async def _slot(self, services: Services) -> None:
        while True:
            if self._lost:
                self._lost = False
                await services.store.write_all(self._reopen_lost)
            self._wake.clear()
            job = await services.store.read_all(self._next)
            if job is None or job.key in self._busy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._wake.wait()
                continue
            self._busy.add(job.key)
            self.wake()  # for the other slots: there may be more
            try:
                await self._work(services, job)
            finally:
                self._busy.discard(job.key)
            async with self._done:
                self._done.notify_all()

    def _index_lost(self, sentence: str) -> None:
        print(f"agent: {sentence}", file=sys.stderr)
        self._lost = True

    def _next(self, execute: Execute) -> Job | None:
        rows = execute(
            "SELECT owner, parent, data FROM server_objects WHERE kind = 'store_file' AND status = 'in_progress'"
            " AND deleted = 0 ORDER BY seq LIMIT ?",
            (len(self._busy) + 1,),
        ).fetchall()
        jobs = [Job(str(owner), str(parent), decode(data)) for owner, parent, data in rows]
        return next((job for job in jobs if job.key not in self._busy), None)

    async def _work(self, services: Services, job: Job) -> None:
        try:
            size = await asyncio.to_thread(self._index, services.blobs.path(job.file["_sha256"]), job)
            # Its words are in: whatever becomes of its vectors, it can be found.
            why = await services.vectors.embed(job.owner, job.store_id, job.file["id"]) if services.vectors else ""
            outcome: JSON = {"status": "completed", "usage_bytes": size, "last_error": failure_of(why)}
        except Failed as failed:
            outcome = {"status": "failed", "last_error": {"code": failed.code, "message": failed.sentence}}
        except Exception as error:  # the edge of this process: a file whose reading broke must not stay in progress
            sentence = str(error) if isinstance(error, AgentError) else f"{type(error).__name__}: {error}"
            outcome = {"status": "failed", "last_error": {"code": "server_error", "message": sentence[:1_000]}}
        wanted = await services.store.write(job.owner, lambda t: _finish(t, job, outcome))
        if not wanted:
            await asyncio.to_thread(self.index.drop, job.store_id, job.file["id"])

    def _index(self, path: Path, job: Job) -> int:
        name: str = job.file["_filename"]
        suffix = PurePath(name).suffix.lower()
        if self._strict and suffix not in ORIGINAL_SUFFIXES:
            shown = " ".join(ORIGINAL_SUFFIXES)
            raise Failed(
                "unsupported_file",
                f"Files with extensions [{suffix}] are not supported for retrieval. Supported: {shown}",
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise Failed("server_error", f"{name!r} is no longer on the server's disk: {error.strerror}") from None
        try:
            kind_of(content, name)
        except Unreadable as unreadable:
            raise Failed("unsupported_file", f"{name!r} {unreadable.sentence}") from None
        try:
            document = self._parser.parse_bytes(content, name)
        except Unreadable as unreadable:
            raise Failed("invalid_file", unreadable.sentence) from None
        sizes = job.file["chunking_strategy"]["static"]
        passages = list(
            chunks(document, max_tokens=sizes["max_chunk_size_tokens"], overlap_tokens=sizes["chunk_overlap_tokens"])
        )
        if not passages:
            raise Failed("invalid_file", f"{name!r} has no text in it")
        attributes = object_in(job.file, "attributes")
        self.index.put(
            job.store_id, job.file["id"], passages, version=version_of(job.file), title=name, attributes=attributes
        )
        return size_of(passages)

    def _reopen_lost(self, execute: Execute) -> None:
        """What the rows call completed is indexed again when the index does not have it: it may have been lost."""
        rows = execute(
            "SELECT owner, parent, data FROM server_objects WHERE kind = 'store_file' AND status = 'completed'"
            " AND deleted = 0 ORDER BY parent"
        ).fetchall()
        of_store: dict[str, dict[str, str]] = {}
        for owner, store_id, data in rows:
            file = decode(data)
            if store_id not in of_store:
                of_store = {store_id: self.index.versions(store_id)}
            if of_store[store_id].get(file["id"]) != version_of(file):
                file |= {"status": "in_progress"}
                Tenant(execute, owner).save("store_file", file, parent=store_id)


def version_of(file: JSON) -> str:
    """Changes with what of a file is in the index."""
    sizes = file["chunking_strategy"]["static"]
    return f"{file['_sha256']} {sizes['max_chunk_size_tokens']} {sizes['chunk_overlap_tokens']}"


def size_of(passages: list[Chunk]) -> int:
    return sum(len(passage.text.encode("utf-8", "surrogatepass")) for passage in passages)


def _finish(t: Tenant, job: Job, outcome: JSON) -> bool:
    """Whether the outcome is still wanted: meanwhile the file may have been taken out, cancelled, or put in anew."""
    if t.get("store", job.store_id) is None:
        return False
    store = t.lock("store", job.store_id)
    file = t.get("store_file", job.file["id"], job.store_id)
    if file is None or file["status"] != "in_progress":
        return False
    if file["_token"] != job.file["_token"]:
        return True
    before = file["usage_bytes"]
    t.save("store_file", file | outcome, parent=job.store_id)
    take_bytes(t, store, outcome.get("usage_bytes", 0) - before)
    return outcome["status"] == "completed"
