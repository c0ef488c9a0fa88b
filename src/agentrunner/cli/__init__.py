"""The command line. Each command's module is loaded only when that command is used, so that `agent --help` is quick."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer
from typer.core import TyperCommand, TyperGroup

from agentrunner.errors import AgentError, UsageError
from agentrunner.render.stdout import Forgiving, Printed, Unwritable

COMMANDS = {
    "run": ("run", "Start a session: take a goal to a verified end."),
    "resume": ("run", "Go on with a saved session."),
    "replay": ("replay", "Run a session again from its journal, offline, and compare."),
    "sessions": ("sessions", "List, show, fork, export, import, move and remove saved sessions."),
    "report": ("sessions", "Write one self-contained HTML file about a session."),
    "serve": ("serve", "Serve the Assistants API to programs written for it."),
    "keys": ("keys", "Create, list, limit and remove the API keys of the server."),
    "assistants": ("objects", "List, show and remove the server's assistants."),
    "threads": ("objects", "List, show and remove the server's threads."),
    "files": ("objects", "List, show and remove the server's files."),
    "stores": ("objects", "List, show and remove the server's vector stores."),
    "tools": ("tools", "List, show and call the tools that the model is given."),
    "sandbox": ("sandbox", "Run one command inside the same sandbox that tools use."),
    "guard": ("guard", "Replay recorded traces through the loop guard."),
    "doctor": ("sandbox", "Say what works on this machine."),
    "config": ("config", "Show every setting and where it came from."),
    "trust": ("config", "Let a directory's project files set guarded settings."),
}
"""Command: (module of this package, one line of help)."""

NO_READER = 128 + signal.SIGPIPE
"""Exit code when whoever read our output has gone: what a shell says of programs that this signal ends."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class LazyGroup(TyperGroup):
    """Knows its commands by name; imports one when it is asked for, and none to list them."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, summary = COMMANDS[cmd_name]
        if self._listing:
            return TyperCommand(cmd_name, help=summary)
        app: typer.Typer = import_module(f"agentrunner.cli.{module}").APPS[cmd_name]
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._listing = True
        super().format_help(ctx, formatter)


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True)


def _version(value: bool) -> None:
    if value:
        from agentrunner import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An autonomous agent runner: give it a goal, walk away, and find it reached, or stopped where you said."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The process's whole life: run a command, turn what went wrong into one line and an exit code."""
    command = typer.main.get_command(app)
    # A closed stream is None to Python, and whatever would write to it would fail.
    sys.stdout = printed = cast(Any, Printed(sys.stdout or _nowhere()))
    sys.stderr = cast(TextIO, Forgiving(sys.stderr or _nowhere()))
    code = 0
    try:
        _check_directory()
        returned = command.main(list(sys.argv[1:] if arguments is None else arguments), "agent", standalone_mode=False)
        code = returned if isinstance(returned, int) else 0
        printed.flush()
    except Unwritable:
        pass
    except AgentError as error:
        fail(str(error), error.exit_code)
    except typer.Abort:
        fail("stopped", 130)
    except KeyboardInterrupt:
        fail("stopped", 130)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        fail(f"nothing more can be written: {error.strerror}; make room where AGENT_HOME and the workspace are", 1)
    except Exception as error:
        # Usage errors of the command line parser have no public base class; all others are bugs, with their traceback.
        if not hasattr(error, "format_message"):
            raise
        if said := _said_by_parser(error):
            fail(said, 2)
        sys.exit(2)  # `agent` alone: its help was printed.
    if printed.lost is not None and not printed.lost.no_reader:
        fail(str(printed.lost), code or 1)
    sys.exit(code if printed.lost is None else code or NO_READER)


def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # noqa: PTH123


def _said_by_parser(error: Any) -> str:
    """What was wrong with the words of the command line, and where the right ones stand."""
    said = str(error.format_message()).replace(": Value error, ", ": ").rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{said}; see '{context.command_path if context else 'agent'} --help'" if said else ""


def _check_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current directory is gone", "change to one that exists") from None


def fail(message: str, code: int) -> NoReturn:
    """One line on standard error, and out."""
    from agentrunner.sanitise import clean

    print("agent: " + " ".join(clean(message).split()), file=sys.stderr)
    sys.exit(code)
