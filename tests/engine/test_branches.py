"""Strategies side by side: one account, keys of their own, one end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentrunner.engine import Control, Parts, run_session
from agentrunner.guard.ledger import Ledger
from agentrunner.journal import open_journal
from agentrunner.llm.script_format import ScriptedCall
from agentrunner.llm.scripted import Entry, ScriptedModel
from agentrunner.strategies.conversation import Conversation
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import (
    Answer,
    Ask,
    Budget,
    Decision,
    Event,
    Message,
    Par,
    Session,
    Step,
    Strategy,
    ToolCall,
    ToolResult,
)
from tests.guard.wall import LOOK, Eyes

SESSION = Session("s", "goal", tools=(LOOK,), prompts=load_prompts(), template=fill_in)


class Careful(Eyes):
    """Asks a person before it looks."""

    def decide(self, call: Any) -> Decision:
        return Decision("ask", f"look {call.arguments['at']}?")


def branch(name: str, asks: int = 1, fails: bool = False) -> Strategy:
    talk = Conversation(Message("user", name))
    words: list[str] = []
    for _ in range(asks):
        step: Step = yield Ask(name, talk, SESSION.tools)
        talk.add(step)
        words.append(step.completion.text if step.completion else "")
    if fails:
        raise ValueError("a bug in a branch")
    return Answer(" ".join(words))


def together(*branches: Callable[[], Strategy], names: tuple[str, ...] = ()) -> Callable[[Session], Strategy]:
    def strategy(_: Session) -> Strategy:
        answers: list[Answer] = yield Par(tuple(make() for make in branches), names)
        return Answer(" | ".join(answer.text for answer in answers))

    return strategy


def play(
    home: Path,
    strategy: Callable[[Session], Strategy],
    entries: list[Entry],
    *,
    steps: int = 50,
    eyes: type = Eyes,
    parallel: int | None = None,
) -> list[Event]:
    """An attempt at the session in this folder: the first, or one that goes on."""
    journal = open_journal(home)
    try:
        past = journal.load(SESSION.id)
        model = ScriptedModel(entries, goal="goal", file="")
        model.replay(past)
        parts = Parts(
            model=model,
            toolbox=eyes("something"),
            ledger=Ledger(Budget(steps, None, None, None)),
            wrap_up=wrap_up,
            facts=facts_of,
            summary=summary_without_model,
            clock=time.monotonic,
            control=Control(),
            parallel=parallel,
        )
        opening = [] if past else [("session.created", "", {"goal": "goal"})]
        asyncio.run(run_session(SESSION, strategy, parts, journal, past, opening))
    finally:
        events = journal.load(SESSION.id)
        journal.close()
    return events


def say(label: str, text: str, delay_s: float = 0.0) -> Entry:
    return Entry(label=label, text=text, delay_s=delay_s)


def of_type(events: list[Event], type_: str) -> list[Event]:
    return [event for event in events if event.type == type_]


def test_answers_come_back_in_order_whoever_is_first(tmp_path: Path) -> None:
    entries = [say("slow", "one", 0.05), say("slow", "two"), say("quick", "three")]
    events = play(tmp_path, together(lambda: branch("slow", 2), lambda: branch("quick")), entries)
    assert events[-1].data["answer"] == "one two | three"
    assert [event.key for event in of_type(events, "completion.received")] == ["/2/llm:1", "/1/llm:1", "/1/llm:2"]
    assert [event.data["step"] for event in of_type(events, "completion.received")] == [1, 2, 3]


def test_branches_may_be_named(tmp_path: Path) -> None:
    strategy = together(lambda: branch("a"), lambda: branch("b"), names=("t3", "t7"))
    events = play(tmp_path, strategy, [say("a", "x"), say("b", "y")])
    assert {event.data["branch"] for event in of_type(events, "completion.received")} == {"/t3", "/t7"}


def test_a_stop_in_one_branch_lets_the_others_finish_what_they_do(tmp_path: Path) -> None:
    entries = [say("a", "1", 0.01), say("b", "slow", 0.1), say("b", "never"), say("a", "never")]
    events = play(tmp_path, together(lambda: branch("a", 9), lambda: branch("b", 9)), entries, steps=2)
    assert events[-1].data["reason"] == "budget_steps"
    assert [event.data["text"] for event in of_type(events, "completion.received")] == ["1", "slow"]
    assert not [event for event in of_type(events, "request.failed") if event.data["label"] != "wrap_up"]


def test_what_was_answered_is_not_asked_again_after_a_stop(tmp_path: Path) -> None:
    strategy = together(lambda: branch("a", 2), lambda: branch("b", 2))
    entries = [say("a", "1", 0.01), say("b", "2"), say("a", "3"), say("b", "4")]
    play(tmp_path, strategy, entries, steps=2)
    events = play(tmp_path, strategy, entries, steps=4)
    assert events[-1].data["answer"] == "1 3 | 2 4"
    assert sorted(event.data["text"] for event in of_type(events, "completion.received")) == ["1", "2", "3", "4"]


def test_the_questions_of_all_branches_are_pending(tmp_path: Path) -> None:
    entries = [Entry(label=name, calls=[ScriptedCall(name="look", arguments={"at": n})]) for n, name in enumerate("ab")]
    events = play(tmp_path, together(lambda: branch("a"), lambda: branch("b")), entries, eyes=Careful)
    assert events[-1].data["reason"] == "needs_approval"
    assert [asked["question"] for asked in events[-1].data["pending"]] == ["look 0?", "look 1?"]


def test_a_bug_in_one_branch_ends_the_others_at_once(tmp_path: Path) -> None:
    entries = [say("a", "1"), say("b", "never", 30.0)]
    with pytest.raises(ValueError, match="a bug in a branch"):
        play(tmp_path, together(lambda: branch("a", fails=True), lambda: branch("b")), entries)
    journal = open_journal(tmp_path)
    events = journal.load(SESSION.id)
    journal.close()
    assert (events[-1].type, events[-1].data["reason"]) == ("session.finished", "internal_error")
    assert [event.data["kind"] for event in of_type(events, "request.failed")] == ["unknown"]


class Counting(Eyes):
    """Says how many of its calls run at a time; all of them change something."""

    running = 0
    most = 0

    def effect(self, name: str) -> Any:
        return "unsafe"

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        Counting.running += 1
        Counting.most = max(Counting.most, Counting.running)
        await asyncio.sleep(0.01)
        Counting.running -= 1
        return ToolResult(call.id, call.name, "ok", key)


def test_commands_that_change_something_run_one_at_a_time(tmp_path: Path) -> None:
    calls = [Entry(label=name, calls=[ScriptedCall(name="look", arguments={"at": 1})]) for name in "abc"]
    play(tmp_path, together(*(lambda name=name: branch(name) for name in "abc")), calls, eyes=Counting)
    assert Counting.most == 1


def test_no_more_branches_run_at_a_time_than_are_allowed(tmp_path: Path) -> None:
    names = "abcd"
    entries = [say(name, name, 0.02) for name in names]
    strategy = together(*(lambda name=name: branch(name) for name in names))
    events = play(tmp_path, strategy, entries, parallel=2)
    assert events[-1].data["answer"] == "a | b | c | d"
    open_now, most = 0, 0
    for event in events:
        open_now += (event.type == "request.sent") - (event.type == "completion.received")
        most = max(most, open_now)
    assert most == 2


def test_a_branch_that_waits_for_its_turn_is_not_begun_after_a_stop(tmp_path: Path) -> None:
    entries = [say("a", "1"), say("a", "2"), say("b", "never")]
    events = play(tmp_path, together(lambda: branch("a", 9), lambda: branch("b")), entries, steps=2, parallel=1)
    assert events[-1].data["reason"] == "budget_steps"
    assert not [event for event in events if event.data.get("branch") == "/2"]


def test_branches_in_turn_are_finished_by_a_resume(tmp_path: Path) -> None:
    strategy = together(lambda: branch("a", 2), lambda: branch("b", 2))
    entries = [say("a", "1"), say("a", "2"), say("b", "3"), say("b", "4")]
    play(tmp_path, strategy, entries, steps=3, parallel=1)
    events = play(tmp_path, strategy, entries, steps=4, parallel=2)
    assert events[-1].data["answer"] == "1 2 | 3 4"
