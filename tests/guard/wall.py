"""One session against the adversary, through crashes and resumes: the real engine, client, ledger and journal."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from agentrunner.engine import Control, Parts, run_session
from agentrunner.guard.ledger import Ledger, Reservation
from agentrunner.journal import SqlJournal
from agentrunner.llm.chat import ChatModel
from agentrunner.llm.client import Connection
from agentrunner.llm.target import Target
from agentrunner.strategies.conversation import Conversation
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import (
    JSON,
    Answer,
    Ask,
    Budget,
    Decision,
    Event,
    Message,
    Par,
    Request,
    Session,
    Step,
    Strategy,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from tests.guard.adversary import Adversary, Door, Turn

PARAMETERS: JSON = {"type": "object", "properties": {"at": {"type": "integer"}}}
LOOK = ToolSpec("look", "Looks. " * 700, PARAMETERS, "pure", thoughts=False)
"""Described at the length of all the tools that a real session has."""
PROMPTS = load_prompts()
MAX_ATTEMPTS = 12
"""More than a case has crashes and raises."""
numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """`limit`: in dollars, or as a multiple of the first call's bound. `crashes`: in each attempt, the journal dies
    with this write, before or after it took hold. `cancels`: the attempt is cancelled at this request."""

    adversary: Adversary
    goal: str
    finding: str
    limit: Fraction
    multiple: bool
    cap: int
    stream: bool
    branches: int = 0
    rounds: int = 30
    crashes: tuple[tuple[int, bool], ...] = ()
    cancels: tuple[int, ...] = ()
    raises: tuple[Fraction, ...] = ()
    retries: int = 2
    tokens: int | None = None
    steps: int | None = None


class Died(BaseException):
    """The process is gone: nothing after this reaches the journal."""


class MortalJournal:
    """The real journal, until its time has come."""

    def __init__(self, journal: SqlJournal, writes: int, takes_hold: bool) -> None:
        self._journal, self._left, self._takes_hold = journal, writes, takes_hold
        self.dead = False

    async def append(
        self, session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], *, handled: Sequence[int] = ()
    ) -> list[Event]:
        if self.dead:
            raise Died
        self._left -= 1
        if self._left == 0:
            self.dead = True
            if self._takes_hold:
                await self._journal.append(session_id, after, events, handled)
            raise Died
        return await self._journal.append(session_id, after, events, handled)

    def load(self, session_id: str) -> list[Event]:
        return self._journal.load(session_id)

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        return self._journal.drain(session_id)


class Eyes:
    """A toolbox with one tool, whose results are all different."""

    def __init__(self, finding: str) -> None:
        self._finding = finding

    def specs(self) -> tuple[ToolSpec, ...]:
        return (LOOK,)

    def decide(self, call: ToolCall) -> Decision:
        return Decision("run")

    def effect(self, name: str) -> Any:
        return "pure"

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        await asyncio.sleep(0)
        return ToolResult(call.id, call.name, "ok", f"{key}: {self._finding}")

    def observe(self, name: str, content: str, key: str = "") -> None:
        pass

    async def aclose(self) -> None:
        pass


def looking(session: Session, goal: str, rounds: int) -> Strategy:
    """Looks again and again."""
    talk = Conversation(Message("system", session.render("system", session=session)), Message("user", goal))
    for _ in range(rounds):
        step: Step = yield Ask("step", talk, session.tools)
        talk.add(step)
    return Answer("seen")


def strategy_of(case: Case, session: Session) -> Strategy:
    if case.branches:
        yield Par(tuple(looking(session, f"{case.goal} {n}", case.rounds // 2) for n in range(case.branches)))
    return (yield from looking(session, case.goal, case.rounds))


@dataclass(frozen=True)
class Run:
    """What came of a case."""

    adversary: Adversary
    events: list[Event]
    limit: Fraction


class Scene:
    """What all cases share: a loop, a journal, an address."""

    def __init__(self, journal: SqlJournal, door: Door, base_url: str) -> None:
        self._journal, self._door, self._base_url = journal, door, base_url
        self._connection = Connection(Target(base_url, azure=False), None)

    async def play(self, case: Case) -> Run:
        adversary = replace(case.adversary)
        self._door.adversary = adversary
        session = Session(
            f"wall-{next(numbers)}", case.goal, model="m", tools=(LOOK,), prompts=PROMPTS, template=fill_in
        )
        limit = float(case.limit) * (self._first_bound(case, session) if case.multiple else 1.0)
        session = replace(session, budget=Budget(case.steps, limit, case.tokens, None))
        adversary.token_limit = case.tokens
        adversary.limit = Fraction(limit)
        opening: list[tuple[str, str, JSON]] = [("session.created", "", {"goal": case.goal})]
        raises = list(case.raises)
        for attempt in range(MAX_ATTEMPTS):
            end = await self._attempt(case, session, adversary, attempt, opening)
            opening = []
            if end is None or end["status"] == "cancelled" or end["reason"] == "provider_error":
                continue
            if end["reason"] != "budget_cost" or not raises or attempt + 1 == MAX_ATTEMPTS:
                break
            more = float(raises.pop()) * limit
            adversary.limit = Fraction(limit := limit + more)
            opening = [("budget.raised", "", {"usd": more})]
        return Run(adversary, self._journal.load(session.id), adversary.limit)

    async def _attempt(
        self, case: Case, session: Session, adversary: Adversary, attempt: int, opening: list[tuple[str, str, JSON]]
    ) -> JSON | None:
        """The attempt's end, None when it died."""
        writes, takes_hold = case.crashes[attempt] if attempt < len(case.crashes) else (0, False)
        journal = MortalJournal(self._journal, writes, takes_hold)
        model = self._model(case)
        parts = Parts(
            model=model,
            toolbox=Eyes(case.finding),
            ledger=Ledger(session.budget, adversary.tariff.price()),
            wrap_up=wrap_up,
            facts=facts_of,
            summary=summary_without_model,
            clock=asyncio.get_running_loop().time,
            on_delta=(lambda _: None) if case.stream else None,
            control=Control(),
            max_output_tokens=case.cap,
            retries=case.retries,
        )
        past = self._journal.load(session.id)
        task = asyncio.ensure_future(
            run_session(session, lambda s: strategy_of(case, s), parts, journal, past, opening)
        )
        if attempt < len(case.cancels):
            last = adversary.requests + case.cancels[attempt]
            adversary.on_request = lambda number: task.cancel() if number == last else None
        try:
            return (await task).data
        except Died:
            return None
        finally:
            adversary.on_request = None

    def _model(self, case: Case) -> ChatModel:
        """Each attempt has a model of its own, but for its client: making one takes longer than a whole session."""
        model = ChatModel("m", base_url=self._base_url, api_key=None, protocol="tools", stream=case.stream)
        model._connection = self._connection  # pyright: ignore[reportPrivateUsage]
        return model

    async def close(self) -> None:
        await self._connection.aclose()

    def _first_bound(self, case: Case, session: Session) -> float:
        system = Message("system", session.render("system", session=session))
        talk = Conversation(system, Message("user", case.goal + (" 0" if case.branches else "")))
        size = self._model(case).input_bytes(Request("", "step", talk, "", (LOOK,), None, 0, 1.0))
        ledger = Ledger(Budget(None, None, None, None), case.adversary.tariff.price())
        booked = ledger.reserve("", ("", 0), size, 60, case.cap)
        assert isinstance(booked, Reservation)
        return booked.usd


def plain(adversary: Adversary, *turns: Turn, **changes: Any) -> Case:
    """A case in which only what is named goes wrong."""
    fields: JSON = {"goal": "g" * 2000, "finding": "f" * 100, "limit": Fraction(5), "multiple": True, "cap": 500}
    return Case(replace(adversary, turns=turns or (Turn(),)), **(fields | {"stream": False} | changes))
