"""Many sessions in one process on one journal: each is as it would be alone, and one that is taken over ends alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentrunner.engine import Parts, run_session
from agentrunner.errors import Fenced
from agentrunner.guard.ledger import Ledger
from agentrunner.journal import GroupedJournal, SqlJournal, open_journal
from agentrunner.llm.scripted import Entry, ScriptedModel
from agentrunner.strategies.conversation import Conversation
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import Answer, Ask, Budget, Event, Journal, Message, Session, Strategy
from tests.guard.wall import LOOK, Eyes

ASKS = 4
SESSION = Session("s", "goal", tools=(LOOK,), prompts=load_prompts(), template=fill_in)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqlJournal]:
    with contextlib.closing(open_journal(tmp_path)) as opened:
        yield opened


def asks(session: Session) -> Strategy:
    talk = Conversation(Message("user", session.id))
    for _ in range(ASKS):
        talk.add((yield Ask("step", talk, session.tools)))
    return Answer(f"{session.id} is done")


async def attempt(journal: Journal, id_: str, past: list[Event]) -> Event:
    model = ScriptedModel([Entry(label="step", text=f"{id_} {n}", delay_s=0.01) for n in range(ASKS)], goal="", file="")
    model.replay(past)
    parts = Parts(
        model=model,
        toolbox=Eyes("something"),
        ledger=Ledger(Budget()),
        wrap_up=wrap_up,
        facts=facts_of,
        summary=summary_without_model,
        clock=time.monotonic,
    )
    opening = [] if past else [("session.created", "", {"goal": "goal"})]
    return await run_session(replace(SESSION, id=id_), asks, parts, journal, past, opening)


async def take_over(journal: SqlJournal, id_: str) -> None:
    while True:
        last = journal.last(id_)
        if last is None:  # it has not begun
            await asyncio.sleep(0.001)
            continue
        with contextlib.suppress(Fenced):  # its owner was quicker
            await journal.append(id_, last.seq, [("session.claimed", "", {"owner": "another"})])
            return


def told(journal: SqlJournal, id_: str) -> list[tuple[int, str, str]]:
    return [(event.seq, event.type, event.key) for event in journal.load(id_)]


def test_each_session_is_as_it_would_be_alone(journal: SqlJournal) -> None:
    ids = [f"s{n}" for n in range(30)]

    async def all_at_once() -> list[Event]:
        with contextlib.closing(GroupedJournal(journal)) as grouped:
            return list(await asyncio.gather(*(attempt(grouped, id_, []) for id_ in ids)))

    ends = asyncio.run(all_at_once())
    assert [end.data["answer"] for end in ends] == [f"{id_} is done" for id_ in ids]
    asyncio.run(attempt(journal, "alone", []))
    alone = told(journal, "alone")
    assert all(told(journal, id_) == alone for id_ in ids)


def test_one_that_another_process_took_over_ends_alone_and_can_be_resumed(journal: SqlJournal) -> None:
    ids = [f"s{n}" for n in range(10)]

    async def one_is_taken() -> list[Event | BaseException]:
        with contextlib.closing(GroupedJournal(journal)) as grouped:
            running = [asyncio.ensure_future(attempt(grouped, id_, [])) for id_ in ids]
            await asyncio.sleep(0.015)
            await take_over(journal, "s3")
            return list(await asyncio.gather(*running, return_exceptions=True))

    ends = asyncio.run(one_is_taken())
    assert [isinstance(end, Fenced) for end in ends] == [id_ == "s3" for id_ in ids]
    past = journal.load("s3")
    assert past[-1].type == "session.claimed"
    assert asyncio.run(attempt(journal, "s3", past)).data["answer"] == "s3 is done"
