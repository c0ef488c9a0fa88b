"""The way to the tables for code that must not wait: statements run in one thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agentrunner.journal.database import Database, Execute
from agentrunner.server.storage.schema import prepare
from agentrunner.server.storage.tables import Tenant

T = TypeVar("T")


class Store:
    """Objects in a database. Its connection is used by one thread at a time anyway, so there is one."""

    def __init__(self, database: Database) -> None:
        prepare(database)
        self.database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")

    async def read(self, owner: str, work: Callable[[Tenant], T]) -> T:
        """What `work` finds. It may be called more than once."""
        return await self._run(lambda: self.database.read(lambda execute: work(Tenant(execute, owner))))

    async def write(self, owner: str, work: Callable[[Tenant], T], *, alone: bool = False) -> T:
        """What `work` returns, when all that it did is durable; when it raises, nothing was done."""
        return await self._run(lambda: self.database.write(lambda execute: work(Tenant(execute, owner)), alone=alone))

    async def read_all(self, work: Callable[[Execute], T]) -> T:
        """For what concerns all owners."""
        return await self._run(lambda: self.database.read(work))

    async def write_all(self, work: Callable[[Execute], T], *, alone: bool = False) -> T:
        return await self._run(lambda: self.database.write(work, alone=alone))

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        # Whoever waits may be cancelled at any time; what was begun is brought to its end all the same.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))
