"""A typed function as a tool: its schema for the model, its arguments checked, its result. It runs nothing by itself.

The schema of simple types (str, int, float, bool, lists, Literal) is derived here without pydantic, because it is
needed before the first request and building 14 pydantic models takes 30 ms. pydantic checks arguments, from a tool's
first use on; for richer types it makes the schema too."""

from __future__ import annotations

import inspect
import json
import re
import types as pytypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints, overload

from agentrunner.sanitise import clean
from agentrunner.types import JSON, Artifact, Effect, ToolSpec

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what the chat endpoints accept as a function name
_WORDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


class ToolError(Exception):
    """A tool could not do what it was asked. The text is an instruction to the model: what was wrong, what to call
    instead."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a tool returns when text alone does not say it. `content` starts with the outcome."""

    content: str
    ok: bool = True
    artifacts: tuple[Artifact, ...] = ()
    detail: JSON | None = None
    """For listeners: the model does not see it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool may know of its call. A parameter annotated with it is filled in and not shown to the model."""

    key: str
    timeout_s: float


@dataclass(frozen=True)
class Tool:
    """One tool. `function` is sync (run in a thread) or async; `injected` names its parameter of type `Context`."""

    name: str
    function: Callable[..., Any]
    description: str
    effect: Effect = "unsafe"
    details: Mapping[str, str] = field(default_factory=dict[str, str])
    """Description by parameter."""
    injected: str = ""
    seen: Callable[[str, str], None] | None = None
    """Told of each of its results, live or from a journal, with the key of its call."""
    _made: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    def described(self, text: str) -> Tool:
        """The same tool with the words of a prompt file: its first paragraph describes the tool, and each line
        `- name: words` a parameter. HTML comments are left out."""
        text = re.sub(r"<!--.*?-->", "", text, flags=re.S).strip()
        if not text:
            return self
        first, _, rest = text.partition("\n\n")
        details = dict(re.findall(r"^- `?(\w+)`?: +(.+)$", rest, re.M))
        return replace(self, description=" ".join(first.split()), details={**self.details, **details}, _made={})

    @property
    def parameters(self) -> JSON:
        """JSON schema of the arguments."""
        if "schema" not in self._made:
            self._made["schema"] = _schema(self)
        return self._made["schema"]

    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.parameters, self.effect)

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them. Raises `ToolError` naming the field and the type it needs."""
        import pydantic

        if "adapter" not in self._made:
            self._made["adapter"] = _adapter(self)
        mended = _mended(arguments, self.parameters)
        try:
            return cast(dict[str, Any], self._made["adapter"].validate_python(mended))
        except pydantic.ValidationError as error:
            raise ToolError(_explain(self, cast(list[dict[str, Any]], error.errors(include_url=False)))) from None


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *, effect: Effect = "unsafe", name: str = "", description: str = ""
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, effect: Effect = "unsafe", name: str = "", description: str = ""
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function.

    The docstring is its description, `Annotated[int, "words"]` (or pydantic's `Field(description=...)`) describes an
    argument. `effect` says what running it twice does: "pure" nothing, "idempotent" the same again, "unsafe" nobody
    knows; only the first two are repeated after a crash. It may return text, an `Output`, or anything that JSON can
    hold, and raise `ToolError` with an instruction to the model."""

    def make(function: Callable[..., Any]) -> Tool:
        title = name or function.__name__
        if not _NAME.fullmatch(title):
            raise ValueError(f"tool name {title!r} must be 1 to 64 letters, digits, '_' or '-'")
        injected, details = "", dict[str, str]()
        for parameter, kind in _hints(function).items():
            if kind is Context:
                injected = parameter
            elif get_origin(kind) is Annotated:
                said = " ".join(extra for extra in get_args(kind)[1:] if isinstance(extra, str))
                details |= {parameter: said} if said else {}
        words = description or inspect.getdoc(function) or ""
        return Tool(title, function, words, effect, details, injected)

    return make if function is None else make(function)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotation by parameter, in order; a parameter without one is an error of the tool's author."""
    hints = get_type_hints(function, include_extras=True)
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"tool {function.__name__}: parameter {name!r} must be a plain named one")
        if name not in hints:
            raise TypeError(f"tool {function.__name__}: parameter {name!r} needs a type annotation")
        found[name] = hints[name]
    return found


def _arguments(tool: Tool) -> dict[str, Any]:
    return {name: kind for name, kind in _hints(tool.function).items() if name != tool.injected}


def _defaults(tool: Tool) -> dict[str, Any]:
    parameters = inspect.signature(tool.function).parameters
    return {
        name: parameter.default for name, parameter in parameters.items() if parameter.default is not parameter.empty
    }


# --- schema ------------------------------------------------------------------------------------------------------


