"""The way to the tables for code that must not wait: changes are made in one thread of their own.

Those that come while that thread is busy go into one transaction: many runs do not wait for the disk one by one. What
is read of a file comes at once, through a connection that waits for no change; a thread would take longer to wake.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from agentrunner.journal.database import Database, Execute
from agentrunner.journal.sqlite import SqliteDatabase
from agentrunner.server.storage.schema import prepare
from agentrunner.server.storage.tables import Tenant

T = TypeVar("T")

MAX_TOGETHER = 64
"""Changes in one transaction: whoever is first must not wait for ever longer."""


class _Change(NamedTuple):
    work: Callable[[Execute], Any]
    told: Future[Any]


class Store:
    """Objects in a database. A connection is used by one thread at a time anyway, so there is one for changes."""

    def __init__(self, database: Database) -> None:
        prepare(database)
        self.database = database
        self._reader = database.another() if isinstance(database, SqliteDatabase) else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._changes: queue.SimpleQueue[_Change] = queue.SimpleQueue()

    async def read(self, owner: str, work: Callable[[Tenant], T]) -> T:
        """What `work` finds in a few rows; all that was written before is there. It may be called more than once."""
        return await self.read_all(lambda execute: work(Tenant(execute, owner)))

    async def write(self, owner: str, work: Callable[[Tenant], T], *, alone: bool = False) -> T:
        """What `work` returns, when all that it did is durable; when it raises, nothing was done."""
        return await self.write_all(lambda execute: work(Tenant(execute, owner)), alone=alone)

    async def read_all(self, work: Callable[[Execute], T]) -> T:
        """For what concerns all owners."""
        if self._reader is None:
            return await self.scan(work)
        return self._reader.read(work)

    async def scan(self, work: Callable[[Execute], T]) -> T:
        """The same for many rows: nobody waits while they are read."""
        return await _told(self._thread.submit(lambda: self.database.read(work)))

    async def write_all(self, work: Callable[[Execute], T], *, alone: bool = False) -> T:
        if alone:
            return await _told(self._thread.submit(lambda: self.database.write(work, alone=True)))
        change = _Change(work, Future[T]())
        self._changes.put(change)
        self._thread.submit(self._write)
        return await _told(change.told)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        if self._reader is not None:
            self._reader.close()

    def _write(self) -> None:
        """What waits to be written. Each change is followed by a call of this, so the last finds nothing."""
        changes: list[_Change] = []
        while len(changes) < MAX_TOGETHER:
            try:
                changes.append(self._changes.get_nowait())
            except queue.Empty:
                break
        if not changes:
            return
        try:
            if len(changes) == 1:  # Nothing else has to be kept when it fails.
                found = [self.database.write(changes[0].work)]
            else:
                found = self.database.write_each([change.work for change in changes])
        except BaseException as error:
            # The edge of a thread: whoever waits is told, whatever it was.
            found = [error] * len(changes)
        for change, one in zip(changes, found, strict=True):
            if isinstance(one, BaseException):
                change.told.set_exception(one)
            else:
                change.told.set_result(one)


async def _told(future: Future[T]) -> T:
    # Whoever waits may be cancelled at any time; what was begun is brought to its end all the same.
    return await asyncio.shield(asyncio.wrap_future(future))
