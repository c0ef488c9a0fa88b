"""What all parts of the engine share while one attempt at a session runs: the plugs, the clock, the reasons to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from agentrunner.engine.log import Log
from agentrunner.guard.ledger import Ledger, Share
from agentrunner.guard.limits import Limits
from agentrunner.types import JSON, Ask, Event, Human, Listener, Model, Session, Strategy, Toolbox, ToolCall

if TYPE_CHECKING:
    from agentrunner.engine.purse import Purse

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
    "needs_tool_outputs": 10,
    "needs_attention": 10,
    "interrupted": 130,
    "cancelled": 143,
}


MIN_SECONDS = 0.25
"""Nothing is begun that has less time than this: it would only be cut off."""


LOOK_AT_SHARE_S = 0.2
"""How often a request that waits for other sessions asks whether there is money for it."""


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


async def _not_looked_at(call: ToolCall, place: str) -> str:
    return ""


async def _at_once() -> None:
    return None


def _unseen(ask: Ask, key: str) -> None:
    return None


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
    before_change: Callable[[], Awaitable[None]] = _at_once
    """Returns when the workspace may be changed."""
    look_at_workspace: Callable[[ToolCall, str], Awaitable[str]] = _not_looked_at
    """A hash of the workspace after this call at this place, for the stuck detector; empty when there is none."""
    ask_in_doubt: bool = False
    """Ask a person about a command whose outcome is unknown before the model is told."""
    allow_changed: bool = False
    """Go on with recorded answers although their requests had other labels or tools."""
    parallel: int | None = None
    """Branches of one `Par` that run at a time; None for all of them."""
    book: Callable[[float, float, float], Awaitable[Share | None]] | None = None
    """Books with an account that other sessions share what this one has spent, what it has reserved, and the request
    that comes next, in US dollars; or says what there is for it instead, and leaves it out."""
    purse: "Purse | None" = None
    """What tools pay from that buy something."""
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
    retry_waits: float = 0.0
    """Seconds that the session's attempts spent waiting to try a request again."""
    ending: Stop | None = None
    """What ended one branch, and so ends the others after what they are doing."""
    plans: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The last plan of each branch."""
    artifacts: dict[str, JSON] = field(default_factory=dict[str, JSON])
    """The files that the session's tools reported, by path, each as it was last reported."""
    tools_digest: str = ""
    """Hash of the session's tools, made at first use."""
    witness: Callable[[Ask, str], None] = _unseen
    """Told of each request before it is answered, be it from the journal or live."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the command that may change the workspace."""
    _changed: asyncio.Event | None = None
    """There while a branch waits for it."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _pausing: int = 0
    _paused_at: float = 0.0

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
        if self.ending is not None:
            raise self.ending
        if reason:
            raise Stop("cancelled", reason, "stopped on request; everything is saved")
        self.check_time()

    async def person(self, kind: str, question: str) -> str | None:
        """Ask whoever is there; the clock stands still meanwhile. Raises `Stop` when an end is asked for instead."""
        async with self._asking:
            return await self._ask_person(kind, question)

    def settled(self) -> None:
        """Wake the branches that wait: a reservation was settled, or the end has come."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def settlement(self) -> None:
        """Wait until a reservation of another branch is settled, no longer than there is time. Those of other sessions
        are settled without a word."""
        longest = float("inf") if self.parts.ledger.share is None else LOOK_AT_SHARE_S
        await self._until(self._change(), min(longest, self.seconds_left()))

    async def _ask_person(self, kind: str, question: str) -> str | None:
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
        """Sleep before another attempt, unless somebody asks for an end first. Waits of branches that lie over each
        other count once."""
        if self._pausing == 0:
            self._paused_at = self.parts.clock()
        self._pausing += 1
        ends = self.parts.clock() + min(seconds, self.seconds_left())
        try:
            while not self.parts.control.reason and self.ending is None and (left := ends - self.parts.clock()) > 0:
                await self._until(self._change(), left)
        finally:
            self._pausing -= 1
            if self._pausing == 0:
                self.retry_waits += self.parts.clock() - self._paused_at

    def _change(self) -> asyncio.Event:
        self._changed = self._changed or asyncio.Event()
        return self._changed

    async def _until(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for the event, for somebody to ask for an end, or for the time to pass."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.parts.control.event.wait())]
        try:
            timeout = None if seconds == float("inf") else max(0.0, seconds)
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
