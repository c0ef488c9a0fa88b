"""Recorded commands: replayed as a trace, the guard says what it said live."""

import json
import random
from collections.abc import Sequence
from typing import cast

import pytest

from agentrunner.guard.recorded import record_of
from agentrunner.guard.stuck import StuckDetector
from agentrunner.guard.traces import read_trajectories, replay
from agentrunner.types import Completion, Outcome, Step, StepError, Thoughts, ToolCall, ToolResult
from tests.guard.steps import made, unreadable

CONTENTS = (
    "ok",
    "no matches",
    "[]",
    "a.txt b.txt c1 " * 60,
    "x" * 500 + " tail 1",
    "x" * 500 + " tail 2",
    "Error: not found at 0x7f12",
    "Error: " + "no such file " * 60 + "one",
    "Error: " + "no such file " * 60 + "two",
)


def some_step(dice: random.Random, number: int) -> Step:
    kind = dice.random()
    if kind < 0.1:
        return unreadable(number)
    if kind < 0.15:
        cut = Completion({}, text=f"begins {dice.randrange(2)}", finish="length")
        return Step(f"/llm:{number}", number, cut, error=StepError("length", "Shorter."))
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    for position in range(dice.choice((1, 1, 1, 2, 3))):
        tool = dice.choice(("read_file", "shell"))
        arguments = {"path": dice.choice(("a.txt", "c1"))} if tool == "read_file" else {"command": "sleep 1; make"}
        outcome = cast(Outcome, dice.choice(("ok", "ok", "error", "denied", "unknown")))
        state = dice.choice(("", "s1", "s2")) if tool == "shell" else ""
        call = ToolCall(f"c{number}-{position}", tool, arguments)
        calls.append(call)
        ran = outcome != "error" or dice.random() < 0.5
        results.append(ToolResult(call.id, tool, outcome, dice.choice(CONTENTS), ran=ran, workspace=state))
    plan = dice.choice(((), ("look",), ("look", "write")))
    thoughts = Thoughts(plan=plan, criticism="none" if plan else "")
    return Step(f"/llm:{number}", number, Completion({}, calls=tuple(calls), thoughts=thoughts), tuple(results))


def live(steps: Sequence[Step], spoken: set[int]) -> list[tuple[str, str]]:
    detector, said = StuckDetector(), list[tuple[str, str]]()
    for step in steps:
        verdict = detector.after(step)
        if verdict is not None:
            said.append((verdict.action, verdict.rule))
            if verdict.action == "stop":
                break
        if step.number in spoken:
            detector.spoken()
    return said


def recorded(steps: Sequence[Step], spoken: set[int]) -> list[tuple[str, str]]:
    lines: list[object] = []
    for step in steps:
        commands = record_of(step)
        if step.number in spoken:
            commands[-1]["spoken"] = True
        lines += commands
    text = json.dumps({"id": "s", "steps": lines}).encode()
    [found] = read_trajectories([text])
    assert not isinstance(found, str), found
    return [(verdict.action, verdict.rule) for _, verdict in replay(found.steps)]


@pytest.mark.parametrize("seed", range(60))
def test_a_recorded_session_is_judged_as_it_was_live(seed: int) -> None:
    dice = random.Random(seed)
    pool = [some_step(dice, 0) for _ in range(dice.choice((1, 2, 4, 30)))]
    steps: list[Step] = []
    for number in range(1, 50):
        step = dice.choice(pool)
        steps.append(Step(f"/llm:{number}", number, step.completion, step.results, error=step.error))
    spoken = {dice.randrange(1, 50)} if seed % 3 == 0 else set[int]()
    assert recorded(steps, spoken) == live(steps, spoken)


def test_the_sessions_of_that_test_are_judged_in_many_ways() -> None:
    said: set[tuple[str, str]] = set()
    for seed in range(60):
        dice = random.Random(seed)
        pool = [some_step(dice, 0) for _ in range(dice.choice((1, 2, 4, 30)))]
        picked = [dice.choice(pool) for _ in range(49)]
        said.update(
            live([Step(f"/llm:{n}", n, s.completion, s.results, error=s.error) for n, s in enumerate(picked)], set())
        )
    assert {rule for _, rule in said} >= {"repeat", "cycle", "same_error", "invalid", "stall"}
    assert {action for action, _ in said} == {"nudge", "replan", "stop"}


def test_the_calls_of_one_answer_are_judged_together() -> None:
    call = ToolCall("c", "list_files", {})
    answer = Completion({}, calls=(call,) * 5)
    step = Step("/llm:1", 1, answer, (ToolResult("c", "list_files", "ok", "a.txt"),) * 5)
    assert live([step], set()) == recorded([step], set()) == [("nudge", "repeat")]


def test_a_recording_shows_400_characters_and_says_how_many_there_are() -> None:
    [command] = record_of(
        made(7, "long " * 100, tool="shell", outcome="error", workspace="ab", plan="p", command="make")
    )
    assert command["observation"] == ("long " * 100)[:400]
    assert (command["obs_len"], command["error"], command["ran"]) == (500, True, True)
    assert (command["workspace_sha"], command["thought"], command["args"]) == ("ab", "p; none", {"command": "make"})


def test_where_a_long_result_was_saved_is_no_news() -> None:
    call = ToolCall("c", "shell", {"command": "make"})
    results = [ToolResult("c", "shell", "ok", f"cut, see {name}", saved_as=name) for name in ("@output/1", "@output/2")]
    steps = [Step(f"/llm:{n}", n, Completion({}, calls=(call,)), (result,)) for n, result in enumerate(results, 1)]
    first, second = (record_of(step)[0]["obs_sha"] for step in steps)
    assert first == second
