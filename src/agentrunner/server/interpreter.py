"""The code interpreter as the tool `python` of a run: cells at the thread's desk, and files made of what they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from agentrunner.sandbox import Cell
from agentrunner.sandbox.paths import PathError, Root
from agentrunner.server.desks import Desk
from agentrunner.server.files import keep
from agentrunner.server.services import Services
from agentrunner.server.wire.limits import FILE_BYTES
from agentrunner.tools import Context, Output, Tool, ToolError, tool
from agentrunner.tools.python import check_cpu, told
from agentrunner.tools.workspace import chunks
from agentrunner.types import JSON, Artifact

IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
MAX_IMAGES = 20
"""Of one cell. Each is a part of the next message."""
PURPOSE = "assistants_output"


def interpreter_tool(services: Services, owner: str, desk: Desk, timeout_s: float) -> Tool:
    """The tool. A cell may take `timeout_s`."""

    async def python(code: str, context: Context) -> Output:
        if not code.strip():
            raise ToolError("`code` is empty. Call python again with the code to run.")
        check_cpu(desk.sandbox)
        desk.busy = desk.ran = True
        try:
            before = await asyncio.to_thread(desk.places.snapshot)
            cell = await desk.cells.execute(code, min(timeout_s, context.timeout_s))
            artifacts = await asyncio.to_thread(desk.places.changed_since, before, cell.figures)
            images = [one for one in artifacts if one.path.lower().endswith(IMAGES)][:MAX_IMAGES]
            shown = [await save(services, owner, desk.places.root, image.path) for image in images]
        finally:
            desk.busy = False
        others = tuple(one for one in artifacts if one not in images)
        detail = {"images": [file_id for file_id in shown if file_id], "logs": logs_of(cell)}
        return Output(_with_images(told(cell, others, "", []), images), cell.ok and not cell.stopped, artifacts, detail)

    def seen(result: str, key: str) -> None:
        desk.cells.seen(result)

    return replace(python_form(), function=python, seen=seen)


@cache
def python_form() -> Tool:
    """The tool as a model sees it. It is made once: its schema and its checks are the same for all runs."""

    @tool
    async def python(code: str, context: Context) -> Output:
        """Run Python code in /mnt/data. Variables stay from call to call; figures are shown when the code ends."""
        raise ToolError("There is no interpreter.")

    return python


def logs_of(cell: Cell) -> str:
    """What the code printed and said, without words of ours to the model."""
    parts = [cell.stdout, cell.stderr, cell.value, cell.error, f"stopped: {cell.stopped}" if cell.stopped else ""]
    return "\n".join(part.strip("\n") for part in parts if part.strip())


async def save(services: Services, owner: str, root: Root, path: str) -> str:
    """Make a file of what lies at `path`; empty when it is gone, or cannot be one. No link leads out of `root`."""
    incoming = services.blobs.incoming()
    try:
        if not await asyncio.to_thread(_copy, root, path, incoming.write):
            return ""
        file: JSON = await keep(services, owner, incoming, path.rpartition("/")[2], PURPOSE)
        return str(file["id"])
    finally:
        incoming.close()


def _copy(root: Root, path: str, write: Callable[[bytes], object]) -> bool:
    size = 0
    try:
        for chunk in chunks(root, path):
            size += len(chunk)
            if size > FILE_BYTES:
                return False
            write(chunk)
    except (PathError, OSError):
        return False
    return True


def _with_images(text: str, images: list[Artifact]) -> str:
    names = ", ".join(image.path for image in images)
    return f"{text}\nshown to the user: {names}" if names else text
