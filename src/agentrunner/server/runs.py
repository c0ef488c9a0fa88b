"""Runs in the database: making them, what stops another, and what clients may do to one that is active."""

from __future__ import annotations

from agentrunner.journal.encoding import encode
from agentrunner.journal.encoding import now as stamp
from agentrunner.server.faults import bad
from agentrunner.server.ids import new_id
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.stores import checked_resources
from agentrunner.server.threads import add_message, not_before, refuse_while_active
from agentrunner.server.wire.parts import list_in
from agentrunner.server.wire.runs import LIFE_S, TERMINAL, new_run, outputs_for
from agentrunner.types import JSON

CANCELLABLE = ("queued", "in_progress", "requires_action")


def add_run(t: Tenant, thread_id: str, body: JSON, now: int) -> tuple[JSON, list[JSON]]:
    """A new run on a thread, and those that are cancelled for it. The caller sees that it happens."""
    thread = t.lock("thread", thread_id)
    assistant = t.need("assistant", body["assistant_id"])
    how = body.get("on_active_run") or "error"
    if how == "error":
        refuse_while_active(t, thread_id, "runs")
    cancelled = _cancel_all(t, thread_id) if how == "cancel" else []
    id_, at = new_id("run"), not_before(t, thread_id, now)
    for message in list_in(body, "additional_messages"):
        add_message(t, thread, message, at, id_)
    if body.get("tool_resources"):
        body = body | {"tool_resources": checked_resources(t, body["tool_resources"], now)}
    made = new_run(id_, at, thread, assistant, body)
    run = made | {"expires_at": now + LIFE_S}  # which comes by the clock alone
    t.add("run", run, parent=thread_id)
    return run, cancelled


def _cancel_all(t: Tenant, thread_id: str) -> list[JSON]:
    """Those runs of a thread that are active, and are not being cancelled already."""
    found = [run["id"] for status in CANCELLABLE for run in t.all("run", parent=thread_id, status=status)]
    return [ask_to_cancel(t, thread_id, id_) for id_ in found]


def accept_outputs(t: Tenant, thread_id: str, run_id: str, body: JSON) -> JSON:
    """Leave submitted outputs where the run's session will find them; it is queued again."""
    t.need("thread", thread_id)
    run = t.lock("run", run_id, thread_id)
    outputs = outputs_for(run, body)
    post(t, run_id, "tool_outputs", {"outputs": outputs})
    run |= {"status": "queued", "required_action": None}
    return t.save("run", run, parent=thread_id)


def ask_to_cancel(t: Tenant, thread_id: str, run_id: str) -> JSON:
    t.need("thread", thread_id)
    run = t.lock("run", run_id, thread_id)
    if run["status"] in (*TERMINAL, "cancelling"):
        raise bad(f"Cannot cancel run with status '{run['status']}'.", None, None)
    post(t, run_id, "cancel", {})
    run |= {"status": "cancelling", "required_action": None}
    return t.save("run", run, parent=thread_id)


def post(t: Tenant, run_id: str, kind: str, data: JSON) -> None:
    """Into the inbox of the run's session, in the same transaction as what it means for the run."""
    statement = "INSERT INTO inbox (session_id, at, kind, data) VALUES (?, ?, ?, ?)"
    t.execute(statement, (run_id, stamp(), kind, encode(data)[0]))


def keep(t: Tenant, run: JSON, objects: dict[str, tuple[str, JSON]]) -> JSON | None:
    """Store what became of a run, its steps and messages (kind and data by id). The run's row as it was before; None
    when the run was deleted. What clients changed meanwhile, metadata and deleted messages, stays as they left it."""
    thread_id, run_id = run["thread_id"], run["id"]
    row = t.get("run", run_id, thread_id)
    if row is None:
        return None
    for id_, (kind, data) in objects.items():
        parent = run_id if kind == "step" else thread_id
        if t.add_new(kind, data, parent=parent, label=run_id):
            continue
        old = t.get(kind, id_, parent)
        if old is not None and old["status"] != "completed":
            t.save(kind, data | {"metadata": old["metadata"]}, parent=parent)
    if row["status"] not in TERMINAL:
        held = row["status"] == "cancelling" and run["status"] not in TERMINAL
        status = "cancelling" if held else run["status"]
        t.save("run", run | {"metadata": row["metadata"], "status": status}, parent=thread_id)
    return row
