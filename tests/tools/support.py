"""What the tests of the tools share: a toolbox on a temporary workspace, and a call through its door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import agentrunner
from agentrunner.tools import LocalToolbox, Tool, build_toolbox
from agentrunner.tools.policy import Mode, Policy
from agentrunner.types import ToolCall, ToolResult

PROMPTS = Path(agentrunner.__file__).parents[2] / "prompts" / "tools"
DESCRIPTIONS = {path.stem: path.read_text(encoding="utf-8") for path in PROMPTS.glob("*.md")}


def call(name: str, arguments: Mapping[str, Any] | None = None, /, **more: Any) -> ToolCall:
    return ToolCall("call-1", name, {**(arguments or {}), **more})


class Bench:
    """A toolbox whose calls are plain function calls; keys are counted up."""

    def __init__(self, toolbox: LocalToolbox, workspace: Path, outputs: Path) -> None:
        self.toolbox, self.workspace, self.outputs = toolbox, workspace, outputs
        self.count = 0

    def __call__(self, name: str, /, timeout_s: float = 30.0, **arguments: Any) -> ToolResult:
        self.count += 1
        return asyncio.run(self.toolbox.call(call(name, arguments), f"/tool:{self.count}:0", timeout_s))

    def ok(self, name: str, /, **arguments: Any) -> str:
        result = self(name, **arguments)
        assert result.outcome == "ok", result.content
        return result.content

    def error(self, name: str, /, **arguments: Any) -> str:
        result = self(name, **arguments)
        assert result.outcome == "error", result.content
        return result.content


def bench(tmp_path: Path, **options: Any) -> Bench:
    workspace, outputs = tmp_path / "workspace", tmp_path / "outputs"
    workspace.mkdir(exist_ok=True)
    settings: dict[str, Any] = {"sandbox": None, "web": "off", "approve": "auto", "descriptions": DESCRIPTIONS}
    toolbox = build_toolbox(workspace=workspace, outputs=outputs, **{**settings, **options})
    return Bench(toolbox, workspace, outputs)


def bench_of(tmp_path: Path, tools: Iterable[Tool], mode: Mode = "auto", **options: Any) -> Bench:
    """A toolbox of just these tools."""
    outputs = tmp_path / "outputs"
    return Bench(LocalToolbox(tools, policy=Policy(mode), outputs=outputs, **options), tmp_path, outputs)
