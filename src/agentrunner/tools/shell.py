"""The `shell` tool: one command line in the sandbox, each in a shell of its own."""

from __future__ import annotations

from pathlib import Path

from agentrunner.sandbox.box import Sandbox
from agentrunner.sandbox.values import Ran
from agentrunner.tools.python import check_cpu
from agentrunner.tools.requests import network_lines
from agentrunner.tools.threads import in_thread
from agentrunner.tools.typed import Context, Output, Tool, ToolError, tool
from agentrunner.tools.workspace import Workspace


def shell_tool(sandbox: Sandbox, workspace: Workspace, timeout_s: float) -> Tool:
    """The tool. One command may take `timeout_s`, less when the session has less left."""
    # The sandbox shows the system's programs as they are, so a bash here is one there; models write for bash.
    interpreter = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"

    @tool
    async def shell(command: str, context: Context) -> Output:
        """Run a command line."""
        if not command.strip():
            raise ToolError("`command` is empty. Call shell again with the command line to run.")
        if "\0" in command:
            raise ToolError("`command` has a NUL character in it. Call shell again without it.")
        check_cpu(sandbox)
        before = await in_thread(workspace.snapshot)
        ran = await sandbox.run([interpreter, "-c", command], timeout_s=min(timeout_s, context.timeout_s))
        moved = await in_thread(workspace.sweep)
        artifacts = await in_thread(workspace.changed_since, before)
        asked = network_lines(sandbox.take_requests())
        told = "\n".join(filter(None, (_told(ran), *asked, moved)))
        return Output(told, ran.exit_code == 0 and not ran.stopped, artifacts)

    return shell


def _told(ran: Ran) -> str:
    parts = [f"error: {ran.stopped}" if ran.stopped else f"exit code {ran.exit_code}"]
    if ran.stdout:
        parts.append(ran.stdout.rstrip("\n"))
    if ran.stderr:
        parts.append("standard error:\n" + ran.stderr.rstrip("\n"))
    if ran.cut_bytes:
        parts.append(f"[{ran.cut_bytes:,} bytes of output were dropped; print less, or write to a file]")
    return "\n".join(parts)
