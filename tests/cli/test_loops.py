"""Live loops and live work that only looks like one, against an endpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.endpoint import Answer, Endpoint, call
from tests.support.program import Agent, Done

JSON = dict[str, Any]
Script = Callable[[int], Answer]


def files_of(agent: Agent, count: int = 9) -> None:
    agent.workspace.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        (agent.workspace / f"{n}.txt").write_text(f"text {n}\n")


def run(
    agent: Agent,
    script: Script,
    *arguments: str,
    command: tuple[str, ...] = ("run", "do it"),
    env: dict[str, str] | None = None,
) -> tuple[Done, list[JSON]]:
    """The run and the requests' bodies. `script` gives the answer to the nth request, from 0."""
    asked: list[JSON] = []

    def answer(body: JSON) -> Answer:
        asked.append(body)
        return script(len(asked) - 1) if "tools" in body else Answer(text="a summary")

    with Endpoint(answer) as endpoint:
        model = ("--model", "local") if command[0] == "run" else ()
        done = agent(*command, "--base-url", endpoint.base_url, *model, "--json", *arguments, env=env)
    return done, asked


def same_call(n: int) -> Answer:
    return call("read_file", {"text": f"thought {n}"}, path="0.txt")


def alternation(n: int) -> Answer:
    return call("read_file", {"text": f"thought {n}"}, path=f"{n % 2}.txt")


def cycle_of_seven(n: int) -> Answer:
    return call("read_file", path=f"{n % 7}.txt")


def new_arguments_same_error(n: int) -> Answer:
    return call("edit_file", path="0.txt", old=f"line that is not there {n * n}", new="x")


@pytest.mark.parametrize(
    ("script", "period", "rules"),
    [
        (same_call, 1, ("repeat",)),
        (alternation, 2, ("cycle",)),
        (cycle_of_seven, 7, ("cycle", "stall")),
        (new_arguments_same_error, 1, ("same_error",)),
    ],
    ids=["same_call", "alternation", "cycle_of_seven", "new_arguments_same_error"],
)
def test_a_loop_is_nudged_planned_anew_and_stopped(
    agent: Agent, script: Script, period: int, rules: tuple[str, ...]
) -> None:
    files_of(agent)
    done, asked = run(agent, script, "--max-steps", "100")
    assert done.code == 9, done.err
    verdicts = done.of_type("guard.verdict")
    assert [verdict["action"] for verdict in verdicts] == ["nudge", "replan", "stop"]
    assert {verdict["rule"] for verdict in verdicts} <= set(rules)
    assert done.finished["status"] == "incomplete"
    assert done.finished["reason"] == "stuck"
    assert done.finished["steps"] <= 12 * period
    stop = verdicts[-1]
    assert stop["evidence"][-1] == stop["step"] == done.finished["steps"]
    assert len(stop["evidence"]) >= 3
    assert stop["reason"] in done.finished["message"]
    replan = verdicts[1]["step"]
    sizes = [len(body["messages"]) for body in asked]
    assert sizes[replan] < sizes[replan - 1], "the repeated turns left the context"
    # What the model was told: what to do instead, never what it did.
    told = [message["content"] for body in asked for message in body["messages"] if message["role"] == "user"]
    for verdict, words in ((verdicts[0], "instead"), (verdicts[1], "new plan")):
        [notice] = {text for text in told if verdict["reason"] in text and words in text}
        assert ".txt" not in notice
        assert "not there" not in notice


def test_the_repeated_turns_leave_the_context_with_the_new_plan(agent: Agent) -> None:
    files_of(agent)
    done, asked = run(agent, same_call)
    replan = done.of_type("guard.verdict")[1]
    before, after = asked[replan["step"] - 1]["messages"], asked[replan["step"]]["messages"]
    assert sum(m["role"] == "tool" for m in before) == 3
    assert sum(m["role"] == "tool" for m in after) == 1, "the first time stays: its result is known"
    assert "taken out" in after[-2]["content"]


def test_a_new_way_after_the_nudge_is_left_alone(agent: Agent) -> None:
    files_of(agent)

    def script(n: int) -> Answer:
        if n < 3:
            return same_call(n)
        return call("read_file", path=f"{n - 2}.txt") if n < 8 else call("finish", answer="done")

    done, _ = run(agent, script)
    assert done.code == 0, done.err
    assert [verdict["action"] for verdict in done.of_type("guard.verdict")] == ["nudge"]


def test_a_batch_over_two_hundred_files_runs_untouched(agent: Agent) -> None:
    files_of(agent, 100)

    def script(n: int) -> Answer:
        if n < 100:
            return call("read_file", path=f"{n}.txt")
        return call("write_file", path=f"out/{n}.txt", content="same") if n < 200 else call("finish", answer="done")

    done, _ = run(agent, script, "--max-steps", "210")
    assert done.code == 0, done.err
    assert done.of_type("guard.verdict") == []


