"""`agent config show` and `agent trust`: what is set, by whom, and who may."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agentrunner.cli.options import load_settings

config_app = typer.Typer(add_completion=False, no_args_is_help=True)
trust_app = typer.Typer(add_completion=False)
APPS = {"config": config_app, "trust": trust_app}


@config_app.callback()
def config() -> None:
    """Show every setting and where it came from."""


@config_app.command()
def show(origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False) -> None:
    """Show every setting."""
    from agentrunner.config import show as table_of
    from agentrunner.sanitise import clean

    rows = table_of(load_settings())
    widest = max(len(name) for name, _, _ in rows)
    for name, value, where in rows:
        print(clean(f"{name:<{widest}} {value:<32} {where}" if origin else f"{name:<{widest}} {value}").rstrip())


@trust_app.command()
def trust(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A project's directory.")] = Path()) -> None:
    """Let a directory's project files, as they are now, set guarded settings."""
    from agentrunner.config import load
    from agentrunner.config import trust as agree

    settings = load({}, cwd=Path.cwd(), environ=os.environ).settings
    files = agree(directory, settings.home)
    what = " and ".join(files) if files else "no project files yet"
    print(f"trusted {directory.resolve()}: {what}; a changed file has to be trusted again", file=sys.stderr)
