"""Puts earlier tool results, the goal and the file name into the strings of a script. Plain text: no expressions.

`{{result}}` is the last tool result, `{{result.N}}` the last one of step N; `#/json/pointer` (RFC 6901) behind either
looks into the last line of the result that parses as a JSON object or array. `{{goal}}` and `{{file}}` are themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from agentrunner.errors import ScriptError

_PLACEHOLDER = re.compile(r"\{\{[ \t]*(?P<name>[A-Za-z_]\w*)(?:\.(?P<step>\w+))?(?:#(?P<pointer>.*?))?[ \t]*\}\}")
_LONG_FLOAT = 15
"""Characters beyond which a float shows its binary rounding (0.30000000000000004)."""


@dataclass(slots=True)
class Facts:
    """What placeholders stand for. `where` names the entry in error messages."""

    goal: str
    file: str
    last: str | None = None
    by_step: dict[int, str] = field(default_factory=dict[int, str])

    def fill(self, value: Any, where: str) -> Any:
        """`value` with the placeholders in its strings replaced, in one pass: text put in is not looked at again.
        Raises `ScriptError` for a placeholder that names nothing."""
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda match: self._text_of(match, where), value) if "{{" in value else value
        if isinstance(value, Mapping):
            return {key: self.fill(item, where) for key, item in cast("Mapping[str, Any]", value).items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(item, where) for item in cast("list[Any]", value)]
        return value

    def _text_of(self, match: re.Match[str], where: str) -> str:
        name, step, pointer = match["name"], match["step"], match["pointer"]
        if name in ("goal", "file") and step is None and pointer is None:
            return self.goal if name == "goal" else self.file
        problem = f"{where} uses {match[0]}"
        if name != "result" or (step is not None and not step.isdecimal()):
            known = "{{result}}, {{result.N}}, {{result#/pointer}}, {{result.N#/pointer}}, {{goal}}, {{file}}"
            raise ScriptError(
                f"{problem}, which is not a placeholder", f"known are {known}; `literal: true` turns it off"
            )
        text = self.last if step is None else self.by_step.get(int(step))
        if text is None:
            missing = "no tool has answered yet" if step is None else f"step {step} has no tool result"
            raise ScriptError(f"{problem}, but {missing}")
        return text if pointer is None else _point(text, pointer, problem)


def _point(text: str, pointer: str, problem: str) -> str:
    value = _last_json_line(text)
    if value is None:
        raise ScriptError(f"{problem}, but no line of that result is a JSON object or array: {_clip(text)!r}")
    if pointer and not pointer.startswith("/"):
        raise ScriptError(f"{problem}, but a JSON pointer starts with '/'")
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = cast("dict[str, Any]", value)[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(key)]
        else:
            held = json.dumps(value, ensure_ascii=False)
            raise ScriptError(f"{problem}, but {key!r} does not exist in {_clip(held)}")
    return _plain(value)


def _last_json_line(text: str) -> Any:
    for line in reversed(text.splitlines()):
        if line.lstrip().startswith(("{", "[")):
            try:
                return json.loads(line)
            except (ValueError, RecursionError):
                continue
    return None


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"{value:.12g}" if isinstance(value, float) and len(text) > _LONG_FLOAT else text


def _clip(text: str) -> str:
    return text if len(text) <= 120 else text[:120] + "..."
