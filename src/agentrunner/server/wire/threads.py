"""Threads and messages: what may be asked for, and the objects that come of it."""

from __future__ import annotations

from typing import Any

from agentrunner.server.faults import bad
from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import Check, array, by_type, either, nullable, obj, one_of, text
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.server.wire.tools import FILE_ID, METADATA, new_resources, resources
from agentrunner.types import JSON

ACTIVE = ("queued", "in_progress", "requires_action", "cancelling")
"""States of a run in which its thread takes neither messages nor another run."""


def _address(value: object, where: str) -> str:
    """Contents are uploaded: a message is read, listed and sent too often to carry them."""
    found = text(limits.URL_CHARS, 1)(value, where)
    if not found.lower().startswith(("http://", "https://")):
        raise bad(
            f"Invalid '{where}'. Expected a valid URL that begins with http:// or https://; upload an image with the"
            " purpose 'vision' to send it as 'image_file'.",
            where,
        )
    return found


_DETAIL = one_of("auto", "low", "high")
_TEXT_PART = obj({"type": one_of("text"), "text": text(limits.CONTENT_CHARS)}, required=("text",), open_=True)
_FILE_PART = obj(
    {
        "type": one_of("image_file"),
        "image_file": obj({"file_id": FILE_ID, "detail": _DETAIL}, required=("file_id",), open_=True),
    },
    required=("image_file",),
    open_=True,
)
_URL_PART = obj(
    {
        "type": one_of("image_url"),
        "image_url": obj({"url": _address, "detail": _DETAIL}, required=("url",), open_=True),
    },
    required=("image_url",),
    open_=True,
)
_PARTS = array(
    by_type({"text": _TEXT_PART, "image_file": _FILE_PART, "image_url": _URL_PART}),
    least=1,
    most=limits.PARTS_OF_CONTENT,
)


def _content(value: object, where: str) -> list[JSON]:
    """Parts, as they are shown: text that came as a string is one part."""
    found: Any = either((str, text(limits.CONTENT_CHARS, 1)), (list, _PARTS), expected="a string or an array of parts")(
        value, where
    )
    parts: list[JSON] = [{"type": "text", "text": found}] if isinstance(found, str) else found
    chars = sum(len(part["text"]) for part in parts if part["type"] == "text")
    if chars > limits.CONTENT_CHARS:
        text(limits.CONTENT_CHARS)("." * chars, where)
    return [_shown(part) for part in parts]


def _shown(part: JSON) -> JSON:
    kind = part["type"]
    if kind == "text":
        return {"type": "text", "text": {"value": part["text"], "annotations": []}}
    return {"type": kind, kind: {"detail": "auto", **part[kind]}}


_ATTACHMENT = obj(
    {
        "file_id": FILE_ID,
        "tools": nullable(
            array(
                by_type(
                    {
                        "code_interpreter": obj({"type": one_of("code_interpreter")}, open_=True),
                        "file_search": obj({"type": one_of("file_search")}, open_=True),
                    }
                )
            )
        ),
    },
    required=("file_id",),
    open_=True,
)

_CREATE_MESSAGE = obj(
    {
        "role": one_of("user", "assistant"),
        "content": _content,
        "attachments": nullable(array(_ATTACHMENT, most=limits.ATTACHMENTS)),
        "metadata": METADATA,
    },
    required=("role", "content"),
)


def create_message(value: object, where: str) -> JSON:
    checked: JSON = _CREATE_MESSAGE(value, where)
    for index, attachment in enumerate(list_in(checked, "attachments")):
        if not attachment.get("tools"):
            place = f"{where}.attachments[{index}].tools".lstrip(".")
            raise bad(f"Invalid '{place}': say with which tools the file is to be used.", place)
    return checked


MESSAGES: Check = nullable(array(create_message, most=limits.MESSAGES_AT_ONCE))
CREATE_THREAD = obj({"messages": MESSAGES, "tool_resources": nullable(new_resources), "metadata": METADATA})
MODIFY_THREAD = obj({"tool_resources": nullable(resources), "metadata": METADATA})
MODIFY_MESSAGE = obj({"metadata": METADATA})


def new_thread(id_: str, created_at: int, body: JSON, tool_resources: JSON) -> JSON:
    return {
        "id": id_,
        "object": "thread",
        "created_at": created_at,
        "tool_resources": tool_resources,
        "metadata": object_in(body, "metadata"),
    }


def modified_thread(thread: JSON, body: JSON) -> JSON:
    given = {name: value for name, value in object_in(body, "tool_resources").items() if value is not None}
    metadata: JSON = {"metadata": object_in(body, "metadata")} if "metadata" in body else {}
    return thread | {"tool_resources": object_in(thread, "tool_resources") | given} | metadata


def new_message(
    id_: str,
    created_at: int,
    thread_id: str,
    body: JSON,
    *,
    run_id: str | None = None,
    assistant_id: str | None = None,
) -> JSON:
    """A message as it stands when it is complete; `body` is one that `create_message` has checked."""
    return {
        "id": id_,
        "object": "thread.message",
        "created_at": created_at,
        "thread_id": thread_id,
        "status": "completed",
        "incomplete_details": None,
        "completed_at": created_at,
        "incomplete_at": None,
        "role": body["role"],
        "content": body["content"],
        "assistant_id": assistant_id,
        "run_id": run_id,
        "attachments": list_in(body, "attachments"),
        "metadata": object_in(body, "metadata"),
    }
