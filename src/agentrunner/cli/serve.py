"""`agent serve`: the Assistants API for programs that were written for it."""

from typing import Any

import typer

from agentrunner.cli.options import given, load_settings, with_settings

app = typer.Typer(add_completion=False)
APPS = {"serve": app}


@app.command()
@with_settings("serve")
def serve(**flags: Any) -> int:
    """Serve the Assistants API: programs written for it work with another base_url. With --model, that model answers in
    place of every assistant's own. A run is a session: limits hold for each."""
    from agentrunner.server.serve import serve as start

    loaded = load_settings(given(flags))
    chosen = loaded.origin["model"] != "default"
    start(loaded.settings, model_override=loaded.settings.model if chosen else None)
    return 0
