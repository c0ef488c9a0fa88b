"""`agent tools`: what the model is given, seen and tried by a person."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from agentrunner.cli.options import load_settings
from agentrunner.errors import UsageError
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.config import Settings
    from agentrunner.sandbox import Sandbox
    from agentrunner.tools import LocalToolbox
    from agentrunner.types import ToolResult

tools_app = typer.Typer(add_completion=False, invoke_without_command=True)
APPS = {"tools": tools_app}

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tool, as `agent tools` lists it.")]
Workspace = Annotated[Path | None, typer.Option("--workspace", metavar="DIR", help="Default ./workspace.")]


@tools_app.callback()
def tools(context: typer.Context) -> None:
    """List, show and call the tools that the model is given."""
    if context.invoked_subcommand is None:
        list_tools()


@tools_app.command("list")
def list_tools() -> None:
    """List the tools with what they do."""
    with tempfile.TemporaryDirectory() as folder:
        for spec in _toolbox(load_settings().settings, Path(folder), None)[0].specs():
            print(f"{spec.name:<14} {spec.effect:<11} {spec.description.split('. ')[0].rstrip('.')}.")


@tools_app.command()
def show(name: Name) -> None:
    """Show a tool's JSON schema."""
    with tempfile.TemporaryDirectory() as folder:
        specs = {spec.name: spec for spec in _toolbox(load_settings().settings, Path(folder), None)[0].specs()}
    if name not in specs:
        raise UsageError(f"no tool {name!r}", f"known: {', '.join(specs)}")
    spec = specs[name]
    shown = {"name": name, "description": spec.description, "effect": spec.effect, "parameters": spec.parameters}
    print(json.dumps(shown, indent=2, ensure_ascii=False))


@tools_app.command()
def call(
    name: Name,
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="The arguments, as one JSON object.")] = "{}",
    workspace: Workspace = None,
) -> int:
    """Call a tool as the model would, and print its result. Exits 0 when its outcome is ok, else 1."""
    from agentrunner.runner.intake import check_workspace

    try:
        arguments: Any = json.loads(args)
    except ValueError as error:
        raise UsageError(f"--args is not JSON: {error}", "give one JSON object") from None
    if not isinstance(arguments, dict):
        raise UsageError(f"--args {args!r} is not an object", 'give one JSON object such as {"path": "notes.md"}')
    settings = load_settings().settings
    where = check_workspace(workspace or Path("workspace"), settings.home)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(_call(settings, name, cast(dict[str, Any], arguments), where, Path(folder)))
    sys.stdout.write(clean(result.content).rstrip("\n") + "\n")
    return 0 if result.outcome == "ok" else 1


async def _call(
    settings: "Settings", name: str, arguments: dict[str, Any], workspace: Path, outputs: Path
) -> "ToolResult":
    from agentrunner.types import ToolCall, ToolResult

    toolbox, sandbox = _toolbox(settings, outputs, workspace)
    try:
        call = ToolCall("call", name, arguments)
        decision = toolbox.decide(call)
        if decision.action in ("refuse", "reject", "answer"):
            return ToolResult("call", name, "error", decision.text)
        return await toolbox.call(call, "/tool:1:0", 600)
    finally:
        await toolbox.aclose()
        if sandbox is not None:
            await sandbox.aclose()
            toolbox.look_over()


def _toolbox(settings: "Settings", outputs: Path, workspace: Path | None) -> "tuple[LocalToolbox, Sandbox | None]":
    """The toolbox of a session in this workspace; without one, for looking at it only."""
    from agentrunner.runner.knowledge import check_knowledge
    from agentrunner.runner.sandboxes import open_sandbox_for
    from agentrunner.runner.tools import open_tools
    from agentrunner.strategies.prompts import load_prompts

    place = workspace or outputs
    known = check_knowledge(settings.knowledge, place, settings.home) if workspace is not None else ()
    settings = settings.model_copy(update={"knowledge": known})
    sandbox, notes = open_sandbox_for(settings, place)
    if workspace is not None:
        for note in notes:
            print(f"agent: {note}", file=sys.stderr)
    return open_tools(settings, place, outputs, sandbox, load_prompts(settings.prompts), None), sandbox
