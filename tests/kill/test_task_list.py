"""SIGKILL at every write of a session with a task list: before it, and when it has taken hold. Between writes lie all
points of execute, create and prioritise. The judges are the endpoint and the tools, as for other sessions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from agentrunner.types import Event
from tests.kill.attempt import Order
from tests.kill.scene import Scene

WRITES = 52
"""Of a session that nobody harms; one more where a search takes long, since its result is then written at once."""
SAMPLE = range(4, WRITES + 1, 15)


@pytest.fixture(scope="module")
def unharmed(scene: Scene) -> list[Event]:
    order = scene.order(kind="tasks")
    assert scene.run(order) == [0]
    assert set(scene.requests(order).values()) == {1}
    return scene.events(order)


def said(events: list[Event]) -> dict[str, Any]:
    """What was said and done, by its place."""
    found: dict[str, Any] = {}
    for event in events:
        data = event.data
        if event.type == "completion.received":
            found[event.key] = (data["label"], data["text"], [call["arguments"] for call in data["tool_calls"]])
        elif event.type == "tool.finished":
            found[event.key] = (data["name"], data["outcome"], data["content"])
    return found


def tasks(events: list[Event]) -> dict[str, Any]:
    """The list as its last rows say it."""
    calls = [event.data for event in events if event.type == "tool.started" and event.data["name"] == "tasks"]
    return {row["id"]: row for call in calls for row in call["arguments"]["tasks"]}


def test_the_session_does_all_that_is_to_be_harmed(scene: Scene, unharmed: list[Event]) -> None:
    labels = Counter(event.data["label"] for event in unharmed if event.type == "completion.received")
    assert labels == {"criteria": 1, "create": 5, "execute": 16, "prioritise": 1, "verify": 1, "summary": 1}
    assert {row["status"] for row in tasks(unharmed).values()} == {"done"}
    assert tasks(unharmed)["t1"]["merged"] == ["Eat the apples"]


def test_there_are_no_more_writes_than_are_harmed(scene: Scene, unharmed: list[Event]) -> None:
    order = scene.order(kind="tasks", write=WRITES + 2)
    assert scene.run(order) == [0]
    assert said(scene.events(order)) == said(unharmed)


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("takes_hold", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "write", [pytest.param(n, marks=() if n in SAMPLE else pytest.mark.slow) for n in range(1, WRITES + 1)]
)
def test_killed_at_any_write_the_list_is_intact(
    scene: Scene, unharmed: list[Event], write: int, takes_hold: bool, parallel: int
) -> None:
    order = scene.order(kind="tasks", write=write, takes_hold=takes_hold, parallel=parallel)
    assert scene.run(order) == [-9]
    before, asked_before = scene.events(order), scene.requests(order)
    assert scene.resume(order) == 0
    events = scene.events(order)
    judge(scene, order, before, events, unharmed)
    bought = len([event for event in before if event.type == "completion.received"])
    asked = scene.requests(order)
    assert asked.keys() == {name_of(event) for event in unharmed if event.type == "completion.received"}
    again = asked - Counter(asked.keys())
    assert again.total() <= parallel, "only what was on its way is asked again"
    assert asked_before.total() >= bought
    if parallel == 1:
        assert asked.total() == len(asked) + asked_before.total() - bought
    assert scene.resume(order) == 0
    assert scene.events(order) == events, "a session that is over goes no further"


def judge(scene: Scene, order: Order, before: list[Event], events: list[Event], unharmed: list[Event]) -> None:
    for type_ in ("completion.received", "tool.finished"):
        keys = [event.key for event in events if event.type == type_]
        assert len(keys) == len(set(keys)), f"{type_} twice for one place"
    found, wanted = said(events), said(unharmed)
    assert found.keys() == wanted.keys()
    finished = {event.key for event in before if event.type == "tool.finished"}
    in_flight = {event.key for event in before if event.type == "tool.started"} - finished
    unknown = {key for key, one in wanted.items() if found[key][1] == "unknown" != one[1]}
    assert unknown <= in_flight
    assert {found[key][0] for key in unknown} <= {"unsafe"}
    for key in wanted.keys() - unknown:
        # What is not known to have happened was not found out, so it is not recalled.
        assert found[key] == wanted[key] or (unknown and found[key][:2] == ("recall", "ok"))
    assert tasks(events) == tasks(unharmed) | unknown_evidence(found, tasks(unharmed))
    effects = scene.effects(order)
    for number in range(1, 13):
        kind = ("unsafe", "pure", "idempotent")[number % 3]
        assert effects[f"begun {number}"] >= 1 or kind == "unsafe"
        if kind == "unsafe":
            assert effects[f"begun {number}"] <= 1, "an unsafe effect twice"


def unknown_evidence(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Rows of tasks of which a command's outcome is not known: it is no evidence."""
    rows: dict[str, Any] = {}
    for id_, row in wanted.items():
        kept = [line for line in row["evidence"] if found[line.split()[0]][1] == "ok"]
        if kept != row["evidence"]:
            rows[id_] = row | {"evidence": kept}
    return rows


def name_of(event: Event) -> str:
    """What the endpoint calls this request."""
    branch, _, ordinal = event.key.rpartition("/llm:")
    if branch:
        return f"{branch[1:]}:{ordinal}"
    label = str(event.data["label"])
    return {2: "create:", 3: "create:t1", 4: "create:t2", 6: "create:t4", 7: "create:t3"}.get(int(ordinal), label)
