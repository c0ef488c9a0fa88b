"""Changes of many at once through one thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

from agentrunner.journal.sqlite import SqliteDatabase
from agentrunner.server.faults import ApiError
from agentrunner.server.storage.store import MAX_TOGETHER, Store
from agentrunner.server.storage.tables import Tenant


def _thread(t: Tenant, id_: str) -> str:
    t.add("thread", {"id": id_, "created_at": 1})
    return id_


def test_changes_that_come_together_are_all_made_and_each_hears_its_own_end(tmp_path: Path) -> None:
    async def main(store: Store) -> None:
        go = threading.Event()
        first = asyncio.create_task(store.scan(lambda execute: go.wait(10)))
        many = [
            asyncio.create_task(store.write("me", lambda t, n=n: _thread(t, f"thread_{n}")))
            for n in range(2 * MAX_TOGETHER + 5)
        ]
        missing = asyncio.create_task(store.write("me", lambda t: t.lock("thread", "thread_none")))
        gone = asyncio.create_task(store.write("me", lambda t: _thread(t, "thread_gone")))
        await asyncio.sleep(0.05)
        gone.cancel()  # whoever waits may go; what was begun is brought to its end
        go.set()
        assert await first
        assert await asyncio.gather(*many) == [f"thread_{n}" for n in range(2 * MAX_TOGETHER + 5)]
        (error,) = await asyncio.gather(missing, return_exceptions=True)
        assert isinstance(error, ApiError)
        found = await store.read("me", lambda t: t.all("thread"))
        assert len(found) == 2 * MAX_TOGETHER + 6

    with contextlib.closing(SqliteDatabase(tmp_path)) as database, contextlib.closing(Store(database)) as store:
        asyncio.run(main(store))
