"""What tasks found out, recalled: by words, bounded, the same however the tasks' events came."""

from __future__ import annotations

import random
from typing import Any

from agentrunner.runner.memory import Memory
from agentrunner.types import Event

JSON = dict[str, Any]


def finished(branch: str, ordinal: int, name: str, content: str, outcome: str = "ok", **arguments: Any) -> list[Event]:
    key, place = f"{branch}/tool:{ordinal}:0", {"branch": branch or "/", "step": ordinal, "call_id": "c", "name": name}
    return [
        Event("s", 0, "", "tool.started", key, place | {"arguments": arguments}),
        Event("s", 0, "", "tool.finished", key, place | {"outcome": outcome, "content": content}),
    ]


def done(id_: str, title: str, result: str) -> list[Event]:
    row = {"id": id_, "title": title, "status": "done", "result": result}
    return finished("", 1, "tasks", "1 done", tasks=[row])


HARBOUR = [
    *finished("/t1", 1, "read_file", "1 The harbour master is Ada Quill.", path="harbour.md"),
    *finished("/t1", 2, "finish", "finished: done", answer="Ada Quill"),
    *finished("/t2", 1, "read_file", "1 The lighthouse is 31 m high.", path="light.md"),
    *finished("/t2", 2, "python", "error: harbour master unknown", "error", code="x"),
    *done("t1", "Find the harbour master", "The harbour master is Ada Quill (harbour.md line 1)."),
    *done("t2", "Measure the lighthouse", "It is 31 m high."),
]


def test_results_come_first_then_what_tools_printed_with_the_command() -> None:
    assert Memory(HARBOUR).recall("who is the harbour master", 2000).split("\n\n") == [
        "[t1] Find the harbour master:\nThe harbour master is Ada Quill (harbour.md line 1).",
        "[t1] read_file(path='harbour.md'):\n1 The harbour master is Ada Quill.",
    ]


def test_only_what_was_printed_where_that_is_wanted() -> None:
    found = Memory(HARBOUR).recall("how high is the lighthouse", 2000, printed=True)
    assert found == "[t2] read_file(path='light.md'):\n1 The lighthouse is 31 m high."


def test_nothing_is_recalled_of_nothing() -> None:
    assert Memory([]).recall("anything", 2000) == ""
    assert Memory(HARBOUR).recall("zebra", 2000) == ""


def test_what_is_recalled_is_bounded() -> None:
    long = "\n".join(f"line {n} about salt" for n in range(2000))
    memory = Memory([*finished("/t1", 1, "read_file", long, path="a.md"), *done("t1", "Read of salt", long)])
    found = memory.recall("salt", 5000)
    assert 2000 < len(found) <= 5000 + 20


def test_the_order_in_which_branches_were_heard_changes_nothing() -> None:
    branches = [finished(f"/t{n}", 1, "read_file", f"salt and ships {n}", path="x") for n in range(1, 12)]
    one_by_one = [event for branch in branches for event in branch]
    mixed = one_by_one[:]
    random.Random(7).shuffle(mixed)
    mixed.sort(key=lambda event: event.type, reverse=True)  # a start before its end
    heard = Memory([])
    for event in mixed:
        heard.hear(event)
    assert heard.recall("salt", 4000) == Memory(one_by_one).recall("salt", 4000)


def test_a_command_reads_the_same_live_and_from_the_journal() -> None:
    written, kept = {"path": "a", "old": "salt"}, {"old": "salt", "path": "a"}
    live, resumed = (Memory(finished("/t1", 1, "edit_file", "salt was written", **each)) for each in (written, kept))
    assert live.recall("salt", 500) == resumed.recall("salt", 500) != ""


def test_what_comes_later_is_found_too() -> None:
    memory = Memory(HARBOUR)
    memory.recall("harbour", 2000)
    for event in finished("/t3", 1, "read_file", "The harbour is deep.", path="deep.md"):
        memory.hear(event)
    assert "[t3]" in memory.recall("deep harbour", 2000)
