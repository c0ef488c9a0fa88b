"""`agent sandbox run` and `agent doctor`: the sandbox used by hand, and what it holds on this machine."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentrunner.errors import SandboxError
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.sandbox import Ran, Sandbox

sandbox_app = typer.Typer(add_completion=False)
doctor_app = typer.Typer(add_completion=False)
APPS = {"sandbox": sandbox_app, "doctor": doctor_app}

LEVELS = {"FULL": 0, "PARTIAL": 3, "NONE": 4}


@sandbox_app.callback()
def sandbox() -> None:
    """Run one command inside the same sandbox that tools use."""


@sandbox_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD ARGS...", help="The command and its arguments.")],
    workspace: Annotated[Path, typer.Option("--workspace", metavar="DIR")] = Path("workspace"),
    limit: Annotated[list[str] | None, typer.Option("--limit", metavar="KEY=VALUE", help="As in wall=8.")] = None,
    level: Annotated[str, typer.Option("--sandbox", metavar="auto|full|partial|none")] = "auto",
    launcher: Annotated[str, typer.Option("--sandbox-launcher", metavar="auto|bwrap|native")] = "auto",
    confirmed: Annotated[
        bool, typer.Option("--i-know-there-is-no-sandbox", help="With --sandbox none: run it unconfined.")
    ] = False,
    exposed: Annotated[
        bool, typer.Option("--allow-exposed-workspace", help="Run it although .env files or .git can be read.")
    ] = False,
) -> int:
    """Run one command with its exit code passed on; 125 when no sandbox could be set up."""
    from agentrunner.render.stdout import write_text
    from agentrunner.runner.intake import check_workspace, why_exposed
    from agentrunner.sandbox import Limits, open_sandbox
    from agentrunner.sandbox.quarantine import Quarantine

    limits = Limits.parse(limit or [])
    place = check_workspace(workspace, home_now())
    if level not in ("auto", "full", "partial", "none") or launcher not in ("auto", "bwrap", "native"):
        raise SandboxError(f"no sandbox {level!r} by {launcher!r}", "see agent sandbox run --help")
    box = open_sandbox(place, level=level, launcher=launcher, limits=limits, confirmed_none=confirmed)
    if box.level == "PARTIAL" and not exposed and (why := why_exposed(place)):
        box.close()
        raise SandboxError(why)
    if box.level == "NONE":
        alarm(box.lacks[0])
    elif box.level != "FULL":
        print(f"agent: the sandbox is {box.level}: {'; '.join(box.lacks)}", file=sys.stderr)
    quarantine = Quarantine(place)
    try:
        ran = asyncio.run(_run(command, box))
    finally:  # also when it was stopped from outside
        for line in quarantine.sweep().lines():
            print(f"agent: {line}", file=sys.stderr)
    for stream, text in ((sys.stdout, ran.stdout), (sys.stderr, ran.stderr)):
        write_text(stream, clean(text) if stream.isatty() else text)  # a terminal would obey what a file only keeps
    if ran.cut_bytes:
        print(f"agent: {ran.cut_bytes:,} bytes of output were cut", file=sys.stderr)
    if ran.stopped:
        print(f"agent: the command was stopped: {ran.stopped}", file=sys.stderr)
    return ran.exit_code


async def _run(command: list[str], box: "Sandbox") -> "Ran":
    try:
        return await box.run(command, timeout_s=box.limits.wall_s)
    finally:
        await box.aclose()


def alarm(text: str) -> None:
    """A line that must be seen, in red where there is colour."""
    red = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    print(f"\x1b[1;31magent: {text}\x1b[0m" if red else f"agent: {text}", file=sys.stderr, flush=True)


def home_now() -> Path:
    """AGENT_HOME, or where it would be."""
    from agentrunner.config import load

    return load({}, cwd=Path.cwd(), environ=os.environ).settings.home


@doctor_app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> int:
    """Say what works on this machine. Exits 0 when the sandbox is FULL, 3 PARTIAL, 4 NONE."""
    from agentrunner.sandbox.doctor import examine

    report = examine(None)
    facts = report.as_json() | {"python": sys.version.split()[0], "extras": _extras(), "key": _key()}
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        print(report.as_text())
        print(f"python         {facts['python']}")
        print(f"extras         {', '.join(f'{name}: {state}' for name, state in _extras().items())}")
        print(f"key            {_key()}")
    return LEVELS[report.level]


def _extras() -> dict[str, str]:
    from importlib.util import find_spec

    return {
        "data": "installed" if find_spec("pandas") and find_spec("matplotlib") else "pip install 'agentrunner[data]'"
    }


def _key() -> str:
    return "OPENAI_API_KEY is set" if os.environ.get("OPENAI_API_KEY") else "OPENAI_API_KEY is not set"
