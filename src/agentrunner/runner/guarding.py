"""The stuck detector's part of a session: its limits from the settings, and the look at the workspace, which also keeps
what changed for a fork."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.guard.limits import STOP_AT, Limits
from agentrunner.runner.snapshots import Snapshots
from agentrunner.types import ToolCall

if TYPE_CHECKING:
    from agentrunner.config import Settings


def limits_of(settings: "Settings") -> Limits:
    return Limits(
        {rule: getattr(settings, f"guard_{rule}") for rule in STOP_AT},
        {rule: getattr(settings, f"guard_{rule}_at") for rule in STOP_AT},
    )


class Watcher:
    """Looks at the workspace in a thread, since a scan may take a tenth of a second: at the beginning of an attempt
    while the first request is on its way, then after each call that may have changed something."""

    def __init__(self, home: Path, session_id: str, workspace: Path, attempt: int) -> None:
        self._snapshots = Snapshots(home, session_id, workspace, attempt)
        self._beginning: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Needs a running event loop."""
        if self._beginning is None:
            self._beginning = asyncio.create_task(asyncio.to_thread(self._snapshots.begin))

    async def begun(self) -> None:
        self.begin()
        assert self._beginning is not None
        await asyncio.shield(self._beginning)

    async def look(self, call: ToolCall, place: str) -> str:
        return await asyncio.to_thread(self._snapshots.after, call.name, dict(call.arguments), place)

    async def aclose(self) -> None:
        if self._beginning is not None:
            await asyncio.wait({self._beginning})
