"""What all parts of the engine share while one attempt at a session runs: the plugs, the clock, the reasons to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agentrunner.engine.log import Log
from agentrunner.guard.ledger import Ledger
from agentrunner.guard.limits import Limits
from agentrunner.types import JSON, Event, Human, Listener, Model, Session, Strategy, Toolbox, ToolCall

Status = Literal["completed", "incomplete", "requires_action", "failed", "cancelled"]

EXIT_CODES: dict[str, int] = {
    "goal_met": 0,
    "internal_error": 1,
    "provider_error": 3,
    "gave_up": 4,
    "verification_failed": 4,
    "budget_steps": 5,
    "budget_cost": 6,
    "budget_tokens": 7,
    "budget_time": 8,
    "stuck": 9,
    "needs_approval": 10,
    "needs_input": 10,
    "interrupted": 130,
    "cancelled": 143,
}


MIN_SECONDS = 0.25
"""Nothing is begun that has less time than this: it would only be cut off."""


class Stop(Exception):
    """The attempt ends here. It never enters a strategy."""

    def __init__(self, status: Status, reason: str, text: str, pending: Sequence[JSON] = ()) -> None:
        super().__init__(text)
        self.status: Status = status
        self.reason = reason
        self.text = text
        self.pending = list(pending)
        self.answer = ""


@dataclass(slots=True)
class Control:
    """How the outside world asks an attempt to end after its current step. `reason`: interrupted or cancelled."""

    reason: str = ""
    event: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, reason: str) -> None:
        self.reason = reason
        self.event.set()


def _nothing(_: str) -> None:
    return None


async def _nobody(kind: str, question: str) -> str | None:
    return None


async def _not_looked_at(call: ToolCall) -> str:
    return ""


@dataclass(slots=True)
class Parts:
    """The plugs of one attempt. `wrap_up` gives the generator that writes the last words of a stopped run from
    (session, facts, reason); `facts` and `summary` make those facts and a summary without a model from the journal."""

    model: Model
    toolbox: Toolbox
    ledger: Ledger
    wrap_up: Callable[[Session, str, str], Strategy]
    facts: Callable[[Sequence[Event]], str]
    summary: Callable[[Sequence[Event], str], str]
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    listeners: Sequence[Listener] = ()
    human: Human = _nobody
    on_delta: Callable[[str], None] | None = None
    on_phase: Callable[[str], None] = _nothing
    control: Control = field(default_factory=Control)
    guard: Limits = field(default_factory=Limits)
    """How strict the stuck detector is."""
    look_at_workspace: Callable[[ToolCall], Awaitable[str]] = _not_looked_at
    """A hash of the workspace after this call, for the stuck detector; empty when there is none."""
    max_output_tokens: int = 16_384
    retries: int = 5
    """Attempts after the first at one request."""


@dataclass(slots=True)
class Run:
    """One attempt: the session, its plugs, its log, and how long it has worked."""

    session: Session
    parts: Parts
    log: Log
    started: float
    worked_before: float = 0.0
    waited: float = 0.0
    """Seconds that this attempt spent waiting for people."""
    granted: int = 0
    """Approvals that a person gave in advance."""
    plans: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The last plan of each branch."""
    tools_digest: str = ""
    """Hash of the session's tools, made at first use."""

    def worked(self) -> float:
        """Seconds that the session's attempts ran, waiting for people not counted."""
        return self.worked_before + self.parts.clock() - self.started - self.waited

    def seconds_left(self, *, wrap_up: bool = False) -> float:
        """Of the time limit; the loop's own limit lies a little before the session's, so that last words fit."""
        limit = self.parts.ledger.budget.seconds
        if limit is None:
            return float("inf")
        return limit - (0.0 if wrap_up else min(20.0, limit / 10)) - self.worked()

    def check_time(self) -> None:
        if self.seconds_left() < MIN_SECONDS:
            raise self.out_of_time()

    def out_of_time(self) -> Stop:
        limit = self.parts.ledger.budget.seconds
        return Stop("incomplete", "budget_time", f"the time limit of {limit:g} s is used up")

    def check_stop(self) -> None:
        """Raise what asks for an end between two steps."""
        reason = self.parts.control.reason
        if reason:
            raise Stop("cancelled", reason, "stopped on request; everything is saved")
        self.check_time()

    async def person(self, kind: str, question: str) -> str | None:
        """Ask whoever is there; the clock stands still meanwhile. Raises `Stop` when an end is asked for instead."""
        before = self.parts.clock()
        self.parts.on_phase("waiting for you")
        asking = asyncio.ensure_future(self.parts.human(kind, question))
        stopping = asyncio.ensure_future(self.parts.control.event.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        finally:
            asking.cancel()
            stopping.cancel()
            self.waited += self.parts.clock() - before
        raise Stop("cancelled", self.parts.control.reason, "stopped on request; the question is still open")

    async def pause(self, seconds: float) -> None:
        """Sleep, unless somebody asks for an end first."""
        waiting: Awaitable[object] = self.parts.control.event.wait()
        try:
            await asyncio.wait_for(waiting, timeout=max(0.0, min(seconds, self.seconds_left())))
        except TimeoutError:
            return
