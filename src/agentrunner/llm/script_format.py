"""The answers of a scripted model as values, and reading them from YAML or JSON Lines. It does not play them.

In YAML a value may be `!file NAME`: the text of a file beside the script, so that code can stay a file of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, ClassVar

from agentrunner.errors import UsageError

_CLOSED: dict[str, Any] = {"extra": "forbid"}
"""pydantic's word for: a misspelt key is an error, not a silence."""


@dataclass(frozen=True, slots=True)
class ScriptedThoughts:
    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    text: str = ""
    reasoning: str = ""
    plan: list[str] = field(default_factory=list[str])
    criticism: str = ""
    revise: bool = False


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    name: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    problem: str = ""
    """Why the arguments of a recorded answer could not be read, as an instruction to the model."""


@dataclass(frozen=True, slots=True)
class ScriptedUsage:
    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ScriptedError:
    """A failed request. `status` is the HTTP status, 0 for a connection that broke."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    status: int
    message: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of a script. An entry without a label fits any request but `wrap_up`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _CLOSED
    label: str = ""
    expect: str = ""
    text: str | None = None
    thoughts: ScriptedThoughts | None = None
    calls: list[ScriptedCall] = field(default_factory=list[ScriptedCall])
    usage: ScriptedUsage | None = None
    error: ScriptedError | None = None
    model: str = ""
    finish: str = ""
    problem: str = ""
    """Why a recorded answer could not be read as a command, as an instruction to the model."""
    delay_s: float = 0.0
    literal: bool = False
    """Whether `{{...}}` in this entry is text like any other, as in a script that was recorded."""
    branch: str = ""
    """The branch whose requests it fits, as in "t2"; empty for any. Of branches that run side by side nobody knows
    which one asks first, so their answers are told apart by this."""


def load_script(path: Path | Traversable) -> list[Entry]:
    """The entries of a YAML list, or of JSON Lines (a file whose first character is `{`).

    Raises `UsageError` in one line: the file, the number of the entry, the field and what was expected there.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"the script {str(path)!r} cannot be read: {reason}", "give --script a file of YAML or JSON Lines"
        ) from error
    items = _read_lines(path, text) if text.lstrip().startswith("{") else _read_yaml(path, text)
    return [_entry(path, number, item) for number, item in enumerate(items, 1)]


def _read_lines(path: Path | Traversable, text: str) -> list[Any]:
    items: list[Any] = []
    # Not splitlines(): JSON strings may hold U+2028 and U+0085 as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            items.append(json.loads(line))
        except ValueError as error:
            raise UsageError(f"script {str(path)!r}, line {number}: not a JSON object on one line: {error}") from error
    return items


def _read_yaml(path: Path | Traversable, text: str) -> list[Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML without the timestamp type: arguments are JSON, where a date is a string."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def beside(loader: Loader, node: yaml.Node) -> str:
        name = str(loader.construct_scalar(node))  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
        folder: Any = getattr(path, "parent")  # noqa: B009  Traversable does not declare it; its classes have it
        try:
            return folder.joinpath(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"script {str(path)!r}: the file {name!r} beside it cannot be read: {error}") from error

    Loader.add_constructor("!file", beside)  # pyright: ignore[reportUnknownMemberType]
    try:
        found: Any = yaml.load(text, Loader)  # noqa: S506  a SafeLoader with one tag more
    except yaml.YAMLError as error:
        raise UsageError(f"script {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"script {str(path)!r} holds a value that cannot be read: {error}") from error
    if not isinstance(found, list):
        raise UsageError(
            f"script {str(path)!r} is not a list of answers", "begin each answer with a dash, or write JSON Lines"
        )
    return found  # pyright: ignore[reportUnknownVariableType]


def _entry(path: Path | Traversable, number: int, item: Any) -> Entry:
    from pydantic import TypeAdapter, ValidationError

    where = f"script {str(path)!r}, entry {number}"
    try:
        entry = TypeAdapter(Entry).validate_python(item)
    except ValidationError as problem:
        raise UsageError(f"{where}: {_in_words(problem.errors(include_url=False)[0])}") from problem
    if entry.error is None and entry.text is None and entry.thoughts is None and not entry.calls:
        raise UsageError(f"{where}: it says nothing", "give it text, thoughts, calls or error")
    if entry.error is not None:
        if entry.text is not None or entry.thoughts is not None or entry.calls:
            raise UsageError(f"{where}: error cannot stand together with text, thoughts or calls")
        if entry.error.status != 0 and not 400 <= entry.error.status <= 599:
            raise UsageError(f"{where}: error.status is {entry.error.status}, expected 0 or 400 to 599")
    return entry


def _in_words(error: Any) -> str:
    """One line from one of pydantic's error records."""
    spot = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        owner = {1: Entry}.get(len(error["loc"]), _OWNERS.get(str(error["loc"][0]), Entry))
        return f"unknown key {spot!r}; known here: {', '.join(f.name for f in fields(owner))}"
    if error["type"] == "missing":
        return f"{spot} is missing"
    if error["type"] in ("dataclass_type", "dataclass_exact_type"):
        return f"{spot or 'it'} is {error['input']!r}, expected a mapping of keys to values"
    expected = str(error["msg"]).replace("Input should be", "expected")
    return f"{spot} is {error['input']!r}, {expected[:1].lower()}{expected[1:]}"


_OWNERS: dict[str, type[Any]] = {
    "thoughts": ScriptedThoughts,
    "calls": ScriptedCall,
    "usage": ScriptedUsage,
    "error": ScriptedError,
}
