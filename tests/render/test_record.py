"""Recorded answers, played again as a script, are the same answers."""

from pathlib import Path
from typing import Any

import pytest
from tests.llm.test_scripted import ask

from agentrunner.errors import UsageError
from agentrunner.llm.scripted import ScriptedModel, load_script
from agentrunner.render.record import Recorder
from agentrunner.types import Event

THOUGHTS = {"text": "a {{word}}", "reasoning": "r", "plan": ["p", "q"], "criticism": "\u2028 ä \ud800", "revise": True}
CALLS = [
    {"id": "x", "name": "python", "arguments": {"code": 'f"{{a}}"'}},
    {"id": "y", "name": "finish", "arguments": {}},
]
USAGE = {"input_tokens": 9, "cached_tokens": 1, "output_tokens": 4, "reasoning_tokens": 2}


def received(**data: Any) -> Event:
    whole = {
        "step": 1,
        "label": "step",
        "model": "m",
        "thoughts": None,
        "text": "",
        "tool_calls": [],
        "usage": USAGE,
        **data,
    }
    return Event("s", 1, "", "completion.received", "/llm:1", whole)


def recorded(path: Path, *events: Event) -> ScriptedModel:
    recorder = Recorder(path)
    for event in events:
        recorder(event)
    assert recorder.problem == ""
    return ScriptedModel(load_script(path), goal="g", file="")


def test_a_recorded_session_gives_the_same_answers_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first = received(thoughts=THOUGHTS, text="t {{goal}}", tool_calls=CALLS)
    one = recorded(path, first, Event("s", 2, "", "tool.finished", "", {}), received(label="verify", text="yes"))
    answer = ask(one)
    assert answer.text == "t {{goal}}"
    assert answer.thoughts is not None
    assert (answer.thoughts.text, answer.thoughts.plan, answer.thoughts.revise) == ("a {{word}}", ("p", "q"), True)
    assert [(call.name, dict(call.arguments)) for call in answer.calls] == [(c["name"], c["arguments"]) for c in CALLS]
    assert answer.model == "m"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 4
    assert ask(one, "verify").text == "yes"


def test_an_empty_answer_and_one_that_could_not_be_read_stay_so(tmp_path: Path) -> None:
    unread = received(
        tool_calls=CALLS[1:], _problems=["send JSON"], _finish="length", _problem="again", _reported=False
    )
    one = recorded(tmp_path / "r.jsonl", received(), unread)
    assert ask(one).text == ""
    answer = ask(one)
    assert (answer.calls[0].problem, answer.problem, answer.finish) == ("send JSON", "again", "length")
    assert answer.usage is not None
    assert answer.usage.reasoning_tokens == 0


def test_each_answer_is_on_disk_at_once_and_an_old_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("old")
    recorder = Recorder(path)
    for count in (1, 2):
        recorder(received(text="x"))
        assert path.read_text().count("\n") == count


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the script"):
        Recorder(tmp_path / "none" / "r.jsonl")


def test_a_disk_that_fails_later_ends_the_recording_but_not_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    recorder = Recorder(folder / "r.jsonl")
    (folder / "r.jsonl").unlink()
    folder.rmdir()
    recorder(received(text="x"))
    recorder(received(text="y"))
    assert "cannot write" in recorder.problem
