"""`agent replay`: run a session again from its journal, offline, and say where it would go another way."""

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentrunner.cli.options import chosen, load_settings
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.engine.replaying import Replayed

replay_app = typer.Typer(add_completion=False)
APPS = {"replay": replay_app}


@replay_app.command()
def replay(
    session: Annotated[str, typer.Argument(metavar="ID", help="The session, or the beginning of its id.")],
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts", metavar="DIR", help="Prompts to try; by default the folder of your settings, else its own."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Make a session's requests again and compare them. Nothing is sent and no tool runs; exits 1 at a difference."""
    from agentrunner.journal import open_journal
    from agentrunner.runner.replaying import replay_session

    loaded = load_settings({"prompts": prompts} if prompts else {})
    settings = loaded.settings
    with contextlib.closing(open_journal(settings.home, settings.database_url)) as journal:
        events = journal.load(journal.find(session))
    found = asyncio.run(
        replay_session(events, settings, chosen(loaded), lambda line: print(f"agent: {clean(line)}", file=sys.stderr))
    )
    if as_json:
        print(json.dumps(_as_json(events[0].session_id, found)))
    else:
        _say(events[0].session_id, found)
    return 1 if found.difference else 0


def _as_json(session: str, found: "Replayed") -> dict[str, object]:
    line: dict[str, object] = {"session_id": session, "identical": found.difference is None}
    line |= {"attempts": found.attempts, "requests": found.requests}
    if (difference := found.difference) is not None:
        line |= {"step": difference.step, "label": difference.label, "difference": difference.what}
        line |= {"details": list(difference.details)}
    return line


def _say(session: str, found: "Replayed") -> None:
    difference = found.difference
    requests = f"{found.requests} request{'' if found.requests == 1 else 's'}"
    if difference is None:
        attempts = f" in {found.attempts} attempts" if found.attempts > 1 else ""
        print(f"session {session}: {requests}{attempts} made again, all the same")
        return
    step = f"step {difference.step}" if difference.step is not None else "the last words"
    label = f" ({difference.label})" if difference.label else ""
    print(clean(f"session {session} differs at {step}{label}: {difference.what}"))
    for line in difference.details:
        print(clean(f"  {line}"))
    if found.requests:
        print(f"{requests} before it {'is' if found.requests == 1 else 'are'} the same")
