"""Puts the sources together: a flag wins over a variable, that over `.env`, `agent.toml`, the user's configuration and
the default. A project's files may set only what harms nobody, until the user has trusted their directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import platformdirs

from agentrunner.config.settings import GuardMode, Settings, meta_of
from agentrunner.config.sources import Layer, check, from_dotenv, from_environment, from_flags, from_toml
from agentrunner.config.trusted import read_project_file, standing


@dataclass(frozen=True)
class Loaded:
    """Settings with absolute paths; where each came from, by field; and one line for each key that was not honoured."""

    settings: Settings
    origin: Mapping[str, str]
    ignored: Sequence[str]


def user_config_file() -> Path:
    """Where the user's own configuration is kept on this platform."""
    return platformdirs.user_config_path("agentrunner") / "config.toml"


def load(
    flags: Mapping[str, object], *, cwd: Path, environ: Mapping[str, str], user_config: Path | None = None
) -> Loaded:
    """Settings for a command started in `cwd`. `flags` are by public name, None for those not given. `user_config` need
    not exist; without it, it is where this platform keeps it. Raises `UsageError`."""
    ignored: list[str] = []
    user = _user_layer(user_config or user_config_file())
    above = [check(from_flags(flags)), check(from_environment(environ))]
    home = _absolute(cast(Path, _merge([*above, user])[0].get("home", Settings().home)), cwd)
    project: list[Layer] = []
    for name in (".env", "agent.toml"):
        content = read_project_file(cwd / name)
        if content is not None:
            layer = from_dotenv(content, ignored) if name == ".env" else from_toml(content, name, name)
            project.append(_permitted(layer, user, cwd, _why_not(cwd, name, content, home), ignored))
    values, origin = _merge([*above, *project, user])
    if values.get("script") is not None and not values.get("dry_run"):
        values["dry_run"], origin["dry_run"] = True, origin["script"]
    settings = Settings(**values)  # pyright: ignore[reportArgumentType]
    paths = {field: _absolute(value, cwd) for field, value in settings if isinstance(value, Path)}
    return Loaded(
        settings.model_copy(update=paths),
        {field: origin.get(field, "default") for field in Settings.model_fields},
        ignored,
    )


def _user_layer(path: Path) -> Layer:
    content = read_project_file(path)
    return check(from_toml(content, "user configuration", str(path))) if content is not None else Layer("")


def _merge(layers: Iterable[Layer]) -> tuple[dict[str, object], dict[str, str]]:
    """Values and origins; the first layer that has a field wins."""
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    for layer in layers:
        for field, value in layer.values.items():
            if field not in values:
                values[field], origin[field] = value, layer.origins[field]
    return values, origin


def _why_not(cwd: Path, name: str, content: bytes, home: Path) -> str:
    """Why this file may not set everything; empty when it may."""
    match standing(cwd, name, content, home):
        case "trusted":
            return ""
        case "changed":
            return f"{name} changed since this directory was trusted"
        case "unknown":
            return "this directory is not trusted"


def _permitted(layer: Layer, user: Layer, cwd: Path, why_not: str, ignored: list[str]) -> Layer:
    """The checked layer without what its file may not set; one line is added to `ignored` for each such key."""
    never = [field for field in layer.values if meta_of(field).guard == "never"]
    ignored += [f"{layer.name}: ignored {layer.keys[field]!r}: a project may not set it" for field in never]
    layer = replace(layer, values={field: value for field, value in layer.values.items() if field not in never})
    if not why_not:
        return check(layer)

    def drop(layer: Layer, reasons: Mapping[str, str]) -> Layer:
        for field, reason in reasons.items():
            said = f"{layer.keys[field]!r}{reason}"
            ignored.append(f"{layer.name}: ignored {said}: {why_not}; run 'agent trust' to allow it")
        kept = {field: value for field, value in layer.values.items() if field not in reasons}
        return Layer(layer.name, kept, layer.keys, layer.origins)

    # Before they are checked: what is ignored anyway must not stop the command by being wrong.
    layer = check(drop(layer, {field: "" for field in layer.values if meta_of(field).guard == "always"}))
    reasons = {field: _objection(field, value, user, cwd) for field, value in layer.values.items()}
    return drop(layer, {field: reason for field, reason in reasons.items() if reason})


def _objection(field: str, value: object, user: Layer, cwd: Path) -> str:
    """What an untrusted file would do with this value that it may not do; empty when it may set it."""
    without = user.values.get(field, Settings.model_fields[field].default)
    match meta_of(field).guard:
        case "raising" if isinstance(without, int | float) and not (
            isinstance(value, int | float) and value <= without
        ):
            return f" (raises the limit of {without:g})"
        case "loosening" if value in (modes := get_args(GuardMode)) and modes.index(value) < modes.index(without):
            return f" (weakens {without!r})"
        case "clearing" if without and not value:
            return " (takes back your own setting)"
        case "outside":
            paths = cast(Sequence[str | Path], value if isinstance(value, tuple) else (value,))
            for path in paths:
                if not _absolute(Path(path), cwd).resolve().is_relative_to(cwd.resolve()):
                    return f" ({str(path)!r} lies outside of this directory)"
        case _:
            pass
    return ""


def _absolute(path: Path, cwd: Path) -> Path:
    return cwd / path.expanduser()
