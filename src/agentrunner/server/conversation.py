"""A thread as the conversation that a model reads: messages by content, with the tool calls that led to answers."""

from __future__ import annotations

import json

from agentrunner.server.storage.tables import Tenant
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.types import JSON, Message


def conversation(t: Tenant, thread_id: str) -> tuple[Message, ...]:
    """Everything that stands in the thread now, oldest first."""
    said: list[Message] = []
    seen: set[str] = set()
    for message in t.all("message", parent=thread_id):
        run_id = message.get("run_id")
        if run_id and run_id not in seen:
            seen.add(run_id)
            for step in t.all("step", parent=run_id, status="completed"):
                said += exchange(step)
        if text := text_of(message):
            said.append(Message(message["role"], text))
    return tuple(said)


def text_of(message: JSON) -> str:
    """What a message says to a model that reads text."""
    parts: list[str] = []
    for part in message["content"]:
        if part["type"] == "text":
            parts.append(part["text"]["value"])
        elif part["type"] == "image_file":
            parts.append(f"[image {part['image_file']['file_id']}]")
        elif part["type"] == "image_url":
            parts.append(f"[image at {part['image_url']['url'][:500]}]")
    return "\n\n".join(part for part in parts if part)


def exchange(step: JSON) -> list[Message]:
    """The calls of a step and their results."""
    calls: list[JSON] = []
    results: list[Message] = []
    for call in list_in(step["step_details"], "tool_calls"):
        name, arguments, result = _read(call, step)
        calls.append({"id": call["id"], "type": "function", "function": {"name": name, "arguments": arguments}})
        results.append(Message("tool", result, call_id=call["id"], name=name))
    if not calls:
        return []
    raw: JSON = {"role": "assistant", "content": None, "tool_calls": calls}
    return [Message("assistant", "", raw=raw), *results]


def _read(call: JSON, step: JSON) -> tuple[str, str, str]:
    """Name, arguments and result of a call."""
    if call["type"] == "file_search":
        query = object_in(step, "_queries").get(call["id"], "")
        return "file_search", json.dumps({"query": query}, ensure_ascii=False), _found(call)
    if call["type"] == "function":
        function = call["function"]
        return function["name"], function["arguments"], function["output"] or ""
    code = call["code_interpreter"]
    logs = [output["logs"] for output in code["outputs"] if output["type"] == "logs"]
    shown = sum(output["type"] == "image" for output in code["outputs"])
    lines = [*logs, *([f"({shown} images were shown to the user)"] if shown else [])]
    return "python", json.dumps({"code": code["input"]}, ensure_ascii=False), "\n".join(lines) or "ok"


def _found(call: JSON) -> str:
    """What a search found, without marks: those of a run are for its own answers."""
    passages = [
        f"{one['file_name']}\n{part['text']}"
        for one in list_in(call["file_search"], "results")
        for part in list_in(one, "content")
    ]
    return "\n\n".join(passages) or "Nothing was found."
