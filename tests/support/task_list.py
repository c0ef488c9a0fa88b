"""Scripts and journals of sessions with a list of tasks, in the words of their tests."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

JSON = dict[str, Any]


def criteria(*texts: str) -> JSON:
    return _answer("criteria", criteria=list(texts))


def create(*tasks: str | tuple[str, Sequence[str]], met: Sequence[int] = (), done: bool = False) -> JSON:
    """A task is its title, or that and what it depends on."""
    pairs = [(task, ()) if isinstance(task, str) else task for task in tasks]
    listed = [{"title": title, "depends_on": list(depends)} for title, depends in pairs]
    return _answer("create", tasks=listed, met=list(met), done=done)


def order(*ids: str) -> JSON:
    return _answer("prioritise", order=list(ids))


def verify(*met: bool) -> JSON:
    return _answer("verify", criteria=[{"number": n, "met": yes, "why": "seen"} for n, yes in enumerate(met, 1)])


def summary(text: str) -> JSON:
    return {"label": "summary", "text": text}


def execute(name: str, /, branch: str = "", expect: str = "", **arguments: Any) -> JSON:
    entry: JSON = {"label": "execute", "calls": [{"name": name, "arguments": arguments}]}
    return entry | ({"branch": branch} if branch else {}) | ({"expect": expect} if expect else {})


def finish(answer: str, branch: str = "", expect: str = "", **more: Any) -> JSON:
    return execute("finish", branch, expect, answer=answer, **more)


def rows(events: Iterable[JSON]) -> dict[str, JSON]:
    """The list as its last rows say it, by id."""
    found: dict[str, JSON] = {}
    for event in events:
        if event["type"] == "tool.started" and event["name"] == "tasks":
            found |= {row["id"]: row for row in event["arguments"]["tasks"]}
    return found


def labels(events: Iterable[JSON]) -> list[str]:
    return [event["label"] for event in events if event["type"] == "completion.received"]


def _answer(label: str, **value: Any) -> JSON:
    return {"label": label, "text": json.dumps(value)}