def _schema(tool: Tool) -> JSON:
    kinds, defaults = _arguments(tool), _defaults(tool)
    simple = {name: _simple(kind) for name, kind in kinds.items()}
    extra: JSON = {}
    if any(schema is None for schema in simple.values()):
        whole = _untitled(_adapter(tool).json_schema())
        simple, extra = whole["properties"], {k: v for k, v in whole.items() if k == "$defs"}
    properties: JSON = {}
    for name, schema in simple.items():
        shown = dict(schema or {})
        if name in tool.details:
            shown["description"] = tool.details[name]
        if name in defaults and _is_json(defaults[name]):
            shown["default"] = defaults[name]
        properties[name] = shown
    required = [name for name in kinds if name not in defaults]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **extra}


def _simple(kind: Any) -> JSON | None:
    """The schema of a simple type, or None for one that pydantic has to describe."""
    if kind in _WORDS:
        return {"type": _WORDS[kind]}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated and all(isinstance(words, str) for words in inner[1:]):
        return _simple(inner[0])
    if origin is Literal and all(isinstance(value, str) for value in inner):
        return {"enum": list(inner), "type": "string"}
    if origin is list and (items := _simple(inner[0])) is not None:
        return {"type": "array", "items": items}
    if origin in (Union, pytypes.UnionType):
        options = [{"type": "null"} if option is type(None) else _simple(option) for option in inner]
        return {"anyOf": options} if all(option is not None for option in options) else None
    return None


def _untitled(schema: Any) -> Any:
    """Without pydantic's generated titles: tokens that tell a model nothing."""
    if isinstance(schema, dict):
        items = cast(JSON, schema).items()
        return {key: _untitled(value) for key, value in items if not (key == "title" and isinstance(value, str))}
    return [_untitled(item) for item in cast(list[Any], schema)] if isinstance(schema, list) else schema


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


# --- arguments ---------------------------------------------------------------------------------------------------


def _adapter(tool: Tool) -> Any:
    from typing import NotRequired  # pydantic takes typing's TypedDict only from 3.12 on

    import pydantic
    from typing_extensions import TypedDict

    defaults = _defaults(tool)
    fields = {name: NotRequired[kind] if name in defaults else kind for name, kind in _arguments(tool).items()}
    shape = cast(Any, TypedDict)(tool.name, fields)
    shape.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    return pydantic.TypeAdapter[Any](shape)


def _mended(arguments: Mapping[str, Any], schema: JSON) -> JSON:
    """Slips that have only one meaning: null for an argument that has a default; a list that was sent as text, or its
    only element without the brackets."""
    mended: JSON = {}
    for name, value in arguments.items():
        shape: JSON = schema["properties"].get(name, {})
        if value is None and "default" in shape and shape["default"] is not None:
            continue
        if shape.get("type") == "array" and isinstance(value, str):
            try:
                inner = json.loads(value)
            except ValueError:
                inner = value
            value = cast(list[Any], inner) if isinstance(inner, list) else [value] if value else []
        mended[name] = value
    return mended


def _explain(tool: Tool, errors: list[dict[str, Any]]) -> str:
    names = list(tool.parameters["properties"])
    known = ", ".join(f"`{name}`" for name in names)
    said: list[str] = []
    for error in errors[:5]:
        place = [str(part) for part in error["loc"]]
        shown = "`" + clean(".".join(place), keep="")[:60] + "`"  # the names of unknown arguments are the model's words
        if error["type"] == "missing":
            said.append(f"{shown} is missing (it must be {_wanted(tool, place)})")
        elif error["type"] == "extra_forbidden":
            said.append(f"{shown} is not an argument of {tool.name} (its arguments: {known or 'none'})")
        elif error["type"].endswith(("_type", "_parsing", "_error")) and error["type"] != "value_error":
            said.append(f"{shown} must be {_wanted(tool, place)}, got {_shown(error['input'])}")
        else:  # a bound or a rule: pydantic's sentence names it
            said.append(f"{shown}: {clean(error['msg'], keep='')}, got {_shown(error['input'])}")
    these = "that" if len(said) == 1 else "these"
    return f"{'; '.join(dict.fromkeys(said))}. Call {tool.name} again with {these} corrected."


def _wanted(tool: Tool, place: list[str]) -> str:
    shape: JSON = {"properties": tool.parameters["properties"]}
    for part in place:
        shape = shape.get("properties", {}).get(part) or shape.get("items") or {}
        named = str(shape.get("$ref", "")).rpartition("/")[2]
        shape = tool.parameters.get("$defs", {}).get(named, shape)
    if "enum" in shape:
        return "one of " + ", ".join(repr(value) for value in shape["enum"])
    options: list[JSON] = shape.get("anyOf", [shape])
    words = {
        "string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false",
        "array": "a list", "object": "an object", "null": "null",
    }  # fmt: skip
    return " or ".join(words.get(option.get("type", ""), "of another type") for option in options)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
