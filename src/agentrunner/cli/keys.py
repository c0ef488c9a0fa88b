"""`agent keys`: who may use the server."""

import contextlib
import sys
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated

import typer

from agentrunner.cli.options import load_settings

if TYPE_CHECKING:
    from agentrunner.journal.database import Database
    from agentrunner.server.keys import Key

app = typer.Typer(add_completion=False, no_args_is_help=True)
APPS = {"keys": app}

Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call the key.")]
MaxCost = typer.Option(
    "--max-cost", metavar="USD", help="What all runs of the key may cost together, for ever; or none."
)


@app.callback()
def keys() -> None:
    """Create, list, limit and remove API keys of the server. Each is a tenant of its own: nobody sees what another
    key made."""


@contextlib.contextmanager
def open_tables() -> "Generator[Database]":
    """The server's tables, where the environment and the configuration say."""
    from agentrunner.journal import open_journal
    from agentrunner.server.storage.schema import prepare

    settings = load_settings().settings
    with contextlib.closing(open_journal(settings.home, settings.database_url)) as journal:
        prepare(journal.database)
        yield journal.database


@app.command()
def create(name: Name, max_cost: Annotated[str, MaxCost] = "none") -> None:
    """Make a key and print it. It is shown this once; from the first key on, every request needs one."""
    from agentrunner.server.keys import cost_limit, create_key, list_keys

    limit = cost_limit(max_cost)
    with open_tables() as database:
        first = not database.read(list_keys)
        _, secret = database.write(lambda execute: create_key(execute, name, int(time.time()), limit))
    print(secret)
    if first:
        print("from now on every request needs a key; what was made without one is not seen with it", file=sys.stderr)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False) -> None:
    """List the keys, and what their runs have cost. None of them can be shown again."""
    from agentrunner.server.keys import list_keys

    with open_tables() as database:
        found = database.read(list_keys)
    for key in found:
        if as_json:
            import json

            print(json.dumps(key._asdict()))
        else:
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created_at))
            print(f"{key.name}  ...{key.hint}  {made}  {key.id}  {_spent(key)}")
    if not found and not as_json:
        print("no keys; make one with agent keys create NAME", file=sys.stderr)


@app.command()
def limit(name: Name, max_cost: Annotated[str, MaxCost]) -> None:
    """Change what all runs of a key may cost together. It counts what they have cost already, and holds at once."""
    from agentrunner.server.keys import cost_limit, limit_key

    most = cost_limit(max_cost)
    with open_tables() as database:
        key = database.write(lambda execute: limit_key(execute, name, most))
    print(f"{key.name}  {_spent(key)}")


def _spent(key: "Key") -> str:
    most = "no limit" if key.max_cost_usd is None else f"limit ${key.max_cost_usd:g}"
    reserved = f", ${key.reserved_usd:.4f} reserved" if key.reserved_usd else ""
    return f"${key.spent_usd:.4f} spent{reserved}, {most}"


@app.command()
def rm(name: Name) -> None:
    """Remove a key: it opens nothing from now on, also where a server runs. What was made with it stays."""
    from agentrunner.server.keys import list_keys, remove_key

    with open_tables() as database:
        key = database.write(lambda execute: remove_key(execute, name))
        left = database.read(list_keys)
    print(f"removed {key.name}")
    if not left:
        print("that was the last one: programs of this machine need no key now, others find no server", file=sys.stderr)
