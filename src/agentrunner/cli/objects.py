"""`agent assistants`, `threads`, `files`, `stores`: what the server keeps, listed, shown and removed."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentrunner.cli.options import load_settings
from agentrunner.errors import UsageError
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.server.services import Services

KINDS = {"assistants": "assistant", "threads": "thread", "files": "file", "stores": "store"}

Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Their ids, or the beginnings of them.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The id, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


def _app(plural: str) -> typer.Typer:
    kind = KINDS[plural]
    app = typer.Typer(add_completion=False, invoke_without_command=True)

    @app.callback(help=f"List, show and remove the server's {plural}.")
    def root(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            _list(plural, kind, as_json=False)

    @app.command("list", help=f"List the {plural} of all keys, newest first.")
    def list_(as_json: AsJson = False) -> None:
        _list(plural, kind, as_json=as_json)

    @app.command(help="Show one of them as JSON, with what belongs to it.")
    def show(id_: Id) -> None:
        from agentrunner.server.browse import find, with_parts

        with _opened() as services:
            read = services.store.database.read
            row = read(lambda execute: find(execute, kind, id_, services.now))
            shown = read(lambda execute: with_parts(execute, kind, row))
        print(clean(json.dumps(shown, indent=2, ensure_ascii=False)))

    @app.command(help=f"Remove {plural} with all that belongs to them.")
    def rm(ids: Ids) -> None:
        from agentrunner.server.browse import find, remove

        with _opened() as services:
            read = services.store.database.read
            found = [read(lambda execute, id_=id_: find(execute, kind, id_, services.now)) for id_ in ids]
            for row in {row.shown["id"]: row for row in found}.values():
                asyncio.run(remove(services, kind, row))
                print(f"removed {row.shown['id']}")

    del root, list_, show, rm
    return app


def _list(plural: str, kind: str, *, as_json: bool) -> None:
    from agentrunner.server.browse import kept
    from agentrunner.server.keys import list_keys

    with _opened() as services:
        read = services.store.database.read
        rows = read(lambda execute: kept(execute, kind, services.now))
        names = {key.id: key.name for key in read(list_keys)}
    for row in rows:
        owner = names.get(row.owner, row.owner)
        if as_json:
            print(json.dumps({"owner": owner, **row.shown}))
        else:
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.shown["created_at"]))
            print(" ".join(clean(f"{row.shown['id']}  {made}  {owner}  {row.line}").splitlines()))
    if not rows and not as_json:
        print(f"no {plural} yet; programs make them through agent serve", file=sys.stderr)


@contextlib.contextmanager
def _opened() -> "Generator[Services]":
    from agentrunner.server.serve import opened

    with opened(load_settings().settings) as services:
        yield services


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON or JSONL; - is standard input.")],
    key: Annotated[
        str,
        typer.Option(
            "--key", metavar="NAME", help="The API key whose threads they will be; by default, of programs without one."
        ),
    ] = "",
) -> None:
    """Make threads of transcripts: messages with role and content, or objects with messages."""
    from agentrunner.server.importing import keep_transcript, read_transcripts
    from agentrunner.server.keys import DEFAULT_OWNER, owner_named
    from agentrunner.server.storage.tables import Tenant

    transcripts = read_transcripts(_content(file))
    with _opened() as services:
        database = services.store.database
        owner = database.read(lambda execute: owner_named(execute, key)) if key else DEFAULT_OWNER
        threads = database.write(
            lambda execute: [keep_transcript(Tenant(execute, owner), each, services.now) for each in transcripts]
        )
    for thread, transcript in zip(threads, transcripts, strict=True):
        print(f"{thread['id']}  {len(transcript.messages)} messages")
    if left_out := sum(transcript.left_out for transcript in transcripts):
        print(f"left out: {left_out} messages or parts that are no text of user or assistant", file=sys.stderr)


def _content(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file!r} cannot be read: {error.strerror}", "name a JSON or JSONL file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file!r} is not UTF-8 text", "save it as UTF-8") from None


APPS = {plural: _app(plural) for plural in KINDS}
APPS["threads"].command("import")(import_)
