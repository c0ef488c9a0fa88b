"""An assistant: what may be asked for, and the object that comes of it."""

from __future__ import annotations

from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import Check, nullable, obj, text
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.server.wire.tools import (
    METADATA,
    REASONING_EFFORT,
    RESPONSE_FORMAT,
    TEMPERATURE,
    TOP_P,
    new_resources,
    resources,
    tools,
)
from agentrunner.types import JSON

_FIELDS: dict[str, Check] = {
    "model": text(limits.NAME_CHARS, 1),
    "name": nullable(text(limits.NAME_CHARS)),
    "description": nullable(text(limits.DESCRIPTION_CHARS)),
    "instructions": nullable(text(limits.INSTRUCTIONS_CHARS)),
    "tools": nullable(tools),
    "metadata": METADATA,
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "response_format": RESPONSE_FORMAT,
    "reasoning_effort": REASONING_EFFORT,
}

_RESOURCES = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
"""What tools have, as it is called."""

CREATE = obj(_FIELDS | {"tool_resources": nullable(new_resources)}, required=("model",))
MODIFY = obj(_FIELDS | {"tool_resources": nullable(resources)})


def new_assistant(id_: str, created_at: int, body: JSON, tool_resources: JSON) -> JSON:
    """`tool_resources`: with vector stores that are there."""
    made: JSON = {
        "id": id_,
        "object": "assistant",
        "created_at": created_at,
        "name": body.get("name"),
        "description": body.get("description"),
        "model": body["model"],
        "instructions": body.get("instructions"),
        "tools": list_in(body, "tools"),
        "tool_resources": tool_resources,
        "metadata": object_in(body, "metadata"),
        "top_p": _or(body.get("top_p"), 1.0),
        "temperature": _or(body.get("temperature"), 1.0),
        "response_format": body.get("response_format") or "auto",
    }
    return made | _effort(body)


def modified(assistant: JSON, body: JSON) -> JSON:
    """The assistant with what was given; what was left out stays."""
    plain = {name: body[name] for name in ("model", "name", "description", "instructions") if name in body}
    usual: JSON = {"tools": [], "metadata": {}, "top_p": 1.0, "temperature": 1.0, "response_format": "auto"}
    others: JSON = {name: _or(body[name], default) for name, default in usual.items() if name in body}
    kept = object_in(assistant, "tool_resources")
    given = {name: value for name, value in object_in(body, "tool_resources").items() if value is not None}
    kinds = {tool["type"] for tool in list_in(body, "tools")}
    none_yet: JSON = {kind: {name: []} for kind, name in _RESOURCES.items() if kind in kinds}
    return assistant | plain | others | {"tool_resources": none_yet | kept | given} | _effort(body)


def _effort(body: JSON) -> JSON:
    return {"reasoning_effort": body["reasoning_effort"]} if "reasoning_effort" in body else {}


def _or(value: object, default: object) -> object:
    return default if value is None else value
