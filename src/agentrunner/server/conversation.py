"""A thread as the conversation that a model reads: messages by content, with the tool calls that led to answers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from agentrunner.server.storage.tables import Tenant
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.types import JSON, Image, Message


def conversation(t: Tenant, thread_id: str, run_id: str) -> tuple[Message, ...]:
    """Everything that stands in the thread now, oldest first, as this run is to read it."""
    messages = t.all("message", parent=thread_id)
    last = {message["run_id"]: message["id"] for message in messages if message["run_id"]}
    left = {run_id: t.all("step", parent=run_id, status="completed") for run_id in last}
    said: list[Message] = []
    for message in _in_order(messages, {run_id, *last}, run_id):
        steps = left.get(message["run_id"], [])
        place = next((place for place, step in enumerate(steps) if _made(step) == message["id"]), -1)
        said += [one for step in steps[: place + 1] for one in exchange(step)]
        del steps[: place + 1]
        spoken = _spoken(t, message)
        if spoken.content or spoken.images:
            said.append(spoken)
        if last.get(message["run_id"]) == message["id"]:
            said += [one for step in steps for one in exchange(step)]
    return tuple(said)


def _in_order(messages: Sequence[JSON], spoke: Collection[str], run_id: str) -> Iterator[JSON]:
    """What came with a run stands before what that run said, and so behind what another said that it waited for.
    `spoke`: runs that have said something, or will."""
    waiting: dict[str, list[JSON]] = {}
    for message in messages:
        run: str = message.get("_with_run") or ""
        if run in spoke:
            waiting.setdefault(run, []).append(message)
            continue
        yield from waiting.pop(message["run_id"], ())
        yield message
    yield from waiting.pop(run_id, ())


def _made(step: JSON) -> str | None:
    """The message that was made in a step."""
    return object_in(step["step_details"], "message_creation").get("message_id")


def _spoken(t: Tenant, message: JSON) -> Message:
    """What a message says. Pictures of the user are shown, those of an assistant are named: models are shown no others.
    One that is a file is named, too, for the model may find it again by its name."""
    text, images = "", list[Image]()
    for part in message["content"]:
        shown: JSON = part[part["type"]] if part["type"] in ("image_file", "image_url") else {}
        piece = part["text"]["value"] if part["type"] == "text" else _name_of(shown, message["role"])
        text += ("\n\n" if text and piece else "") + piece
        if not shown or message["role"] != "user":
            continue
        if "url" in shown:
            images.append(Image(len(text), shown["url"], shown["detail"]))
        elif (file := t.get("file", shown["file_id"])) is not None:
            images.append(Image(len(text), detail=shown["detail"], sha256=file["_sha256"]))
    return Message(message["role"], text, images=tuple(images))


def _name_of(shown: JSON, role: str) -> str:
    if "file_id" in shown:
        return f"[image {shown['file_id']}]"
    return f"[image at {shown['url'][:500]}]" if shown and role != "user" else ""


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
