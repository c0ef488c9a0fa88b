"""The `python` tool: cells in one interpreter inside the sandbox, whose variables live from call to call."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

from agentrunner.errors import SandboxError
from agentrunner.sandbox.box import Sandbox
from agentrunner.sandbox.interpreter import Interpreter
from agentrunner.sandbox.values import Cell
from agentrunner.tools.requests import network_lines
from agentrunner.tools.threads import in_thread
from agentrunner.tools.typed import Context, Output, Tool, ToolError, tool
from agentrunner.tools.workspace import Workspace
from agentrunner.types import Artifact

OK = "ok"
"""First line of a cell's result that went well. Without its time: the same result must read the same."""
WARM = ("pandas", "matplotlib.pyplot")
"""What most cells of data work import, and what takes longest."""
WARM_AFTER_S = 0.3
"""From the first request to the model: nothing that it needs is slowed down, and no model answers sooner."""

MAX_INTERPRETERS = 8
"""At a time: twice the branches that run side by side, so that only one of a branch that is over is ended."""


class Cells:
    """The interpreters of a session, one for each branch."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._by_branch: OrderedDict[str, BranchCells] = OrderedDict()
        self._spare: BranchCells | None = None
        """What is warmed up for the first branch that needs one."""

    def warm_up(self) -> None:
        """Soon starts the first interpreter in the background, with what most cells import. Needs a running event
        loop."""
        if not self._by_branch:
            self._spare = self._spare or BranchCells(self._sandbox)
            self._spare.warm_up()
        elif len(self._by_branch) == 1:
            next(iter(self._by_branch.values())).warm_up()

    async def aclose(self) -> None:
        """Ends the warming up; an interpreter itself ends with its sandbox."""
        for cells in (*self._by_branch.values(), *filter(None, [self._spare])):
            await cells.aclose()

    async def execute(self, code: str, timeout_s: float, key: str) -> Cell:
        """Run a cell in the interpreter of the branch that made this call."""
        cells = self._of(_branch_of(key))
        while len(self._by_branch) > MAX_INTERPRETERS:
            _, oldest = self._by_branch.popitem(last=False)
            await oldest.end()
        return await cells.execute(code, timeout_s)

    def seen(self, result: str, key: str) -> None:
        """A cell that ran before this interpreter was started, in an earlier attempt, left its variables there."""
        self._of(_branch_of(key)).seen(result)

    def _of(self, branch: str) -> BranchCells:
        if branch not in self._by_branch:
            self._by_branch[branch], self._spare = self._spare or BranchCells(self._sandbox), None
        self._by_branch.move_to_end(branch)
        return self._by_branch[branch]


def _branch_of(key: str) -> str:
    return key.rpartition("/tool:")[0]


class BranchCells:
    """The interpreter of one branch, started with the first cell or a little before.

    One that was lost is never filled again by running earlier cells a second time: what they did to the workspace, or
    read from it, would not be the same. It is said to be empty instead.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._timer: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[Interpreter] | None = None
        self._used = False
        self._ended_unseen = False

    async def end(self) -> None:
        """Ends the interpreter, if there is one."""
        await self.aclose()
        if self._starting is not None and not self._starting.cancelled() and self._starting.exception() is None:
            await self._starting.result().aclose()

    def warm_up(self) -> None:
        """Soon starts the interpreter in the background, with what most cells import. Needs a running event loop."""
        if self._starting is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WARM_AFTER_S, self._start, WARM)

    async def aclose(self) -> None:
        """Ends the warming up; an interpreter itself ends with its sandbox."""
        if self._timer is not None:
            self._timer.cancel()
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait({self._starting})

    def _start(self, warm: tuple[str, ...] = ()) -> asyncio.Task[Interpreter]:
        if self._timer is not None:
            self._timer.cancel()
        if self._starting is None:
            self._starting = asyncio.create_task(self._sandbox.interpreter(warm=warm))
            # Its failure is the first cell's to tell; where no cell comes, it is nobody's.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._starting

    async def execute(self, code: str, timeout_s: float) -> Cell:
        try:
            interpreter = await asyncio.shield(self._start())
        except SandboxError:
            self._starting = None
            raise
        self._used = True
        before, self._ended_unseen = self._ended_unseen, True
        cell = await interpreter.execute(code, timeout_s)
        self._ended_unseen = False
        # A call that was cut off from outside took the interpreter with it and could not say so: the next one does.
        return replace(cell, state_lost=True) if before else cell

    def seen(self, result: str) -> None:
        """A cell that ran before this interpreter was started, in an earlier attempt, left its variables there."""
        if not self._used and result.startswith(OK):
            self._ended_unseen = True


def check_cpu(sandbox: Sandbox) -> None:
    """Raises `ToolError` when the session's processor time is used up."""
    if sandbox.cpu_used_s >= sandbox.limits.cpu_total_s:
        raise ToolError(
            f"This session has used its {sandbox.limits.cpu_total_s} s of processor time, so python and shell cannot "
            "be called any more. Work with the file tools, or call finish with what there is."
        )


def python_tool(cells: Cells, sandbox: Sandbox, workspace: Workspace, timeout_s: float) -> Tool:
    """The tool. One cell may take `timeout_s`, less when the session has less left."""

    @tool
    async def python(code: str, context: Context) -> Output:
        """Run Python code."""
        if not code.strip():
            raise ToolError("`code` is empty. Call python again with the code to run.")
        check_cpu(sandbox)
        before = await in_thread(workspace.snapshot)
        cell = await cells.execute(code, min(timeout_s, context.timeout_s), context.key)
        moved = await in_thread(workspace.sweep)
        artifacts = await in_thread(workspace.changed_since, before, cell.figures)
        asked = network_lines(sandbox.take_requests())
        return Output(told(cell, artifacts, moved, asked), cell.ok and not cell.stopped, artifacts)

    return replace(python, seen=cells.seen)


def told(cell: Cell, artifacts: tuple[Artifact, ...], moved: str, asked: list[str]) -> str:
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
    parts += asked
    if artifacts:
        parts.append("files: " + ", ".join(f"{artifact.path} ({artifact.bytes:,} bytes)" for artifact in artifacts))
    if moved:
        parts.append(moved)
    if cell.state_lost:
        parts.append("The interpreter was restarted: all variables and imports are gone. Define again what you need.")
    return "\n".join(parts)
