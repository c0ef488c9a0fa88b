"""The tools that a model can call, and the door through which the engine calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from agentrunner.sandbox.box import Sandbox
from agentrunner.tools.file_search import file_search_tool
from agentrunner.tools.files import file_tools
from agentrunner.tools.human import ask_user, finish_tool
from agentrunner.tools.net import Client
from agentrunner.tools.policy import Mode, Policy
from agentrunner.tools.python import Cells, python_tool
from agentrunner.tools.search_files import search_tool
from agentrunner.tools.shell import shell_tool
from agentrunner.tools.toolbox import LocalToolbox
from agentrunner.tools.typed import Context, Output, Tool, ToolError, tool
from agentrunner.tools.web import fixture_web_tools, live_web_tools
from agentrunner.tools.workspace import Workspace
from agentrunner.types import JSON

__all__ = ["Context", "LocalToolbox", "Output", "Policy", "Tool", "ToolError", "build_toolbox", "tool"]

ORDER = (
    "read_file", "write_file", "append_file", "edit_file", "list_files", "search_files", "move_file", "delete_file",
    "python", "shell", "web_search", "web_fetch", "file_search", "ask_user", "finish",
)  # fmt: skip
"""The order in which a model sees them: fixed, so that the beginning of a prompt stays the same from run to run."""


def _nobody(_: str) -> None:
    return None


def build_toolbox(
    *,
    workspace: Path,
    outputs: Path,
    sandbox: Sandbox | None,
    web: Literal["live", "fixtures", "off"],
    approve: Mode,
    allow_net: Sequence[str] = (),
    output_schema: JSON | None = None,
    descriptions: Mapping[str, str] | None = None,
    disabled: Collection[str] = (),
    extra: Sequence[Tool] = (),
    inner: Sequence[Tool] = (),
    python_timeout_s: float = 60.0,
    knowledge: Sequence[Path] = (),
    cache: Path | None = None,
    remark: Callable[[str], None] = _nobody,
) -> LocalToolbox:
    """The tools of one session. Without a sandbox there is no `python` and no `shell`; what is switched off does not
    exist.

    `outputs` is a folder outside the workspace for whole results. `descriptions` are the texts of `prompts/tools/` by
    tool name. `extra` tools of the user's own come after the built-in ones, in their order; of `inner` ones no model is
    told. `knowledge` are folders that file tools may read besides, `cache` is where the index of `file_search` is kept.
    `remark` is told what the user should know of what programs did."""
    places = Workspace(workspace, outputs, remark if sandbox is not None else None, knowledge)
    cells = None
    tools = [
        *file_tools(places),
        search_tool(places),
        file_search_tool(places, cache),
        ask_user,
        finish_tool(places, output_schema),
    ]
    if sandbox is not None:
        cells = Cells(sandbox) if "python" not in disabled else None
        tools += [shell_tool(sandbox, places, python_timeout_s)]
        tools += [python_tool(cells, sandbox, places, python_timeout_s)] if cells else []
    if web != "off":
        tools += live_web_tools(Client()) if web == "live" else fixture_web_tools()
    tools.sort(key=lambda built_in: ORDER.index(built_in.name))
    texts = descriptions or {}
    wanted = [each for each in [*tools, *extra] if each.name not in disabled]
    policy = Policy(approve, tuple(allow_net))
    described = [each.described(texts.get(each.name, "")) for each in wanted]
    return LocalToolbox(described, policy=policy, outputs=outputs, cells=cells, at_end=places.sweep, inner=inner)
