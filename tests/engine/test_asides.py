"""Requests without tools: values of a schema, notices where they say what was reached, no command run by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentrunner.engine.structured import read_value
from agentrunner.llm.script_format import ScriptedCall
from agentrunner.llm.scripted import Entry
from agentrunner.strategies.conversation import Conversation
from agentrunner.types import JSON, Answer, Ask, Event, Message, Session, Step, Strategy
from tests.engine.test_branches import of_type, play, say

NAMES: JSON = {
    "type": "object",
    "properties": {"names": {"type": "array", "items": {"type": "string"}}},
    "required": ["names"],
    "additionalProperties": False,
}


def asking(seen: list[Step], times: int = 1, **more: Any) -> Callable[[Session], Strategy]:
    def strategy(_: Session) -> Strategy:
        for number in range(times):
            seen.append((yield Ask("create", Conversation(Message("user", str(number))), **more)))
        return Answer("done")

    return strategy


def test_an_answer_of_the_schema_is_a_value(tmp_path: Path) -> None:
    seen: list[Step] = []
    play(tmp_path, asking(seen, schema=NAMES), [say("create", '{"names": ["a"]}')])
    assert (seen[0].value, seen[0].error) == ({"names": ["a"]}, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"names": []}', {"names": []}),
        ('Here it is:\n```json\n{"names": ["x"]}\n```\nAnything else?', {"names": ["x"]}),
    ],
)
def test_words_around_an_object_do_no_harm(text: str, value: Any) -> None:
    assert read_value(text, NAMES) == (value, "")


@pytest.mark.parametrize(
    "text", ["1. Buy milk.\n2. Go home.", '{"names": ["a"', '{"name": "a"}', '{"names": [1]}', "[" * 9999]
)
def test_what_is_not_of_the_schema_is_an_instruction_with_the_schema(text: str) -> None:
    value, problem = read_value(text, NAMES)
    assert value is None
    assert "Answer again" in problem
    assert '"names"' in problem


def test_a_command_in_an_answer_without_tools_is_not_run(tmp_path: Path) -> None:
    seen: list[Step] = []
    entries = [Entry(label="create", calls=[ScriptedCall(name="look", arguments={"at": 1})])]
    events = play(tmp_path, asking(seen), entries)
    assert seen[0].error is not None
    assert not of_type(events, "tool.started")


def verdicts(events: list[Event]) -> list[str]:
    return [event.data["action"] for event in of_type(events, "guard.verdict")]


def test_the_same_progress_again_and_again_is_going_in_circles(tmp_path: Path) -> None:
    seen: list[Step] = []
    events = play(tmp_path, asking(seen, 9, progress="0 of 3"), [say("create", str(n)) for n in range(9)])
    assert verdicts(events) == ["nudge", "replan", "stop"]
    assert (events[-1].data["reason"], events[-1].data["exit_code"]) == ("stuck", 9)
    assert [len(step.notices) for step in seen] == [0, 0, 1, 1]


@pytest.mark.parametrize("progress", [None, ""])
def test_without_progress_the_guard_does_not_look(tmp_path: Path, progress: str | None) -> None:
    seen: list[Step] = []
    events = play(tmp_path, asking(seen, 9, progress=progress), [say("create", "same") for _ in range(9)])
    assert verdicts(events) == []
    assert events[-1].data["reason"] == "goal_met"
