"""The settings as the command line has them: options made from their model, and their values here and now."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.config import Loaded


def with_settings(command: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command an option for each setting that belongs to it. They arrive in its `**flags`; None is not given."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        from agentrunner.config import options_for

        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        extra = [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    _as_read(option.type),
                    typer.Option(
                        *option.flags,
                        help=option.help,
                        metavar=option.metavar or None,
                        rich_help_panel=option.panel,
                        show_default=option.default if option.default and command != "resume" else False,
                    ),
                ],
            )
            for option in options_for(command)
        ]

        @functools.wraps(function)
        def wrapper(**arguments: Any) -> int:
            return function(**arguments)

        wrapper.__signature__ = inspect.Signature([*own, *extra])  # pyright: ignore[reportAttributeAccessIssue]
        wrapper.__annotations__ = {p.name: p.annotation for p in [*own, *extra]}
        return wrapper

    return decorate


def _as_read(kind: Any) -> Any:
    """Numbers and paths arrive as text: the settings know better than the parser what to say about a wrong one."""
    return str | None if kind in (int | None, float | None, Path | None) else kind


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were used."""
    return {name: value for name, value in flags.items() if value is not None and value != []}


def load_settings(flags: Mapping[str, Any] | None = None) -> "Loaded":
    """The settings as flags, variables and files have them. Says on standard error what was ignored."""
    from agentrunner.config import load

    loaded = load(flags or {}, cwd=Path.cwd(), environ=os.environ)
    for line in loaded.ignored:
        print(f"agent: {clean(line)}", file=sys.stderr)
    return loaded


def chosen(loaded: "Loaded") -> set[str]:
    """The names of the settings that were given as flags."""
    return {name for name, origin in loaded.origin.items() if origin.startswith("flag")}
