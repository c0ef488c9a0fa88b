"""What a value in a request may be. A check returns the value as it is kept, or raises the `ApiError` that says where
it is wrong, what was expected and what was found. It knows no object of the API.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from agentrunner.server.faults import ApiError, bad
from agentrunner.types import JSON

Check = Callable[[object, str], Any]
"""A value, and the way to it such as `tools[0].function.name`."""

_SHOWN_CHARS = 100


def text(max_chars: int | None = None, min_chars: int = 0) -> Check:
    def check(value: object, where: str) -> str:
        if not isinstance(value, str):
            raise _type(where, "a string", value)
        if max_chars is not None and len(value) > max_chars:
            raise bad(
                f"Invalid '{where}': string too long. Expected a string with maximum length {max_chars}, but got a"
                f" string with length {len(value)} instead.",
                where,
                "string_above_max_length",
            )
        if len(value) < min_chars:
            raise bad(
                f"Invalid '{where}': {'empty string' if not value else 'string too short'}. Expected a string with"
                f" minimum length {min_chars}, but got {'an empty string' if not value else len(value)} instead.",
                where,
                "empty_string" if not value else "string_below_min_length",
            )
        return value

    return check


def integer(least: int | None = None, most: int | None = None) -> Check:
    def check(value: object, where: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON has one kind of number
        if not isinstance(value, int) or isinstance(value, bool):
            raise _type(where, "an integer", value)
        _within(value, where, least, most, "integer")
        return value

    return check


def number(least: float | None = None, most: float | None = None) -> Check:
    def check(value: object, where: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not _finite(value):
            raise _type(where, "a decimal", value)
        _within(value, where, least, most, "decimal")
        return value

    return check


def boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _type(where, "a boolean", value)
    return value


def one_of(*words: str) -> Check:
    def check(value: object, where: str) -> str:
        if not isinstance(value, str):
            raise _type(where, f"one of {_listed(words)}", value)
        if value not in words:
            raise bad(f"Invalid value: '{value[:_SHOWN_CHARS]}'. Supported values are: {_listed(words)}.", where)
        return value

    return check


def nullable(of: Check) -> Check:
    def check(value: object, where: str) -> Any:
        return None if value is None else of(value, where)

    return check


def array(of: Check, *, most: int | None = None, least: int = 0) -> Check:
    def check(value: object, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _type(where, "an array", value)
        items = cast("list[object]", value)
        if most is not None and len(items) > most:
            raise bad(
                f"Invalid '{where}': array too long. Expected an array with maximum length {most}, but got an array"
                f" with length {len(items)} instead.",
                where,
                "array_above_max_length",
            )
        if len(items) < least:
            raise bad(
                f"Invalid '{where}': {'empty array' if not items else 'array too short'}. Expected an array with"
                f" minimum length {least}, but got {'an empty array' if not items else len(items)} instead.",
                where,
                "empty_array" if not items else "array_below_min_length",
            )
        return [of(item, f"{where}[{index}]") for index, item in enumerate(items)]

    return check


def obj(fields: Mapping[str, Check], *, required: Sequence[str] = (), open_: bool = False) -> Check:
    """An object of these fields; only those that were given are kept. Others are refused, or, with `open_`, ignored."""

    def check(value: object, where: str) -> JSON:
        if not isinstance(value, dict):
            raise _type(where, "an object", value)
        given = cast("dict[str, object]", value)
        for name in required:
            if name not in given:
                raise bad(
                    f"Missing required parameter: '{_inside(where, name)}'.",
                    _inside(where, name),
                    "missing_required_parameter",
                )
        if not open_:
            for name in given:
                if name not in fields:
                    place = _inside(where, name[:_SHOWN_CHARS])
                    raise bad(f"Unknown parameter: '{place}'.", place, "unknown_parameter")
        return {name: fields[name](item, _inside(where, name)) for name, item in given.items() if name in fields}

    return check


def by_type(kinds: Mapping[str, Check]) -> Check:
    """An object whose field `type` says which of these it is."""

    def check(value: object, where: str) -> JSON:
        if not isinstance(value, dict):
            raise _type(where, "an object", value)
        place = _inside(where, "type")
        if "type" not in value:
            raise bad(f"Missing required parameter: '{place}'.", place, "missing_required_parameter")
        kind = one_of(*kinds)(cast("dict[str, object]", value)["type"], place)
        return kinds[kind](cast("object", value), where)

    return check


def mapping(of: Check, *, most: int, key_chars: int) -> Check:
    """An object of any names, at most so many and so long."""

    def check(value: object, where: str) -> JSON:
        if not isinstance(value, dict):
            raise _type(where, "an object", value)
        given = cast("dict[str, object]", value)
        if len(given) > most:
            raise bad(
                f"Invalid '{where}': too many properties. Expected an object with at most {most} properties, but got an"
                f" object with {len(given)} properties instead.",
                where,
                "object_above_max_properties",
            )
        for name in given:
            if len(name) > key_chars:
                raise bad(
                    f"Invalid '{where}': a key is too long. Expected at most {key_chars} characters, but got"
                    f" {len(name)}.",
                    where,
                    "string_above_max_length",
                )
        return {name: of(item, f"{where}.{name}") for name, item in given.items()}

    return check


def any_object(levels: int) -> Check:
    """An object of anything, nested no deeper than that."""

    def check(value: object, where: str) -> JSON:
        if not isinstance(value, dict):
            raise _type(where, "an object", value)
        if _is_deeper(cast("object", value), levels):
            raise bad(f"Invalid '{where}': nested too deeply. Expected at most {levels} levels.", where)
        return cast(JSON, value)

    return check


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = cast("Mapping[str, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)
    return not levels or any(_is_deeper(each, levels - 1) for each in inner)


def either(first: tuple[type, Check], *others: tuple[type, Check], expected: str) -> Check:
    """What the type of the value selects."""

    def check(value: object, where: str) -> Any:
        for kind, of in (first, *others):
            if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
                return of(value, where)
        raise _type(where, expected, value)

    return check


def _within(value: float, where: str, least: float | None, most: float | None, kind: str) -> None:
    if most is not None and value > most:
        raise bad(
            f"Invalid '{where}': {kind} above maximum value. Expected a value <= {most}, but got {value} instead.",
            where,
            f"{kind}_above_max_value",
        )
    if least is not None and value < least:
        raise bad(
            f"Invalid '{where}': {kind} below minimum value. Expected a value >= {least}, but got {value} instead.",
            where,
            f"{kind}_below_min_value",
        )


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _type(where: str, expected: str, value: object) -> ApiError:
    where = where or "body"
    found = _ARTICLES.get(type(value), "something else")
    return bad(f"Invalid type for '{where}': expected {expected}, but got {found} instead.", where, "invalid_type")


_ARTICLES: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _listed(words: Sequence[str]) -> str:
    quoted = [f"'{word}'" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
