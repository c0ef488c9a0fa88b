"""Branches made again from the journal: in the order in which they were answered then or in any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agentrunner.engine.replaying import Makers, Replayed, replay
from agentrunner.strategies.wrap_up import facts_of, wrap_up
from agentrunner.types import Event, Session, Strategy
from tests.engine.test_branches import SESSION, branch, play, say, together


def replayed(strategy: Callable[[Session], Strategy], events: list[Event]) -> Replayed:
    return asyncio.run(replay(lambda _: (SESSION, SESSION), Makers(strategy, wrap_up, facts_of), events))


def test_branches_that_answered_in_turn_replay(tmp_path: Path) -> None:
    strategy = together(lambda: branch("a", 2), lambda: branch("b", 3))
    events = play(tmp_path, strategy, [say("a", "1", 0.02), say("a", "2"), say("b", "3"), say("b", "4"), say("b", "5")])
    found = replayed(strategy, events)
    assert (found.difference, found.requests, found.attempts) == (None, 5, 1)


def test_branches_that_were_stopped_and_went_on_replay(tmp_path: Path) -> None:
    strategy = together(lambda: branch("a", 2), lambda: branch("b", 2))
    entries = [say("a", "1", 0.01), say("b", "2"), say("a", "3"), say("b", "4")]
    play(tmp_path, strategy, entries, steps=2)
    found = replayed(strategy, play(tmp_path, strategy, entries, steps=4))
    assert (found.difference, found.attempts) == (None, 2)


def test_a_difference_in_one_branch_is_named_with_its_step_and_label(tmp_path: Path) -> None:
    entries = [say("a", "1"), say("a", "2"), say("b", "3", 0.05)]
    events = play(tmp_path, together(lambda: branch("a", 2), lambda: branch("b")), entries)
    difference = replayed(together(lambda: branch("a", 2), lambda: branch("other")), events).difference
    assert difference is not None
    sent = next(event for event in events if event.type == "request.sent" and event.data["label"] == "b")
    assert (difference.step, difference.label) == (sent.data["step"], "b")
    assert difference.what == "its label was 'b' and is 'other' now"


def test_a_branch_that_is_not_there_any_more_is_a_difference(tmp_path: Path) -> None:
    events = play(tmp_path, together(lambda: branch("a"), lambda: branch("b")), [say("a", "1"), say("b", "2")])
    difference = replayed(together(lambda: branch("a")), events).difference
    assert difference is not None
    assert difference.what == "the request 'b' at /2/llm:1 is not made any more"
