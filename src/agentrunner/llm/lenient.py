"""Reads JSON that models write: strictly first, then with those slips mended that leave no doubt what was meant.

It never completes what was cut off: half a file is not what the model wanted to write. Not a general JSON5 parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, cast

MAX_CHARS = 4_000_000
"""More than any output cap allows; keeps reading bounded whatever an endpoint sends."""
MAX_STARTS = 64
"""Braces in prose that are tried as the beginning of an object."""
MAX_DEPTH = 500
"""Of brackets, where an object in prose has to be mended; Python's reader itself gives up at about 1,000."""

# Possessive, and an open string runs to the end: one pass over the text, whatever it holds.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_BAD_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(.))', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*+[}\]])")
_WORDS = {"True": "true", "False": "false", "None": "null"}
_WORD = re.compile(r"\b(?:True|False|None)\b")
_FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: str) -> Any:
    """The value. Standard JSON only: no NaN. Lone surrogates, which no file and no request can hold, become U+FFFD.
    Raises `ValueError` that says where."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"longer than {MAX_CHARS} characters")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _without_surrogates(value) if _SURROGATE.search(text) else value


def loads_lenient(text: str) -> Any:
    """Like `loads`, but a code fence, trailing commas, raw line breaks in strings, invalid escapes, True, False and
    None are mended. Raises the `ValueError` of the strict reading when that does not help."""
    try:
        return loads(text)
    except ValueError as problem:
        if len(text) > MAX_CHARS:
            raise
        try:
            value = json.loads(mend(text), parse_constant=_no_constant, strict=False)
        except (ValueError, RecursionError):
            raise problem from None
        return _without_surrogates(value)


def mend(text: str) -> str:
    if fenced := _FENCE.match(text):
        text = fenced[1]
    pieces: list[str] = []
    end = 0
    for string in _STRING.finditer(text):
        pieces.append(_mend_between(text[end : string.start()]))
        pieces.append(_BAD_ESCAPE.sub(_mend_escape, string[0]))
        end = string.end()
    pieces.append(_mend_between(text[end:]))
    return "".join(pieces)


def objects_in(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON objects that stand in prose, with where each begins; outermost only, mended where only that helps."""
    position, starts = 0, 0
    text = text[:MAX_CHARS]
    while (start := text.find("{", position)) >= 0 and starts < MAX_STARTS:
        starts += 1
        value, end = _object_at(text, start)
        if value is None:
            position = start + 1
        else:
            yield start, value
            position = end


def where(problem: ValueError) -> str:
    if isinstance(problem, json.JSONDecodeError):
        return f"{problem.msg} at line {problem.lineno} column {problem.colno}"
    return str(problem)


def well_formed(text: str) -> str:
    """The text with surrogates paired where they are pairs, and replaced where they are alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _object_at(text: str, start: int) -> tuple[dict[str, Any] | None, int]:
    try:
        value, end = _DECODER.raw_decode(text, start)
        return _without_surrogates(value), end
    except (ValueError, RecursionError):
        pass
    end = _closing_brace(text, start)
    if end is None:
        return None, start
    try:
        value = loads_lenient(text[start:end])
    except ValueError:
        return None, start
    return (cast("dict[str, Any]", value) if isinstance(value, dict) else None), end


def _closing_brace(text: str, start: int) -> int | None:
    """Where the object that opens at `start` ends, by counting brackets outside strings."""
    depth, position = 0, start
    for mark in _MARKS.finditer(text, start):
        if mark.start() < position or mark[0].startswith('"'):
            continue
        position = mark.end()
        depth += 1 if mark[0] in "{[" else -1
        if depth == 0:
            return position
        if depth > MAX_DEPTH:
            return None
    return None


def _mend_between(text: str) -> str:
    return _TRAILING_COMMA.sub(r"\1", _WORD.sub(lambda word: _WORDS[word[0]], text))


def _mend_escape(escape: re.Match[str]) -> str:
    """`\\d` in a string was meant as these two characters; `\\'` as the quote."""
    if escape[1] is not None:
        return escape[0]
    return escape[2] if escape[2] in "'\n" else "\\\\" + escape[2]


def _without_surrogates(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    clean = well_formed(text)
    return value if clean is text else json.loads(clean)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[{}\[\]]', re.DOTALL)
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
