"""Vectors of what is in vector stores: made beside the words, in the background, and again for another model.

A file without vectors is searched by its words; why it has none stands in its entry, and it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import zlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from agentrunner.engine import Unpaid
from agentrunner.errors import AgentError, ModelError
from agentrunner.journal.database import Execute
from agentrunner.journal.encoding import decode
from agentrunner.retrieval.embedding import Embedder
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.vectors import drop_vectors, embed_missing, spaces, without_vectors
from agentrunner.server.embedding import EmbeddingEndpoint, account_of
from agentrunner.server.services import Services
from agentrunner.server.storage.tables import Tenant
from agentrunner.types import JSON

AGAIN_S, AGAIN_MOST_S = 60.0, 3_600.0
"""Before the next look, and with each that meets a failure twice as long: some pass soon, and some not at all."""
LOOK_AGAIN_S = 0.2
"""While another server embeds files of the same store."""
NO_VECTORS = "it is found by its words alone, since it could not be embedded"


class _Indexed(NamedTuple):
    owner: str
    store_id: str
    file_id: str
    failed: bool


class VectorMaker:
    """For all stores of this server."""

    def __init__(self, services: Services, endpoint: EmbeddingEndpoint) -> None:
        self._services = services
        self.endpoint = endpoint
        self._stores: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a file of the store is embedded: no text is paid for twice."""
        # Closing any descriptor of this file would let go of all its locks, so there is one, for good.
        path = services.home / "vectors.lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.behind = True
        """Whether there may be files without vectors, from before this server started or after a failure."""
        self._failures = 0

    async def run(self) -> None:
        """Make what is missing, until cancelled."""
        wait_s = AGAIN_S
        while True:
            if self.behind:
                before = self._failures
                await self._catch_up()
                self.behind = self._failures > before
                wait_s = min(AGAIN_MOST_S, 2 * wait_s) if self.behind else AGAIN_S
            await asyncio.sleep(wait_s)

    async def embed(self, owner: str, store_id: str, file_id: str) -> str:
        """Make the vectors of a file whose words are in the index. Why that failed, empty when it did not."""
        return _sentence(await self._make(owner, store_id, file_id))

    async def _make(self, owner: str, store_id: str, file_id: str) -> AgentError | Unpaid | None:
        loop, pay = asyncio.get_running_loop(), account_of(self._services, owner)

        def ask(texts: Sequence[str]) -> Sequence[Sequence[float]]:
            return asyncio.run_coroutine_threadsafe(self.endpoint.of_file(texts, pay), loop).result()

        embedder = Embedder(self.endpoint.model, ask)
        try:
            async with self._stores[store_id], self._alone(store_id):
                await asyncio.to_thread(_embed, self._services.indexer.index, store_id, file_id, embedder)
        except (AgentError, Unpaid) as error:
            self.behind = True
            self._failures += 1
            return error
        return None

    @contextlib.asynccontextmanager
    async def _alone(self, store_id: str) -> AsyncGenerator[None]:
        """The same among all servers of this AGENT_HOME: each has a place in one file for every store."""
        place = zlib.crc32(store_id.encode())
        while not self._take(place):  # noqa: ASYNC110 - it is another process that lets go
            await asyncio.sleep(LOOK_AGAIN_S)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, place)

    def _take(self, place: int) -> bool:
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # systems differ in which of the two they say
            return False
        return True

    async def _catch_up(self) -> None:
        for store_id, files in (await self._services.store.scan(_indexed)).items():
            missing = await asyncio.to_thread(self._missing, store_id)
            for file in files:
                if file.file_id not in missing and not file.failed:
                    continue
                error = await self._make(file.owner, store_id, file.file_id)
                why = _sentence(error)
                await self._services.store.write(file.owner, lambda t, file=file, why=why: _note(t, file, why))
                if error is not None and isinstance(error.__cause__, ModelError) and error.__cause__.kind != "refused":
                    return  # The endpoint is away, or has too much to do: others would wait for it in vain.

    def _missing(self, store_id: str) -> set[str]:
        index = self._services.indexer.index
        _drop_others(index, store_id, self.endpoint.model)
        return set(without_vectors(index, store_id))


def _sentence(error: AgentError | Unpaid | None) -> str:
    return f"{NO_VECTORS}: {error}"[:1_000] if error else ""


def failure_of(why: str) -> JSON | None:
    """As it stands in a file's entry."""
    return {"code": "server_error", "message": why} if why else None


def _embed(index: Index, store_id: str, file_id: str, embedder: Embedder) -> None:
    _drop_others(index, store_id, embedder.model)
    embed_missing(index, store_id, embedder, file_id)


def _drop_others(index: Index, store_id: str, model: str) -> None:
    """Vectors of two models are never compared, so those of another one are of no use any more."""
    space = spaces(index, [store_id]).get(store_id)
    if space is not None and space.model != model:
        drop_vectors(index, store_id)


def _indexed(execute: Execute) -> dict[str, list[_Indexed]]:
    rows = execute(
        "SELECT owner, parent, data FROM server_objects WHERE kind = 'store_file' AND status = 'completed'"
        " AND deleted = 0 ORDER BY parent, seq"
    ).fetchall()
    found: dict[str, list[_Indexed]] = {}
    for owner, store_id, data in rows:
        file = decode(data)
        entry = _Indexed(str(owner), str(store_id), file["id"], file["last_error"] is not None)
        found.setdefault(entry.store_id, []).append(entry)
    return found


def _note(t: Tenant, file: _Indexed, why: str) -> None:
    """Unless it was taken out, or put in anew, meanwhile."""
    found = t.get("store_file", file.file_id, file.store_id)
    if found is not None and found["status"] == "completed" and found["last_error"] != failure_of(why):
        t.save("store_file", found | {"last_error": failure_of(why)}, parent=file.store_id)
