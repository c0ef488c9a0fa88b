"""`agent sandbox run` and `agent doctor`: the sandbox used by hand, and what it holds on this machine."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentrunner.cli.options import load_settings
from agentrunner.errors import SandboxError, UsageError
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.sandbox import Ran, Sandbox

sandbox_app = typer.Typer(add_completion=False, no_args_is_help=True)
doctor_app = typer.Typer(add_completion=False)
APPS = {"sandbox": sandbox_app, "doctor": doctor_app}

_EXTRAS = {
    "data": ("pandas", "matplotlib"),
    "files": ("pypdf", "openpyxl"),
    "postgres": ("psycopg",),
    "retrieval": ("numpy",),
    "server": ("starlette", "uvicorn", "python_multipart"),
}
"""The extras of this package, and modules that each brings."""
LEVELS = {"FULL": 0, "PARTIAL": 3, "NONE": 4}
_LIMIT_HELP = (
    "What it may use, as in memory=2G: wall, cpu and cpu_total in seconds; memory, memory_total, file, growth and "
    "output in bytes, or with K, M, G; tasks; entries. May be repeated."
)


@sandbox_app.callback()
def sandbox() -> None:
    """Run one command inside the same sandbox that tools use."""


@sandbox_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    command: Annotated[
        list[str], typer.Argument(metavar="CMD ARGS...", help="The command and its arguments, after --.")
    ],
    workspace: Annotated[
        Path, typer.Option("--workspace", metavar="DIR", help="Folder it runs in; made when it is missing.")
    ] = Path("workspace"),
    limit: Annotated[list[str] | None, typer.Option("--limit", metavar="KEY=VALUE", help=_LIMIT_HELP)] = None,
    level: Annotated[
        Literal["auto", "full", "partial", "none"],
        typer.Option("--sandbox", help="Confinement that must be had; auto takes the best there is."),
    ] = "auto",
    launcher: Annotated[
        Literal["auto", "bwrap", "native"], typer.Option("--sandbox-launcher", help="What sets the sandbox up.")
    ] = "auto",
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
    place = check_workspace(workspace, load_settings().settings.home)
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
        for line in _extras_text():
            print(line)
        print(f"key            {facts['key']}")
    return LEVELS[report.level]


def _extras() -> dict[str, str]:
    """Each extra of this package: installed, or how to install it."""
    from importlib.util import find_spec

    return {
        name: "installed" if all(map(find_spec, packages)) else f"pip install 'agentrunner[{name}]'"
        for name, packages in _EXTRAS.items()
    }


def _extras_text() -> list[str]:
    extras = _extras()
    missing = [name for name, state in extras.items() if state != "installed"]
    lines = [f"extras         {', '.join(name for name in extras if name not in missing) or 'none'}"]
    if missing:
        lines.append(f"  missing      {', '.join(missing)}: pip install 'agentrunner[{','.join(missing)}]'")
    return lines


def _key() -> str:
    """Whether there is a key for the endpoint, and where it comes from."""
    from agentrunner.config import load

    try:
        loaded = load({}, cwd=Path.cwd(), environ=os.environ)
    except UsageError as error:  # which must not keep the rest from being said
        return f"not known: {error}"
    return f"set, {loaded.origin['api_key']}" if loaded.settings.api_key else "not set; set OPENAI_API_KEY"
