"""What tools buy: it stands in the journal before it is asked for, and never goes beyond the limit of the session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentrunner.engine import Parts, Purse, Unpaid, run_session
from agentrunner.engine.replaying import Makers, replay
from agentrunner.guard.ledger import Ledger, Share
from agentrunner.journal import open_journal
from agentrunner.llm.script_format import ScriptedCall
from agentrunner.llm.scripted import Entry, ScriptedModel
from agentrunner.strategies.assistant import assistant
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import Budget, Event, Message, Session, ToolCall, ToolResult
from tests.guard.wall import LOOK, Eyes

SESSION = Session("s", "", tools=(LOOK,), prompts=load_prompts(), template=fill_in, messages=(Message("user", "go"),))
TWICE = [Entry(calls=[ScriptedCall("look", {"n": 1}), ScriptedCall("look", {"n": 2})]), Entry(text="seen")]

Work = Callable[[], Awaitable[tuple[str, float]]]
Book = Callable[[float, float, float], Awaitable[Share | None]]


class Shop(Eyes):
    """Buys what each look shows, for 40 cents at most."""

    def __init__(self, purse: Purse, work: Work) -> None:
        super().__init__("")
        self.purse, self.work = purse, work

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        try:
            return ToolResult(call.id, call.name, "ok", await self.purse.pay(key, 0.4, self.work))
        except Unpaid as error:
            return ToolResult(call.id, call.name, "ok", f"unpaid: {error}")


def attempt(home: Path, work: Work, usd: float | None, book: Book | None = None) -> list[Event]:
    journal = open_journal(home)
    try:
        past = journal.load(SESSION.id)
        model = ScriptedModel(TWICE, goal="", file="")
        model.replay(past)
        purse = Purse()
        ledger = Ledger(Budget(50, usd, None, None))
        parts = Parts(
            model, Shop(purse, work), ledger, wrap_up, facts_of, summary_without_model, time.monotonic, purse=purse
        )
        parts.book = book
        opening = [] if past else [("session.created", "", {"goal": ""})]
        asyncio.run(run_session(SESSION, assistant, parts, journal, past, opening))
    finally:
        events = journal.load(SESSION.id)
        journal.close()
    return events


def stored(home: Path) -> list[str]:
    journal = open_journal(home)
    try:
        return [event.type for event in journal.load(SESSION.id)]
    finally:
        journal.close()


def said(events: list[Event]) -> list[str]:
    return [event.data["content"] for event in events if event.type == "tool.finished"]


def test_it_stands_in_the_journal_before_it_is_asked_for_and_costs_what_was_billed(tmp_path: Path) -> None:
    seen: list[str] = []

    async def buy() -> tuple[str, float]:
        seen.append(stored(tmp_path)[-1])
        return "a pen", 0.3

    [*_, end] = events = attempt(tmp_path, buy, 1.0)
    assert seen == ["purchase.booked", "purchase.booked"]
    assert said(events) == ["a pen", "a pen"]
    assert end.data["spent_usd"] == pytest.approx(0.6)
    assert [e.data["spent_usd"] for e in events if e.type == "purchase.settled"] == pytest.approx([0.3, 0.6])
    found = asyncio.run(replay(lambda past: (SESSION, SESSION), Makers(assistant, wrap_up, facts_of), events))
    assert (found.difference, found.requests) == (None, 2)
    assert len(seen) == 2, "a replay buys nothing"


def test_what_the_limit_does_not_hold_is_not_asked_for(tmp_path: Path) -> None:
    bought: list[int] = []

    async def buy() -> tuple[str, float]:
        bought.append(1)
        return "a pen", 0.3

    [*_, end] = events = attempt(tmp_path, buy, 0.6)
    assert said(events) == ["a pen", "unpaid: it does not fit into what is left of $0.6"]
    assert (len(bought), end.data["spent_usd"], end.data["reason"]) == (1, 0.3, "goal_met")


def test_what_breaks_off_may_have_been_billed_and_is_counted_again_on_a_resume(tmp_path: Path) -> None:
    async def cut() -> tuple[str, float]:
        raise asyncio.CancelledError

    async def buy() -> tuple[str, float]:
        return "a pen", 0.1

    [*_, end] = attempt(tmp_path, cut, 1.0)
    assert (end.data["status"], end.data["spent_usd"]) == ("cancelled", 0.4)
    [*_, end] = events = attempt(tmp_path, buy, 1.0)
    assert said(events) == ["a pen", "a pen"]
    assert end.data["spent_usd"] == pytest.approx(0.6)


def test_a_process_that_was_killed_while_it_bought_leaves_it_booked(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    async def die() -> tuple[str, float]:
        raise Killed

    async def buy() -> tuple[str, float]:
        return "a pen", 0.1

    with pytest.raises(Killed):
        attempt(tmp_path, die, 0.5)
    assert stored(tmp_path)[-1] == "purchase.booked"
    [*_, end] = events = attempt(tmp_path, buy, 0.5)
    assert said(events) == ["unpaid: it does not fit into what is left of $0.5"] * 2
    assert end.data["spent_usd"] == 0.4


def test_an_account_that_others_share_is_asked_first(tmp_path: Path) -> None:
    booked: list[tuple[float, float, float]] = []

    async def book(spent: float, reserved: float, more: float) -> Share | None:
        booked.append((spent, reserved, more))
        return Share(0.0, "the key has no more", wait=False) if spent + reserved + more > 0.5 else None

    async def buy() -> tuple[str, float]:
        return "a pen", 0.2

    events = attempt(tmp_path, buy, None, book)
    assert said(events) == ["a pen", "unpaid: the key has no more"]
    assert booked == [pytest.approx(each) for each in [(0, 0, 0), (0, 0, 0.4), (0.2, 0, 0.4), (0.2, 0, 0)]]