def test_reading_sixty_pages_runs_untouched(agent: Agent) -> None:
    agent.workspace.mkdir(parents=True, exist_ok=True)
    (agent.workspace / "book.txt").write_text("".join(f"page {n // 10}\n" for n in range(600)))

    def script(n: int) -> Answer:
        return call("read_file", path="book.txt", offset=n * 10, limit=10) if n < 60 else call("finish", answer="read")

    done, _ = run(agent, script, "--max-steps", "70")
    assert done.code == 0, done.err
    assert done.of_type("guard.verdict") == []


def test_thirty_rounds_of_polling_run_untouched(agent: Agent, sandboxed: None) -> None:
    def script(n: int) -> Answer:
        return call("shell", command="sleep 0.01; echo still running") if n < 30 else call("finish", answer="done")

    done, _ = run(agent, script)
    assert done.code == 0, done.err
    assert done.of_type("guard.verdict") == []


def test_changing_and_testing_in_turn_runs_untouched_while_the_files_are_new(agent: Agent, sandboxed: None) -> None:
    def script(n: int) -> Answer:
        if n == 24:
            return call("finish", answer="done")
        if n % 2 == 0:
            return call("write_file", path="a.py", content=f"x = {n}")
        return call("shell", command="echo FAILED test_x: KeyError; exit 1")

    done, _ = run(agent, script)
    assert done.code == 0, done.err
    assert done.of_type("guard.verdict") == []


def test_a_file_changed_to_and_fro_is_stopped(agent: Agent, sandboxed: None) -> None:
    def script(n: int) -> Answer:
        if n % 2 == 0:
            return call("write_file", path="a.py", content=f"flag = {n % 4 == 0}")
        return call("shell", command=f"echo failed after {n * 7} ms; exit 1")

    done, _ = run(agent, script)
    assert done.code == 9, done.err
    assert done.finished["steps"] <= 24


def test_counters_survive_a_resume(agent: Agent) -> None:
    files_of(agent)
    done, _ = run(agent, same_call, "--max-steps", "4")
    assert done.code == 5, done.err
    assert [verdict["action"] for verdict in done.of_type("guard.verdict")] == ["nudge", "replan"]
    again, _ = run(agent, same_call, "--add-steps", "20", command=("resume", "--last"))
    assert again.code == 9, again.err
    assert [verdict["action"] for verdict in again.of_type("guard.verdict")] == ["stop"]
    assert again.finished["steps"] == 5


def test_counters_survive_compaction(agent: Agent) -> None:
    agent.workspace.mkdir(parents=True)
    for n in range(7):
        (agent.workspace / f"{n}.txt").write_text(f"{n}\n" * 1_000)
    done, asked = run(agent, cycle_of_seven, env={"AGENT_CONTEXT_WINDOW": "9000"})
    assert any("tools" not in body for body in asked[:-1]), "it was compacted in between"
    assert done.code == 9, done.err
    assert done.finished["steps"] <= 30


def test_counters_survive_a_stop_and_words_begin_anew(agent: Agent) -> None:
    files_of(agent)
    run(agent, same_call)
    again, _ = run(agent, same_call, command=("resume", "--last"))
    assert again.code == 9
    assert again.finished["steps"] == 6
    told, asked = run(agent, same_call, command=("resume", "--last", "read the other file"))
    assert told.code == 9
    assert [verdict["action"] for verdict in told.of_type("guard.verdict")] == ["nudge", "replan", "stop"]
    assert "read the other file" in str(asked[2]["messages"]), "a person's words do not leave with the repeated turns"


def test_a_rule_that_may_only_warn_never_stops(agent: Agent) -> None:
    files_of(agent)
    (agent.folder / "config" / "agentrunner").mkdir(parents=True)
    (agent.folder / "config" / "agentrunner" / "config.toml").write_text('[guard]\nrepeat = "warn"\nstall = "off"\n')
    done, _ = run(agent, same_call, "--max-steps", "30")
    assert done.code == 5, done.err
    assert [verdict["action"] for verdict in done.of_type("guard.verdict")] == ["nudge", "replan"]


def test_a_project_can_make_the_guard_stricter_but_not_weaker(agent: Agent) -> None:
    files_of(agent)
    Path(agent.folder / "agent.toml").write_text('[guard]\nrepeat = "off"\nstall_at = 900\nrepeat_at = 4\n')
    done, _ = run(agent, same_call)
    assert done.code == 9, done.err
    assert done.finished["steps"] == 4
    assert "'guard.repeat' (weakens 'stop')" in done.err
    assert "'guard.stall_at' (raises the limit of 15)" in done.err
