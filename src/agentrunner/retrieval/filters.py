"""Which sources are searched, by their attributes: a filter as a condition in SQL with parameters. It runs nothing.

A filter is `{"type": "eq", "key": NAME, "value": VALUE}`, with `ne`, `gt`, `gte`, `lt`, `lte`, `in` or `nin` in place
of `eq`, or `{"type": "and" | "or", "filters": [...]}`. Values are text, numbers or truth values. One of another kind
than the attribute, and an attribute that is not there, is neither equal nor less nor greater; so `ne` and `nin` hold.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from agentrunner.errors import UsageError

Value = str | float | bool
MAX_DEPTH = 8
MAX_COMPARISONS = 200
"""SQLite nests expressions up to 1,000 deep; both are far more than a person or a model writes."""
MAX_VALUES = 5_000
"""Of all comparisons together. SQLite takes 32,766 parameters in one statement."""

_OPERATORS = {"eq": "=", "ne": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "in": "IN", "nin": "IN"}


class Condition(NamedTuple):
    """About a row of `sources` called `s`."""

    sql: str
    parameters: tuple[object, ...]


def compile_filter(filter_: object) -> Condition:
    """Raises `UsageError` for what is no filter; never for a value that does not fit an attribute."""
    parameters: list[object] = []
    sql = _compile(filter_, 1, parameters, [0])
    if len(parameters) > MAX_VALUES:
        raise UsageError(f"a filter has {len(parameters)} values", f"give at most {MAX_VALUES}")
    return Condition(sql, tuple(parameters))


def stored(attributes: Mapping[str, Value]) -> list[tuple[bytes, str, object]]:
    """Attributes as they are compared: name, kind, value. Raises `UsageError` for a value of no kind."""
    rows: list[tuple[bytes, str, object]] = []
    for name, value in attributes.items():
        found = _kind(value)
        if found is None or value != value:
            raise UsageError(f"the attribute {name!r} is {value!r}", "give text, a number, true or false")
        rows.append((name.encode("utf-8", "surrogatepass"), *found))
    return rows


def _compile(filter_: object, depth: int, parameters: list[object], count: list[int]) -> str:
    if not isinstance(filter_, Mapping):
        raise _unusable(filter_, "an object with 'type'")
    given = cast("Mapping[str, object]", filter_)
    type_ = given.get("type")
    count[0] += 1
    if count[0] > MAX_COMPARISONS or depth > MAX_DEPTH:
        raise UsageError(
            "a filter is too large", f"use at most {MAX_COMPARISONS} conditions, nested at most {MAX_DEPTH} deep"
        )
    if type_ in ("and", "or"):
        parts = given.get("filters")
        if not isinstance(parts, list | tuple) or not parts:
            raise _unusable(given.get("filters"), f"a list of filters in 'filters' of {type_!r}")
        each = [_compile(part, depth + 1, parameters, count) for part in cast("Sequence[object]", parts)]
        return f"({f' {type_.upper()} '.join(each)})"
    if not isinstance(type_, str) or type_ not in _OPERATORS:
        raise _unusable(type_, f"a type of {', '.join(_OPERATORS)}, and, or")
    return _comparison(type_, given, parameters)


def _comparison(type_: str, given: Mapping[str, object], parameters: list[object]) -> str:
    key, value = given.get("key"), given.get("value")
    if not isinstance(key, str):
        raise _unusable(key, "the name of an attribute in 'key'")
    if type_ in ("in", "nin"):
        if not isinstance(value, list | tuple):
            raise _unusable(value, f"a list in 'value' of {type_!r}")
        wanted = _kinds(cast("Sequence[object]", value))
    else:
        wanted = _kinds([value])
    parameters.append(key.encode("utf-8", "surrogatepass"))
    tests: list[str] = []
    for kind in sorted({kind for kind, _ in wanted}):
        values = [each for of, each in wanted if of == kind]
        marks = f"({', '.join('?' * len(values))})" if type_ in ("in", "nin") else "?"
        tests.append(f"(a.kind = ? AND a.value {_OPERATORS[type_]} {marks})")
        parameters += [kind, *values]
    negated = "NOT " if type_ in ("ne", "nin") else ""
    any_of = " OR ".join(tests) or "0"
    return f"{negated}EXISTS (SELECT 1 FROM attributes a WHERE a.source = s.id AND a.name = ? AND ({any_of}))"  # noqa: S608


def _kinds(values: Iterable[object]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for value in values:
        kind = _kind(value)
        if kind is None:
            raise _unusable(value, "text, a number, true or false in 'value'")
        found.append(kind)
    return found


def _kind(value: object) -> tuple[str, object] | None:
    """Truth values are a kind of their own, though Python counts them among the numbers."""
    if isinstance(value, bool):
        return "truth", int(value)
    if isinstance(value, str):
        return "text", value.encode("utf-8", "surrogatepass")
    if isinstance(value, int | float):
        try:
            return "number", float(value)
        except OverflowError:
            return "number", math.copysign(math.inf, value)
    return None


def _unusable(found: object, expected: str) -> UsageError:
    # Whole, it might be any length, and nested deeper than Python can print.
    return UsageError(f"a filter has {reprlib.repr(found)}", f"expected {expected}")
