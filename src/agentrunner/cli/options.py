"""Command line options made from the settings model, so that flag, variable, help and default are written once."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer


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
                        show_default=option.default or False,
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
