"""A server's parts in this process, with a clock that the test sets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2

from agentrunner.config import Settings
from agentrunner.server.app import make_app
from agentrunner.server.serve import opened, policy_of
from agentrunner.server.services import Services


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def server(
    home: Path, clock: Clock, database_url: str | None = None, *, indexing: bool = True, **more: Any
) -> AsyncGenerator[tuple[httpx2.AsyncClient, Services]]:
    """A client of an application in this process. Without `indexing`, files put into stores stay in progress."""
    settings = Settings(home=home, database_url=database_url, dry_run=True, requests_per_minute=0, **more)
    with opened(settings) as services:
        services.clock = clock
        app = make_app(services, policy_of(services, local=True))
        task = asyncio.create_task(services.indexer.run(services)) if indexing else None
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/v1") as client:
            yield client, services
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def upload(client: httpx2.AsyncClient, name: str, content: bytes, **fields: str) -> str:
    data = {"purpose": "assistants", **fields}
    return (await client.post("/files", files={"file": (name, content)}, data=data)).json()["id"]


async def settled(client: httpx2.AsyncClient, store_id: str) -> dict[str, int]:
    """The counts of a store when none of its files is in progress any more."""
    for _ in range(600):
        counts = (await client.get(f"/vector_stores/{store_id}")).json()["file_counts"]
        if not counts["in_progress"]:
            return counts
        await asyncio.sleep(0.05)
    raise AssertionError(counts)
