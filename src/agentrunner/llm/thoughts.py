"""The deliberation as the first argument of a tool: how it is asked for in a schema, and how it is taken out again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from agentrunner.llm.lenient import loads_lenient
from agentrunner.types import JSON, Thoughts, ToolSpec

NAME = "thoughts"
_TRUE = ("true", "yes", "1", "y")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def injected(spec: ToolSpec) -> bool:
    """Whether `thoughts` is ours in this tool. A tool that has a parameter of that name keeps it for itself."""
    return spec.thoughts and NAME not in cast("Mapping[str, Any]", spec.parameters.get("properties") or {})


def with_thoughts(spec: ToolSpec, texts: Mapping[str, str]) -> JSON:
    """The tool's parameters with `thoughts` as the first property and the first that is required. `texts` describes it:
    "thoughts", "thoughts.text", "thoughts.reasoning", "thoughts.plan", "thoughts.criticism", "thoughts.revise"."""
    if not injected(spec):
        return spec.parameters
    return {
        **spec.parameters,
        "type": "object",
        "properties": {NAME: schema(texts), **(spec.parameters.get("properties") or {})},
        "required": [NAME, *(spec.parameters.get("required") or ())],
    }


def schema(texts: Mapping[str, str]) -> JSON:
    def described(name: str, kind: JSON) -> JSON:
        description = texts.get(f"{NAME}.{name}", "")
        return {**kind, "description": description} if description else kind

    properties = {
        "text": described("text", {"type": "string"}),
        "reasoning": described("reasoning", {"type": "string"}),
        "plan": described("plan", {"type": "array", "items": {"type": "string"}}),
        "criticism": described("criticism", {"type": "string"}),
        "revise": described("revise", {"type": "boolean"}),
    }
    whole: JSON = {"type": "object", "properties": properties, "required": list(properties)}
    return {**whole, "description": texts[NAME]} if texts.get(NAME) else whole


def read_thoughts(value: object) -> Thoughts | None:
    """What a model put there, whatever types it used; None when it says nothing."""
    if isinstance(value, str):
        value = _object_or_text(value)
    if not isinstance(value, Mapping):
        return None
    fields = cast("Mapping[str, Any]", value)
    thoughts = Thoughts(
        text=_text(fields.get("text") or fields.get("thought") or ""),
        reasoning=_text(fields.get("reasoning")),
        plan=tuple(_plan(fields.get("plan"))),
        criticism=_text(fields.get("criticism")),
        revise=_flag(fields.get("revise")),
    )
    return None if thoughts == Thoughts() else thoughts


def _object_or_text(value: str) -> object:
    if value.lstrip().startswith("{"):
        try:
            return loads_lenient(value)
        except ValueError:
            pass
    return {"text": value}


def _plan(value: object) -> Iterable[str]:
    if isinstance(value, str):
        value = value.splitlines()
    if isinstance(value, Mapping):
        value = list(cast("Mapping[str, Any]", value).values())
    if not isinstance(value, list):
        return []
    lines = (_BULLET.sub("", _text(item)) for item in cast("list[Any]", value))
    return [line for line in lines if line]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        return " ".join(filter(None, map(_text, cast("Mapping[str, Any]", value).values())))
    if isinstance(value, list):
        return "\n".join(filter(None, map(_text, cast("list[Any]", value))))
    return str(value)


def _flag(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _TRUE
    return bool(value) if isinstance(value, bool | int | float) else False
