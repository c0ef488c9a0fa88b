"""`agent serve`: the Assistants API for programs that were written for it."""

import os
from pathlib import Path
from typing import Any

import typer

from agentrunner.cli.options import given, with_settings

app = typer.Typer(add_completion=False)
APPS = {"serve": app}


@app.command()
@with_settings("serve")
def serve(**flags: Any) -> int:
    """Serve the Assistants API: programs written for it work with another base_url. With --model, that model answers in
    place of every assistant's own."""
    from agentrunner.config import load
    from agentrunner.render.common import one_line
    from agentrunner.server.serve import serve as start

    loaded = load(given(flags), cwd=Path.cwd(), environ=os.environ)
    for line in loaded.ignored:
        typer.echo(f"agent: {one_line(line, 300)}", err=True)
    chosen = loaded.origin["model"] != "default"
    start(loaded.settings, model_override=loaded.settings.model if chosen else None)
    return 0
