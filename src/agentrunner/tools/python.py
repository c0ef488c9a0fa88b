"""The `python` tool: cells in one interpreter inside the sandbox, whose variables live from call to call."""

from __future__ import annotations

from dataclasses import replace

from agentrunner.sandbox.box import Sandbox
from agentrunner.sandbox.interpreter import Interpreter
from agentrunner.sandbox.values import Cell
from agentrunner.tools.threads import in_thread
from agentrunner.tools.typed import Context, Output, Tool, ToolError, tool
from agentrunner.tools.workspace import Workspace
from agentrunner.types import Artifact

OK = "ok"
"""First line of a cell's result that went well. Without its time: the same result must read the same."""


class _Cells:
    """The interpreter, started with the first cell."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._interpreter: Interpreter | None = None
        self._ended_unseen = False

    async def execute(self, code: str, timeout_s: float) -> Cell:
        if self._interpreter is None:
            self._interpreter = await self._sandbox.interpreter()
        before, self._ended_unseen = self._ended_unseen, True
        cell = await self._interpreter.execute(code, timeout_s)
        self._ended_unseen = False
        # A call that was cut off from outside took the interpreter with it and could not say so: the next one does.
        return replace(cell, state_lost=True) if before else cell

    def seen(self, result: str) -> None:
        """A cell that ran before this interpreter was started, in an earlier attempt, left its variables there."""
        if self._interpreter is None and result.startswith(OK):
            self._ended_unseen = True


def python_tool(sandbox: Sandbox, workspace: Workspace, timeout_s: float) -> Tool:
    """The tool. One cell may take `timeout_s`, less when the session has less left."""
    cells = _Cells(sandbox)

    @tool
    async def python(code: str, context: Context) -> Output:
        """Run Python code."""
        if not code.strip():
            raise ToolError("`code` is empty. Call python again with the code to run.")
        before = await in_thread(workspace.snapshot)
        cell = await cells.execute(code, min(timeout_s, context.timeout_s))
        artifacts = await in_thread(workspace.changed_since, before, cell.figures)
        return Output(_told(cell, artifacts), cell.ok and not cell.stopped, artifacts)

    return replace(python, seen=cells.seen)


def _told(cell: Cell, artifacts: tuple[Artifact, ...]) -> str:
    """The outcome in the first line, then what the code printed, in the order of reading."""
    if cell.stopped:
        parts = [f"error: {cell.stopped}"]
    elif cell.ok:
        parts = [OK]
    else:
        last = cell.error.strip().rpartition("\n")[2] or "the code failed"
        parts = [f"error: {last}"]
    if cell.error:
        parts.append(cell.error.strip("\n"))
    if cell.stdout:
        parts.append(cell.stdout.rstrip("\n"))
    if cell.stderr:
        parts.append("standard error:\n" + cell.stderr.rstrip("\n"))
    if cell.value:
        parts.append("value: " + cell.value)
    if cell.cut_bytes:
        parts.append(f"[{cell.cut_bytes:,} bytes of output were dropped; print less, or write to a file]")
    if artifacts:
        parts.append("files: " + ", ".join(f"{artifact.path} ({artifact.bytes:,} bytes)" for artifact in artifacts))
    if cell.state_lost:
        parts.append("The interpreter was restarted: all variables and imports are gone. Define again what you need.")
    return "\n".join(parts)
