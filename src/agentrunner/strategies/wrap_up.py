"""What a stopped run says at its end: a summary by the model when the budget still holds one, else by the journal.

Its context is fixed in size, so that what it may cost is known before the run begins.
"""

from collections.abc import Sequence

from agentrunner.strategies.conversation import Conversation
from agentrunner.types import JSON, Answer, Ask, Event, Message, Session, Step, Strategy

MAX_BYTES = 6_000
"""The whole prompt of the wrap-up, in UTF-8 bytes."""
MAX_TRIES = 2


def wrap_up(session: Session, facts: str, reason: str) -> Strategy:
    """Ask for a summary, at most twice. An empty text means that there is none."""
    text = session.render("wrap_up", goal=clip(session.goal, 1_000), reason=reason, facts=facts)
    talk = Conversation(Message("user", clip(text, MAX_BYTES)))
    for _ in range(MAX_TRIES):
        step: Step = yield Ask("wrap_up", talk)
        text = step.completion.text.strip() if step.completion else ""
        if text and not text.startswith("{"):  # A command is no summary.
            return Answer(text)
    return Answer("")


def facts_of(events: Sequence[Event]) -> str:
    """What was done, from the journal: the last plan, then the commands with the first line of their results."""
    plan: list[str] = []
    for event in events:
        if event.type == "completion.received" and event.data.get("thoughts"):
            plan = event.data["thoughts"].get("plan") or plan
    tasks = tasks_of(events)
    head = "Plan: " + "; ".join(clip(item, 120) for item in plan[:8]) + "\n" if plan and not tasks else ""
    lines = [_line(data) for data in _commands(events)]
    return head + "\n".join([*map(_task, tasks[-15:]), *lines[-8 if tasks else -20 :]])


def summary_without_model(events: Sequence[Event], reason: str) -> str:
    """The same facts, said plainly, for when no model can be asked."""
    done = _commands(events)
    files = sorted({artifact["path"] for data in done for artifact in data.get("artifacts", ())})
    parts = [f"Stopped: {reason}.", f"{len(done)} command{' was' if len(done) == 1 else 's were'} run."]
    if files:
        parts.append("Files made: " + ", ".join(files) + ".")
    finished = [f"[{row['id']}] {clip(row['title'], 120)}" for row in tasks_of(events) if row["status"] == "done"]
    if finished:
        parts.append("Tasks done: " + "; ".join(finished) + ".")
    if done:
        parts.append("Last: " + _line(done[-1]))
    return " ".join(parts)


def clip(text: str, max_bytes: int) -> str:
    """The beginning of a text, cut at a character within `max_bytes`, with a mark where something is missing."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= max_bytes else data[: max_bytes - 3].decode("utf-8", "ignore") + "…"


def tasks_of(events: Sequence[Event]) -> list[JSON]:
    """The list of tasks as it was last written down; empty for a strategy that has none."""
    found: dict[str, JSON] = {}
    for event in events:
        if event.type == "tool.started" and event.data["name"] == "tasks":
            found |= {row["id"]: row for row in event.data["arguments"].get("tasks", ())}
    return list(found.values())


def _commands(events: Sequence[Event]) -> list[JSON]:
    """What was run, without what a strategy keeps its list by."""
    done = [event.data for event in events if event.type == "tool.finished"]
    return [data for data in done if data.get("name") not in ("tasks", "recall")]


def _task(row: JSON) -> str:
    said = row["result"] or row["reason"]
    return f"task {row['id']} {row['status']}: {clip(row['title'], 100)}" + (f": {clip(said, 160)}" if said else "")


def _line(data: JSON) -> str:
    content = str(data.get("content", "")).strip()
    first = next(iter(content.splitlines()), "")
    return f"step {data.get('step')}: {data.get('name')} {data.get('outcome')}: {clip(first, 160)}"
