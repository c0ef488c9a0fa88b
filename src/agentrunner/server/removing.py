"""The sessions of runs, when their thread is deleted: what was said there is gone with it; what it cost stays spent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from agentrunner.errors import SessionBusy
from agentrunner.journal import SessionLock
from agentrunner.server.services import Services
from agentrunner.server.spending import close


async def remove_sessions(services: Services, owner: str, run_ids: Sequence[str]) -> None:
    """A session that another process works on is left to it; it finds out by itself that its run is gone."""
    for run_id in run_ids:
        with contextlib.suppress(SessionBusy), SessionLock(services.home, run_id):
            await remove_session(services, owner, run_id)


async def remove_session(services: Services, owner: str, run_id: str) -> None:
    """The caller holds its lock."""
    await asyncio.to_thread(services.journal.remove, run_id)
    await services.store.write_all(lambda execute: close(execute, owner, run_id))
