"""A session is its own test: run again from its journal it is the same, or it is said where it is not."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from agentrunner.strategies.prompts import packaged
from tests.support.endpoint import Answer, Endpoint, call, error, text
from tests.support.program import Agent, finish, says, writes


def replayed(agent: Agent, *more: str) -> str:
    """What a replay of the newest session says; it must find no difference."""
    done = agent("replay", agent.session(), *more)
    assert done.code == 0, done.out + done.err
    return done.out


def test_a_session_replays_with_no_script_workspace_or_endpoint_left(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), says("read_file", path="a.txt"), finish("{{result}}"))
    assert agent("run", "write", "--script", script).code == 0
    shutil.rmtree(agent.workspace)
    Path(script).unlink()
    assert "3 requests made again, all the same" in replayed(agent)
    assert not agent.workspace.exists()


def test_a_replay_asks_nobody_runs_nothing_and_writes_nothing(agent: Agent) -> None:
    with Endpoint([call("append_file", path="log.txt", content="once\n"), text("done")]) as endpoint:
        agent("run", "log", "--base-url", endpoint.base_url, "--model", "local")
        before = agent("sessions", "export", agent.session()).out
        replayed(agent)
        assert len(endpoint.requests) == 2
    assert agent("sessions", "export", agent.session()).out == before
    assert (agent.workspace / "log.txt").read_text() == "once\n"


def test_attempts_are_compared_one_by_one(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"), finish("one"), finish("two") | {"expect": "one more"})
    agent("run", "write", "--script", script, "--max-steps", "1")
    agent("resume", "--last", "--add-steps", "5")
    agent("resume", "--last", "one more thing")
    # Three steps, the last words of the first attempt, and one step more.
    assert "5 requests in 3 attempts" in replayed(agent)


def test_words_added_after_a_request_that_was_never_answered_are_not_in_it(agent: Agent) -> None:
    with Endpoint([call("list_files"), *[error(500)] * 2, text("done")]) as endpoint:
        base = ("--base-url", endpoint.base_url)
        assert agent("run", "x", *base, "--model", "local", env={"AGENT_RETRIES": "1"}).code == 3
        assert agent("resume", "--last", "look at it in another way", *base).code == 0
    assert "4 requests in 2 attempts" in replayed(agent)


@pytest.mark.parametrize("protocol", ["tools", "json"])
def test_questions_retries_and_guard_verdicts_replay(agent: Agent, protocol: str) -> None:
    answers = [
        error(429, retry_after=0.01),
        call("ask_user", question="Which?"),
        text(""),
        *[call("list_files")] * 6,
        call("finish", answer="done"),
    ]
    with Endpoint(answers, tools=protocol == "tools") as endpoint:
        base = ("--base-url", endpoint.base_url)
        assert agent("run", "ask", *base, "--model", "local", "--protocol", protocol).code == 10
        done = agent("resume", "--last", "--answer", "this one", "--json", *base)
    assert done.of_type("guard.verdict")
    replayed(agent)


def test_a_compacted_session_replays(agent: Agent) -> None:
    def answer(data: dict[str, object]) -> Answer:
        messages = data["messages"]
        assert isinstance(messages, list)
        if "tools" not in data:
            return text("a summary of the past")
        if len(endpoint.requests) > 14:
            return call("finish", answer="done")
        return call("write_file", path=f"{len(endpoint.requests)}.txt", content="word " * 900)

    with Endpoint(answer) as endpoint:
        env = {"AGENT_CONTEXT_WINDOW": "12000"}
        done = agent("run", "x", "--base-url", endpoint.base_url, "--model", "local", "--json", env=env)
    assert done.code == 0, done.err
    assert {event["label"] for event in done.of_type("completion.received")} == {"step", "compact"}
    replayed(agent)


def test_code_a_verification_and_a_schema_replay(agent: Agent, sandboxed: None) -> None:
    schema = agent.folder / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["n"]}))
    script = agent.script(
        says("python", code="print(6 * 7)"), finish("no json"), finish('{"n": 1}'), writes("ok"), finish('{"n": 42}')
    )
    done = agent("run", "x", "--script", script, "--verify", "test -f ok", "--output-schema", str(schema), "--json")
    assert done.code == 0, done.err
    replayed(agent)


def test_a_changed_prompt_is_named_with_its_step_and_the_difference(agent: Agent) -> None:
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    system = (packaged() / "system.md").read_text(encoding="utf-8")
    (prompts / "system.md").write_text(system, encoding="utf-8")
    agent("run", "x", "--script", agent.script(writes("a.txt"), finish()), "--prompts", str(prompts))
    replayed(agent)
    (prompts / "system.md").write_text(system.replace("Work step by step", "Work in leaps"), encoding="utf-8")
    agent.replayable = False
    done = agent("replay", agent.session())
    assert done.code == 1
    first, *details = done.out.splitlines()
    assert "differs at step 1 (step): message 1 of 2 (system) reads otherwise" in first
    assert any(line.startswith("  -") and "Work step by step" in line for line in details)
    assert any(line.startswith("  +") and "Work in leaps" in line for line in details)
    assert any("otherwise than when the session was made: system" in line for line in details)


def test_prompts_that_the_settings_name_now_are_tried(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish())
    agent("run", "x", "--script", script)
    prompts = agent.folder / "mine"
    prompts.mkdir()
    (prompts / "replan.md").write_text("Not used.", encoding="utf-8")
    env = {"AGENT_PROMPTS": str(prompts)}
    done = agent("replay", agent.session(), env=env)
    assert done.code == 0
    assert f"the prompts in {str(prompts)!r} are tried" in done.err
    (prompts / "goal.md").write_text("My goal: {{ session.goal }}", encoding="utf-8")
    done = agent("replay", agent.session(), env=env)
    assert done.code == 1
    assert "differs at step 1 (step): message 2 of 2 (user) reads otherwise" in done.out


def test_a_change_in_a_long_line_is_shown_at_the_same_place_in_both(agent: Agent) -> None:
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    words = " ".join(f"word{n}" for n in range(100))
    (prompts / "goal.md").write_text(words + " old end", encoding="utf-8")
    agent("run", "x", "--script", agent.script(writes("a.txt"), finish()), "--prompts", str(prompts))
    (prompts / "goal.md").write_text(words + " quite another end", encoding="utf-8")
    agent.replayable = False
    done = agent("replay", agent.session(), "--json")
    assert done.code == 1
    found = json.loads(done.out)
    [old] = [line[1:] for line in found["details"] if line.startswith("-")]
    [new] = [line[1:] for line in found["details"] if line.startswith("+")]
    assert old.startswith("…")
    assert old.removesuffix("old end") == new.removesuffix("quite another end")


def test_what_was_the_same_before_a_difference_is_counted(agent: Agent) -> None:
    thoughts = {"text": "t", "reasoning": "r", "plan": ["p"], "criticism": "bad", "revise": True}
    script = agent.script(writes("a.txt"), writes("b.txt") | {"thoughts": thoughts}, finish())
    agent("run", "x", "--script", script)
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    (prompts / "replan.md").write_text("Plan again.", encoding="utf-8")
    done = agent("replay", agent.session(), "--prompts", str(prompts), "--json")
    assert json.loads(done.out)["requests"] == 2
    done = agent("replay", agent.session(), "--prompts", str(prompts))
    assert done.out.splitlines()[-1] == "2 requests before it are the same"


@pytest.mark.parametrize(
    ("name", "content", "step", "said"),
    [
        ("tools/write_file.md", "Writes.", 1, "the tool 'write_file' is described otherwise"),
        ("replan.md", "Plan again: {{ reason }}", 3, "reads otherwise"),
        ("thoughts.md", "thoughts: think", 1, "the prompt 'thoughts' reads otherwise"),
        ("budget_line.md", "[budget]", 1, "the prompt 'budget_line' reads otherwise"),
        ("wrap_up.md", "Sum up {{ goal }} {{ reason }} {{ facts }}", None, "message 1 of 1 (user) reads otherwise"),
    ],
)
def test_any_prompt_that_was_used_shows(agent: Agent, name: str, content: str, step: int | None, said: str) -> None:
    thoughts = {"text": "t", "reasoning": "r", "plan": ["p"], "criticism": "bad", "revise": True}
    script = agent.script(
        writes("a.txt"), writes("b.txt") | {"thoughts": thoughts}, writes("c.txt"), {"label": "wrap_up", "text": "sum"}
    )
    assert agent("run", "x", "--script", script, "--max-steps", "3").code == 5
    replayed(agent)
    prompts = agent.folder / "prompts"
    (prompts / name).parent.mkdir(parents=True)
    (prompts / name).write_text(content, encoding="utf-8")
    done = agent("replay", agent.session(), "--prompts", str(prompts), "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert found["step"] == step
    assert said in found["difference"]


def test_a_prompt_that_was_not_used_makes_no_difference(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script(finish()))
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    (prompts / "compact.md").write_text("Other words: {{ goal }} {{ past }}", encoding="utf-8")
    replayed(agent, "--prompts", str(prompts))


def test_a_journal_that_was_altered_is_found_out(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script(writes("a.txt"), says("read_file", path="a.txt"), finish()))
    agent.replayable = False
    with sqlite3.connect(agent.home / "agent.db") as db:
        db.execute("UPDATE events SET data = replace(data, 'wrote', 'Wrote') WHERE type = 'tool.finished'")
    done = agent("replay", agent.session())
    assert done.code == 1
    assert "differs at step 2 (step): the journal does not hold what was sent" in done.out


def test_an_end_that_would_be_another_is_a_difference(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script(finish("forty-two")))
    agent.replayable = False
    with sqlite3.connect(agent.home / "agent.db") as db:
        db.execute("UPDATE events SET data = replace(data, 'forty', 'fifty') WHERE type = 'session.finished'")
    done = agent("replay", agent.session())
    assert done.code == 1
    assert "the answer was 'fifty-two'; now it would be 'forty-two'" in done.out


def test_an_unknown_session_and_a_folder_that_is_gone_are_usage_errors(agent: Agent) -> None:
    assert agent("replay", "nothing").code == 2
    prompts = agent.folder / "prompts"
    prompts.mkdir()
    (prompts / "goal.md").write_text("Goal {{ session.goal }}", encoding="utf-8")
    agent("run", "x", "--script", agent.script(finish()), "--prompts", str(prompts))
    agent.replayable = False
    shutil.rmtree(prompts)
    done = agent("replay", agent.session())
    assert done.code == 2
    assert "give --prompts" in done.err
