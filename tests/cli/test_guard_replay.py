"""`agent guard replay`: recorded traces, and files that are none."""

import json

from tests.guard.families import traces
from tests.support.program import Agent


def trace(name: str, *observations: str) -> str:
    steps = [{"tool": "shell", "args": {"command": "make"}, "observation": text} for text in observations]
    return json.dumps({"id": name, "steps": steps})


def test_the_verdicts_of_each_trajectory_are_one_line(agent: Agent) -> None:
    file = agent.folder / "traces.jsonl"
    file.write_text("\n".join([trace("loop", *["same"] * 9), "", trace("fine", *"abcdefgh"), trace("none")]))
    done = agent("guard", "replay", str(file), "--json")
    assert done.code == 0, done.err
    loop, fine, none = done.events
    assert loop == {
        "id": "loop",
        "verdicts": [
            {"step": 2, "action": "nudge", "rule": "repeat"},
            {"step": 3, "action": "replan", "rule": "repeat"},
            {"step": 4, "action": "stop", "rule": "repeat"},
        ],
        "stopped_at": 4,
    }
    assert fine == {"id": "fine", "verdicts": [], "stopped_at": None}
    assert none == {"id": "none", "verdicts": [], "stopped_at": None}


def test_people_read_reasons_and_a_sum(agent: Agent) -> None:
    file = agent.folder / "traces.jsonl"
    file.write_text("\n".join([trace("loop", *["same"] * 9), trace("short", *["same"] * 3), trace("fine", *"abc")]))
    done = agent("guard", "replay", str(file))
    assert done.code == 0
    assert "step 4: stop (repeat): shell was called 5 times in a row" in done.out
    assert done.out.splitlines()[-1] == "3 trajectories: 1 stopped, 1 only nudged or re-planned"


def test_lines_without_a_trajectory_are_named_and_the_others_are_replayed(agent: Agent) -> None:
    file = agent.folder / "traces.jsonl"
    bad = [
        b"not json",
        b"\xff\xfe",
        b"[1]",
        b'{"id": [3], "steps": []}',
        b'{"id": "x"}',
        b'{"id": "x", "steps": [7]}',
        b'{"id": "x", "steps": [{"tool": "a", "args": "b"}]}',
        b'{"id": "x", "steps": [{"tool": "a", "args": [1], "observation": "c"}]}',
        b'{"id": "x", "steps": [{"tool": "a", "args": "b", "observation": "c", "error": "yes"}]}',
        b"[" * 100_000,
    ]
    file.write_bytes(b"\n".join([*bad, trace("fine", *"abc").encode()]))
    done = agent("guard", "replay", str(file), "--json")
    assert done.code == 2
    assert [event["id"] for event in done.events] == ["fine"]
    errors = done.err.splitlines()
    assert len(errors) == len(bad)
    for number, line in enumerate(errors, start=1):
        assert line.startswith(f"agent: traces.jsonl: line {number}: not ")


def test_a_file_that_cannot_be_read_is_one_line(agent: Agent) -> None:
    for path in ("none.jsonl", str(agent.folder)):
        done = agent("guard", "replay", path)
        assert done.code == 2
        assert done.out == ""
        assert done.err.count("\n") == 1


def test_the_settings_count(agent: Agent) -> None:
    file = agent.folder / "traces.jsonl"
    file.write_text(trace("loop", *["same"] * 9))
    (agent.folder / "agent.toml").write_text("[guard]\nrepeat_at = 4\n")
    assert agent("guard", "replay", str(file), "--json").events[0]["stopped_at"] == 3
    warn = agent("guard", "replay", str(file), "--json", env={"AGENT_GUARD_REPEAT": "off"})
    assert warn.events[0]["stopped_at"] is None


def test_generated_traces_are_in_the_format(agent: Agent) -> None:
    file = agent.folder / "traces.jsonl"
    some = [t for t in traces() if t.id.endswith("/0")]
    file.write_text("\n".join(json.dumps({"id": t.id, "steps": t.steps}) for t in some))
    done = agent("guard", "replay", str(file), "--json")
    assert done.code == 0, done.err
    stopped = {event["id"] for event in done.events if event["stopped_at"] is not None}
    assert stopped == {t.id for t in some if t.label == "loop"}
