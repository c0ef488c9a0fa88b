"""Threads: making them, adding messages to them, and what an active run forbids."""

from __future__ import annotations

from agentrunner.server.faults import bad
from agentrunner.server.ids import new_id
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.stores import attach, checked_resources, live_file, make_store
from agentrunner.server.wire import limits
from agentrunner.server.wire.parts import list_in
from agentrunner.server.wire.threads import ACTIVE, new_message, new_thread
from agentrunner.types import JSON


def create_thread(t: Tenant, body: JSON, now: int) -> JSON:
    """A thread with its first messages; `body` as `CREATE_THREAD` checked it."""
    thread = new_thread(new_id("thread"), now, body, checked_resources(t, body.get("tool_resources"), now))
    t.add("thread", thread)
    for message in list_in(body, "messages"):
        add_message(t, thread, message, now)
    return thread


def add_message(t: Tenant, thread: JSON, body: JSON, now: int, run_id: str | None = None) -> JSON:
    """A message of the user, or one that the user says was the assistant's; `body` as `create_message` checked it. Its
    attachments become files of the thread. `run_id`: the run that it is for alone. The caller has locked the thread."""
    for part in body["content"]:
        if part["type"] == "image_file":
            _check_image(live_file(t, part["image_file"]["file_id"], now))
    message: JSON = new_message(new_id("message"), now, thread["id"], body) | {"_with_run": run_id}
    t.add("message", message, parent=thread["id"])
    if _take_attachments(t, thread, message["attachments"], now):
        t.save("thread", thread)
    return message


def not_before(t: Tenant, thread_id: str, now: int) -> int:
    """The time of what is said now: a clock that was set back, or that of another server, must not put it before what
    was said already. The caller has locked the thread."""
    return max(now, *(t.newest(kind, thread_id) for kind in ("message", "run")))


def _check_image(file: JSON) -> None:
    if file["bytes"] > limits.IMAGE_BYTES:
        raise bad(
            f"File {file['id']} is too large: an image in a message can have at most {limits.IMAGE_BYTES} bytes.",
            "content",
            "image_too_large",
        )


def active_run(t: Tenant, thread_id: str) -> str | None:
    """The run that keeps this thread from taking messages and other runs."""
    marks = ", ".join("?" * len(ACTIVE))
    row = t.execute(
        "SELECT id FROM server_objects WHERE owner = ? AND kind = 'run' AND parent = ? AND deleted = 0"  # noqa: S608
        f" AND status IN ({marks}) ORDER BY seq LIMIT 1",
        (t.owner, thread_id, *ACTIVE),
    ).fetchone()
    return str(row[0]) if row else None


def refuse_while_active(t: Tenant, thread_id: str, what: str = "messages") -> None:
    """The caller has locked the thread. `what` cannot be added to it now: "messages" or "runs"."""
    if run := active_run(t, thread_id):
        if what == "runs":
            raise bad(f"Thread {thread_id} already has an active run {run}.", None, None)
        raise bad(f"Can't add {what} to {thread_id} while a run {run} is active.", None, None)


def _take_attachments(t: Tenant, thread: JSON, attachments: list[JSON], now: int) -> bool:
    """Whether the thread's resources have become others."""
    resources: JSON = thread["tool_resources"]
    for attachment in attachments:
        file_id = attachment["file_id"]
        live_file(t, file_id, now)
        for tool in attachment["tools"]:
            if tool["type"] == "code_interpreter":
                _give_to_interpreter(t, resources, file_id)
            else:
                _give_to_search(t, resources, file_id, now)
    return bool(attachments)


def _give_to_interpreter(t: Tenant, resources: JSON, file_id: str) -> None:
    files: list[str] = resources.setdefault("code_interpreter", {"file_ids": []})["file_ids"]
    if file_id not in files:
        files.append(file_id)
    if len(files) > limits.FILES_OF_INTERPRETER:
        files[:] = [file["id"] for file in t.children("file", files)]  # Some may have been deleted since.
    if len(files) > limits.FILES_OF_INTERPRETER:
        raise bad(
            f"Invalid 'attachments': a thread can have at most {limits.FILES_OF_INTERPRETER} files for the"
            " code_interpreter tool.",
            "attachments",
            "array_above_max_length",
        )


def _give_to_search(t: Tenant, resources: JSON, file_id: str, now: int) -> None:
    stores: list[str] = resources.setdefault("file_search", {"vector_store_ids": []}).setdefault("vector_store_ids", [])
    if not stores:
        after = {"anchor": "last_active_at", "days": limits.THREAD_STORE_DAYS}
        stores.append(make_store(t, {"expires_after": after}, now)["id"])
    attach(t, t.lock("store", stores[0]), {"file_id": file_id}, now)
