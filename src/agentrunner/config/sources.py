"""Where settings come from: flags, variables, `.env`, `agent.toml`, the user's configuration; each as a `Layer` of
checked values. Which layer wins, and what an untrusted one may set, is decided in `load`.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import tomllib
from collections.abc import Iterator, Mapping
from typing import cast

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

from agentrunner.config.settings import Settings, meta_of
from agentrunner.config.values import without_password
from agentrunner.errors import UsageError

FIELD_OF: Mapping[str, str] = {meta_of(field).name: field for field in Settings.model_fields}
"""Fields by their public name."""

FIELD_OF_VARIABLE: Mapping[str, str] = {name: field for field in Settings.model_fields for name in meta_of(field).env}

_MAX_DOTS = 64
"""In a line of TOML; a key of very many parts makes its reader take memory by their square."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """What one source says, by field. `keys` are the words that it used, `origins` what to call the place."""

    name: str
    values: Mapping[str, object] = dataclasses.field(default_factory=dict[str, object])
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def from_flags(flags: Mapping[str, object]) -> Layer:
    """`flags` by public name; None and an empty list mean that the flag was not given."""
    given = {FIELD_OF[name]: value for name, value in flags.items() if value is not None and value not in ([], ())}
    words = {field: f"--{meta_of(field).name.replace('_', '-')}" for field in given}
    return Layer("flag", given, words, {field: f"flag {word}" for field, word in words.items()})


def from_environment(environ: Mapping[str, str]) -> Layer:
    values, keys = _variables(environ)
    return Layer("environment", values, keys, {field: f"environment {key}" for field, key in keys.items()})


def from_dotenv(content: bytes, ignored: list[str]) -> Layer:
    """`.env` is shared with other programs, so only unknown variables that begin with `AGENT_` are worth a line."""
    try:
        # No interpolation: a project's file must not be able to copy other variables into a setting.
        found = dotenv_values(stream=io.StringIO(content.decode()), interpolate=False)
    except UnicodeDecodeError as error:
        raise UsageError(".env: not UTF-8 text", "save it as UTF-8") from error
    values, keys = _variables({key: value for key, value in found.items() if value is not None})
    for key in found:
        if key.startswith("AGENT_") and key not in FIELD_OF_VARIABLE:
            ignored.append(f".env: ignored {key!r}: there is no such setting{_nearest(key, FIELD_OF_VARIABLE)}")
    return Layer(".env", values, keys, dict.fromkeys(values, ".env"))


def from_toml(content: bytes, name: str, path: str) -> Layer:
    """`name` is what the origin is called, `path` what errors show."""
    if any(line.count(b".") > _MAX_DOTS for line in content.splitlines()):
        raise UsageError(f"{path}: a line with more than {_MAX_DOTS} dots", "write long lists over several lines")
    try:
        found = tomllib.loads(content.decode())
        repr(found)  # a hexadecimal number can be read that no message could show
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text", "save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}", "see https://toml.io for how it is written") from error
    except (ValueError, RecursionError) as error:
        what = "a number of too many digits" if isinstance(error, ValueError) else "nested too deep"
        raise UsageError(f"{path}: {what}", "no setting needs that; take it out") from None
    values: dict[str, object] = {}
    keys: dict[str, str] = {}
    for key, value in _flat(found):
        field = FIELD_OF.get(key.replace("-", "_").replace(".", "_"))
        if field is None:
            near = _nearest(key.replace("-", "_").replace(".", "_"), FIELD_OF)
            raise UsageError(f"{path}: unknown key {key!r}{near}", "'agent config show' lists all of them")
        if field in values:
            raise UsageError(f"{path}: {keys[field]!r} and {key!r} are the same setting", "keep one of them")
        values[field], keys[field] = value, key
    return Layer(name, values, keys, dict.fromkeys(values, name))


def _flat(found: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The keys of a `[guard]` table as "guard.key"; all others as they are."""
    for key, value in found.items():
        if key == "guard" and isinstance(value, dict):
            table = cast(dict[str, object], value)
            yield from ((f"guard.{name}", each) for name, each in table.items())
        else:
            yield key, value


def check(layer: Layer) -> Layer:
    """The same layer with its values as the types they stand for. Raises `UsageError` that names source and value."""
    try:
        settings = Settings(**cast(dict[str, object], layer.values))  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        origin, key = layer.origins[field], layer.keys[field]
        place = origin if origin.endswith(key) else f"{origin}: {key}"
        secret = Settings.model_fields[field].annotation == SecretStr | None
        shown = "not a valid value" if secret else without_password(f"{layer.values[field]!r}")[:200]
        raise UsageError(f"{place} is {shown}", f"expected {_expected(first['msg'])}") from None
    return Layer(layer.name, {field: getattr(settings, field) for field in layer.values}, layer.keys, layer.origins)


def _variables(environ: Mapping[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    """An empty variable is as good as none: that is how templates leave out a value."""
    values: dict[str, object] = {}
    keys: dict[str, str] = {}
    for field in Settings.model_fields:
        key = next((name for name in meta_of(field).env if environ.get(name)), None)
        if key is not None:
            values[field], keys[field] = environ[key], key
    return values, keys


def _nearest(word: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _expected(message: str) -> str:
    """What a valid value is, out of pydantic's sentence about an invalid one."""
    for prefix in ("Value error, expected ", "Input should be ", "Value error, "):
        message = message.removeprefix(prefix)
    message = message.split(", unable to")[0].split(", got")[0]
    message = message.replace("String should have at least 1 character", "some text")
    return f"a number {message}" if message.startswith(("greater", "less")) else message
