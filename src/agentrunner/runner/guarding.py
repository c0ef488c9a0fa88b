"""The stuck detector's part of a session: its limits from the settings, and the look at the workspace."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.guard.limits import STOP_AT, Limits
from agentrunner.guard.tree import Tree
from agentrunner.types import ToolCall

if TYPE_CHECKING:
    from agentrunner.config import Settings


def limits_of(settings: "Settings") -> Limits:
    return Limits(
        {rule: getattr(settings, f"guard_{rule}") for rule in STOP_AT},
        {rule: getattr(settings, f"guard_{rule}_at") for rule in STOP_AT},
    )


def look_at(workspace: Path) -> Callable[[ToolCall], Awaitable[str]]:
    """A hash of the workspace after a call. A scan may take a tenth of a second, so it is made in a thread."""
    tree = Tree(workspace)

    async def look(call: ToolCall) -> str:
        return await asyncio.to_thread(tree.after, call.name, dict(call.arguments))

    return look
