"""`agent config show` and `agent trust`: what is set, by whom, and who may."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

config_app = typer.Typer(add_completion=False)
trust_app = typer.Typer(add_completion=False)
APPS = {"config": config_app, "trust": trust_app}


@config_app.callback()
def config() -> None:
    """Show every setting and where it came from."""


@config_app.command()
def show(origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False) -> None:
    """Show every setting."""
    from agentrunner.config import load
    from agentrunner.config import show as table_of
    from agentrunner.sanitise import clean

    loaded = load({}, cwd=Path.cwd(), environ=os.environ)
    for line in loaded.ignored:
        print(f"agent: {clean(line)}", file=sys.stderr)
    for name, value, where in table_of(loaded):
        print(clean(f"{name:<24} {value:<32} {where}" if origin else f"{name:<24} {value}").rstrip())


@trust_app.command()
def trust(directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Default: here.")] = Path()) -> None:
    """Let a directory's project files, as they are now, set guarded settings."""
    from agentrunner.config import load
    from agentrunner.config import trust as agree

    settings = load({}, cwd=Path.cwd(), environ=os.environ).settings
    files = agree(directory, settings.home)
    what = " and ".join(files) if files else "no project files yet"
    print(f"trusted {directory.resolve()}: {what}; a changed file has to be trusted again", file=sys.stderr)
