"""Tools that are carried out elsewhere: the attempt ends, results arrive through the inbox, a later attempt goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from agentrunner.engine import Control, Parts, run_session
from agentrunner.engine.replaying import Makers, replay
from agentrunner.guard.ledger import Ledger
from agentrunner.journal import open_journal
from agentrunner.llm.script_format import ScriptedCall
from agentrunner.llm.scripted import Entry, ScriptedModel
from agentrunner.strategies.assistant import assistant
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import Budget, Event, Message, Session, ToolSpec
from tests.guard.wall import LOOK, Eyes

ORDER = ToolSpec("order", "Orders.", {"type": "object", "properties": {}}, thoughts=False, external=True)
SESSION = Session(
    "s", "", tools=(LOOK, ORDER), prompts=load_prompts(), template=fill_in, messages=(Message("user", "order a pen"),)
)


def called(*names: str) -> Entry:
    return Entry(calls=[ScriptedCall(name, {"n": place}) for place, name in enumerate(names)])


def attempt(home: Path, entries: list[Entry], *posts: tuple[str, dict[str, Any]]) -> list[Event]:
    """One attempt, after these were left in the inbox; all events so far."""
    journal = open_journal(home)
    try:
        for kind, data in posts:
            journal.post(SESSION.id, kind, data)
        past = journal.load(SESSION.id)
        model = ScriptedModel(entries, goal="", file="")
        model.replay(past)
        ledger = Ledger(Budget(50, None, None, None))
        parts = Parts(
            model, Eyes("a pen"), ledger, wrap_up, facts_of, summary_without_model, time.monotonic, control=Control()
        )
        opening = [] if past else [("session.created", "", {"goal": ""})]
        asyncio.run(run_session(SESSION, assistant, parts, journal, past, opening))
    finally:
        events = journal.load(SESSION.id)
        journal.close()
    return events


def outputs(**given: str) -> tuple[str, dict[str, Any]]:
    return "tool_outputs", {"outputs": [{"call_id": call_id, "output": text} for call_id, text in given.items()]}


def results(events: list[Event]) -> list[tuple[str, str]]:
    return [(e.key, e.data["content"]) for e in events if e.type == "tool.finished"]


def test_own_tools_of_the_answer_run_before_it_waits_for_the_others(tmp_path: Path) -> None:
    [*_, end] = events = attempt(tmp_path, [called("order", "look")])

    assert (end.data["status"], end.data["reason"], end.data["exit_code"]) == (
        "requires_action",
        "needs_tool_outputs",
        10,
    )
    [pending] = end.data["pending"]
    assert (pending["call_id"], pending["name"], pending["arguments"]) == ("call_0_0", "order", {"n": 0})
    assert results(events) == [("/tool:1:1", "/tool:1:1: a pen")]


def test_it_goes_on_from_results_that_another_process_left(tmp_path: Path) -> None:
    script = [called("order", "look", "order"), Entry(text="both are ordered", expect="number 7")]
    attempt(tmp_path, script)

    [*_, end] = events = attempt(tmp_path, script, outputs(call_0_0="number 7", call_0_2="number 8"))

    assert (end.data["reason"], end.data["answer"]) == ("goal_met", "both are ordered")
    assert results(events)[1:] == [("/tool:1:0", "number 7"), ("/tool:1:2", "number 8")]
    assert sum(event.type == "request.sent" for event in events) == 2


def test_it_waits_for_those_that_are_missing_and_keeps_those_that_came(tmp_path: Path) -> None:
    script = [called("order", "order"), Entry(text="done", expect="second")]
    attempt(tmp_path, script)

    [*_, half] = attempt(tmp_path, script, outputs(call_0_0="first"))
    [*_, end] = attempt(tmp_path, script, outputs(call_0_0="too late", call_0_1="second"))

    assert [one["call_id"] for one in half.data["pending"]] == ["call_0_1"]
    assert end.data["answer"] == "done"
    assert results(attempt_events(tmp_path)) == [("/tool:1:0", "first"), ("/tool:1:1", "second")]


def attempt_events(home: Path) -> list[Event]:
    journal = open_journal(home)
    try:
        return journal.load(SESSION.id)
    finally:
        journal.close()


def test_a_session_that_waits_is_cancelled_through_the_inbox(tmp_path: Path) -> None:
    script = [called("order")]
    attempt(tmp_path, script)

    [*_, end] = attempt(tmp_path, script, ("cancel", {}))

    assert (end.data["status"], end.data["reason"]) == ("cancelled", "cancelled")


def test_arguments_that_cannot_be_read_are_answered_at_once(tmp_path: Path) -> None:
    broken = Entry(calls=[ScriptedCall("order", {}, problem="the arguments are not JSON")])

    [*_, end] = events = attempt(tmp_path, [broken, Entry(text="I cannot", expect="not JSON")])

    assert end.data["reason"] == "goal_met"
    assert results(events) == [("/tool:1:0", "the arguments are not JSON")]


def test_every_request_is_the_same_when_it_is_made_again(tmp_path: Path) -> None:
    script = [called("order", "look"), Entry(text="ordered")]
    attempt(tmp_path, script)
    events = attempt(tmp_path, script, outputs(call_0_0="number 7"))

    found = asyncio.run(replay(lambda past: (SESSION, SESSION), Makers(assistant, wrap_up, facts_of), events))

    assert (found.difference, found.attempts, found.requests) == (None, 2, 2)
