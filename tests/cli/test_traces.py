"""`agent sessions export --traces`: on a session's own commands the guard says what it said live."""

import json

import pytest

from agentrunner.engine.asking import completion_data
from agentrunner.runner.trajectories import trajectories
from agentrunner.types import Completion, Event, ToolCall, Usage
from tests.support.endpoint import Answer, Endpoint, call, calls, text
from tests.support.program import JSON, Agent, finish, says, writes


def replayed(agent: Agent, *more: str) -> list[JSON]:
    """What the guard says of the newest session."""
    traces = agent("sessions", "export", agent.session(), "--traces")
    assert traces.code == 0, traces.err
    file = agent.folder / "traces.jsonl"
    file.write_text(traces.out)
    done = agent("guard", "replay", str(file), "--json", *more)
    assert done.code == 0, done.err
    return done.events


def repeats(n: int) -> Answer:
    return call("list_files", {"text": f"thought {n}"})


def fails(n: int) -> Answer:
    return call("edit_file", path="a.txt", old=f"not there {n * n}", new="x")


def is_no_tool(n: int) -> Answer:
    return call("make_coffee", cups=n)


def is_cut(n: int) -> Answer:
    return Answer(text="and so on", finish="length") if n % 2 else call("read_file", path="none.txt")


def calls_three(n: int) -> Answer:
    return calls(*[call("read_file", path=f"{name}.txt") for name in "ab"], call("list_files"))


@pytest.mark.parametrize("script", [repeats, fails, is_no_tool, is_cut, calls_three])
def test_a_loop_is_stopped_again_at_the_same_command(agent: Agent, script: object) -> None:
    agent.workspace.mkdir(parents=True)
    (agent.workspace / "a.txt").write_text("long text " * 200)
    asked: list[JSON] = []

    def answer(body: JSON) -> Answer:
        if "tools" not in body:
            return text("a summary")
        asked.append(body)
        assert callable(script)
        return script(len(asked))

    with Endpoint(answer) as endpoint:
        done = agent("run", "x", "--base-url", endpoint.base_url, "--model", "local", "--json")
    assert done.code == 9, done.err
    live = done.of_type("guard.verdict")
    [found] = replayed(agent)
    assert found["id"] == agent.session()
    assert [(v["action"], v["rule"]) for v in found["verdicts"]] == [(v["action"], v["rule"]) for v in live]
    commands = json.loads((agent.folder / "traces.jsonl").read_text())["steps"]
    assert [commands[v["step"]]["turn"] for v in found["verdicts"]] == [v["step"] for v in live]
    assert found["stopped_at"] == len(commands) - 1


def test_words_of_a_person_and_attempts_are_taken_into_account(agent: Agent) -> None:
    script = agent.script(*[says("list_files")] * 4, finish("one"), *[says("list_files")] * 4, finish("two"))
    assert agent("run", "x", "--script", script, "--max-steps", "2").code == 5
    first = agent("resume", "--last", "--add-steps", "20", "--json")
    second = agent("resume", "--last", "look again", "--json")
    live = [*first.of_type("guard.verdict"), *second.of_type("guard.verdict")]
    assert [v["action"] for v in live] == ["nudge", "replan", "nudge", "replan"]
    [found] = replayed(agent)
    assert [v["action"] for v in found["verdicts"]] == ["nudge", "replan", "nudge", "replan"]
    assert found["stopped_at"] is None


def test_other_limits_can_be_tried_on_it(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script(*[says("list_files")] * 4, finish()))
    assert replayed(agent)[0]["stopped_at"] is None
    (agent.folder / "agent.toml").write_text("[guard]\nrepeat_at = 4\n")
    assert replayed(agent)[0]["stopped_at"] == 3


def test_a_recorded_command_has_the_keys_of_the_format(agent: Agent) -> None:
    thoughts = {"text": "t", "reasoning": "r", "plan": ["write it"], "criticism": "short"}
    agent("run", "x", "--script", agent.script(writes("a.txt") | {"thoughts": thoughts}, finish()))
    out = agent("sessions", "export", agent.session(), "--traces").out
    [written, finished] = json.loads(out)["steps"]
    assert (written["tool"], written["args"]) == ("write_file", {"path": "a.txt", "content": "text"})
    assert (written["class"], written["error"], written["thought"]) == ("mutate", False, "write it; short")
    assert written["obs_len"] == len(written["observation"])
    assert len(written["workspace_sha"]) == len(written["obs_sha"]) == 32
    assert finished["tool"] == "finish"


def test_a_session_without_commands_has_an_empty_trajectory_or_none(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script({"text": "nothing to do"}))
    assert replayed(agent) == [{"id": agent.session(), "verdicts": [], "stopped_at": None}]
    agent("run", "x", "--dry-run", "--max-steps", "0")
    assert replayed(agent) == []


def test_each_branch_has_a_trajectory_of_its_own() -> None:
    events = [Event("s", 1, "", "session.created", "", {})]
    result = {"call_id": "c", "outcome": "ok", "truncated_chars": 0, "artifacts": [], "_saved_as": "", "seconds": 0.0}
    for branch, step, tool in (("", 1, "a"), ("/t1", 2, "b"), ("/t2", 3, "c"), ("/t1", 4, "d"), ("/t1/x", 5, "e")):
        ordinal = 2 if tool == "d" else 1
        answer = Completion({}, calls=(ToolCall("c", tool, {}), ToolCall("c", "never run", {})))
        place = {"step": step, "branch": branch or "/", "label": "execute"}
        data = place | completion_data(answer, Usage(), plan_changed=None)
        events.append(Event("s", len(events) + 1, "", "completion.received", f"{branch}/llm:{ordinal}", data))
        finished = place | result | {"name": tool, "content": f"of {tool}"}
        events.append(Event("s", len(events) + 1, "", "tool.finished", f"{branch}/tool:{ordinal}:0", finished))
    found = {each["id"]: [step["observation"] for step in each["steps"]] for each in trajectories(events)}
    assert found == {"s": ["of a"], "s/t1": ["of b", "of d"], "s/t2": ["of c"], "s/t1/x": ["of e"]}
