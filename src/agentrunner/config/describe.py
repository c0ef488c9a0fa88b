"""Settings as plain data: the options of a command, and the table of `agent config show`. It changes no setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import SecretStr

from agentrunner.config.load import Loaded
from agentrunner.config.settings import Panel, Settings, meta_of
from agentrunner.config.values import format_duration, without_password

_SHOWN_AS_DURATION = frozenset(field for field in Settings.model_fields if meta_of(field).as_text)


@dataclass(frozen=True)
class Option:
    """One flag of a command. `type` is an annotation in which None means that the flag was not given, and None is the
    value to use as the parameter's default; `default` is the setting's own, as text for the help."""

    name: str
    flags: tuple[str, ...]
    type: Any
    default: str
    help: str
    panel: Panel
    metavar: str
    choices: tuple[str, ...]
    multiple: bool
    env: tuple[str, ...]


def options_for(command: str) -> list[Option]:
    """The flags that `command` ("run", "resume") shares with the configuration, in the order of their panels."""
    return [_option(field) for field in Settings.model_fields if command in meta_of(field).commands]


def show(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Name, value as text, origin of every setting. Secrets are "set" or "not set"."""
    return [(meta_of(field).name, _text(field, value), loaded.origin[field]) for field, value in loaded.settings]


def _option(field: str) -> Option:
    info, meta = Settings.model_fields[field], meta_of(field)
    kind = _plain(info.annotation)
    choices = cast(tuple[str, ...], get_args(kind)) if get_origin(kind) is Literal else ()
    multiple = get_origin(kind) is tuple
    if multiple:
        kind = list[str]
    elif meta.as_text:
        kind = str
    flag = f"--{meta.name.replace('_', '-')}"
    return Option(
        name=meta.name,
        flags=(flag, meta.short) if meta.short else (flag,),
        type=kind | None,
        default="" if info.default in (None, False, ()) else _text(field, info.default),
        help=info.description or "",
        panel=meta.panel,
        metavar=meta.metavar,
        choices=choices,
        multiple=multiple,
        env=meta.env,
    )


def _plain(annotation: Any) -> Any:
    """The type without None and without what pydantic checks."""
    if get_origin(annotation) in (UnionType, Union):
        annotation = next(each for each in get_args(annotation) if each is not type(None))
    return getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation


def _text(field: str, value: object) -> str:
    if isinstance(value, SecretStr) or Settings.model_fields[field].annotation == SecretStr | None:
        return "set" if value else "not set"
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(cast(Sequence[str], value))
    if field in _SHOWN_AS_DURATION and isinstance(value, float):
        return format_duration(value)
    if isinstance(value, float):
        return f"{value:.2f}" if meta_of(field).metavar == "USD" and round(value, 2) == value else f"{value:g}"
    return without_password(str(value))
