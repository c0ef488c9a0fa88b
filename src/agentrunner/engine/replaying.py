"""Running a session again from its journal: nothing is sent, nothing is run, and each request is compared.

Every attempt is walked by itself, on what the journal held at its end: so what was sent before a person added
words is made again without them. What the engine chose (caps, budget lines, verdicts) is read, not judged again.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agentrunner.engine.asking import digest, tools_digest
from agentrunner.engine.differing import Difference, Recorded, compare
from agentrunner.engine.driving import drive
from agentrunner.engine.log import Log
from agentrunner.engine.run import Parts, Run, Stop
from agentrunner.engine.session import Opening
from agentrunner.errors import ModelError
from agentrunner.guard.ledger import Ledger
from agentrunner.guard.limits import STOP_AT, Limits
from agentrunner.types import (
    JSON,
    Answer,
    Ask,
    Completion,
    Decision,
    Effect,
    Event,
    Request,
    Session,
    Strategy,
    ToolCall,
    ToolResult,
    ToolSpec,
)

ENDS = {"done": "goal_met", "gave_up": "gave_up", "unverified": "verification_failed"}
"""What a strategy's answer becomes."""


_QUIET = Limits(dict.fromkeys(STOP_AT, "off"))
"""What the guard said stands in the journal."""


class _Boundary(Stop):
    """The journal says no more of this attempt here."""

    def __init__(self) -> None:
        super().__init__("cancelled", "interrupted", "the journal ends here")


class _Differs(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.what)
        self.difference = difference


@dataclass(slots=True)
class Replayed:
    """What a replay found: how much was compared, and the first difference if there is one."""

    attempts: int = 0
    requests: int = 0
    difference: Difference | None = None


@dataclass(slots=True)
class Makers:
    """What makes a session's requests: its strategy, and the one of its last words."""

    strategy: Callable[[Session], Strategy]
    wrap_up: Callable[[Session, str, str], Strategy]
    facts: Callable[[Sequence[Event]], str]


async def replay(
    sessions: Callable[[Sequence[Event]], tuple[Session, Session]], makers: Makers, events: Sequence[Event]
) -> Replayed:
    """Make all requests of `events` again and compare them. `sessions` gives for an attempt, from the events up to its
    end, the session to make them with, and the session as it was then: with it a difference is explained."""
    found = Replayed()
    claims = [i for i, event in enumerate(events) if event.type == "session.claimed"]
    try:
        for number, start in enumerate(claims, 1):
            end = claims[number] if number < len(claims) else len(events)
            now, then = sessions(events[:end])
            attempt = _Attempt(now, makers, events[:end], start, number, then)
            try:
                await attempt.walk()
            finally:
                found.requests += len(attempt.made)
            found.attempts += 1
    except _Differs as differs:
        found.difference = differs.difference
    return found


@dataclass
class _Attempt:
    session: Session
    makers: Makers
    past: Sequence[Event]
    start: int
    number: int
    then: Session
    made: set[int] = field(default_factory=set[int])
    """Numbers of the journal's requests that were made again."""

    def __post_init__(self) -> None:
        self._sent: dict[str, list[Event]] = defaultdict(list)
        for event in self.past[self.start :]:
            if event.type == "request.sent":
                self._sent[event.key].append(event)
        finished = self.past[-1]
        self._end: JSON | None = finished.data if finished.type == "session.finished" else None
        self._recorded = Recorded(self.past)

    async def walk(self) -> None:
        """Raises `_Differs` at the first request that is not as it was."""
        run = self._run()
        try:
            answer = await drive(run, self.makers.strategy(self.session))
        except _Boundary:
            answer = None
        except Stop as stop:
            if stop.reason != "needs_tool_outputs" or self._reason() in ENDS.values():
                # Only what the strategy itself called can be other than it was: requests were compared before.
                raise _Differs(Difference(self._last_step(), "", stop.text.partition(";")[0])) from stop
            answer = None
        self._check_all_made()
        self._check_end(answer)
        await self._last_words()

    def _run(self) -> Run:
        nowhere = _Nowhere()
        ledger = Ledger(self.session.budget, None)
        makers = self.makers
        parts = Parts(nowhere, nowhere, ledger, makers.wrap_up, makers.facts, _no_summary, lambda: 0.0, guard=_QUIET)
        run = Run(self.session, parts, Log(nowhere, self.session.id, self.past, ()), 0.0)
        run.witness = lambda ask, key: self._witness(run, ask, key)
        return run

    def _witness(self, run: Run, ask: Ask, key: str) -> None:
        sent = self._sent.get(key, [])
        then = self._recorded.read(key, ask.conversation.id)
        for event in sent:
            if event.data["digest"] != digest(run, ask):
                tools = event.data["_tools"] != tools_digest(run, ask)
                raise _Differs(compare(event, ask, then, self.then, self.session, other_tools=tools))
            self.made.add(event.seq)
        if run.log.last(key, "completion.received") is None and not _overflowed(run, key):
            if not sent and self._reason() in ENDS.values() and ask.label != "wrap_up":
                what = f"the session ended here ({self._reason()}); now a request {ask.label!r} would be made"
                raise _Differs(Difference(self._last_step() + 1, ask.label, what))
            raise _Boundary

    def _check_all_made(self) -> None:
        for events in self._sent.values():
            for event in events:
                if event.seq not in self.made and event.data["label"] != "wrap_up":
                    what = f"the request {event.data['label']!r} at {event.key} is not made any more"
                    raise _Differs(Difference(event.data["step"], event.data["label"], what))

    def _check_end(self, answer: Answer | None) -> None:
        """The strategy's answer against the end that the journal has; a killed attempt has none."""
        reason = self._reason()
        if self._end is None or answer is None:
            return
        if reason in ENDS.values():
            if ENDS[answer.outcome] != reason:
                what = f"the session ended with {reason}; now it would with {ENDS[answer.outcome]}"
                raise _Differs(Difference(self._last_step(), "", what))
            if answer.text and answer.text != self._end["answer"]:
                what = f"the answer was {self._end['answer']!r}; now it would be {answer.text!r}"
                raise _Differs(Difference(self._last_step(), "", what))
        elif reason.startswith(("budget_", "needs_")):
            what = f"the session stopped here ({reason}); now it would end with {ENDS[answer.outcome]}"
            raise _Differs(Difference(self._last_step(), "", what))

    async def _last_words(self) -> None:
        branch = f"/wrapup:{self.number}"
        first = next((i for i, event in enumerate(self.past) if event.key.startswith(f"{branch}/")), None)
        if first is None or self._end is None:
            return
        strategy = self.makers.wrap_up(self.session, self.makers.facts(self.past[:first]), self._end["message"])
        try:
            await drive(self._run(), strategy, branch)
        except _Boundary:
            return

    def _reason(self) -> str:
        return str(self._end["reason"]) if self._end else ""

    def _last_step(self) -> int:
        steps = [event.data["step"] or 0 for event in self.past if event.type == "completion.received"]
        return max(steps, default=0)


def _no_summary(events: Sequence[Event], reason: str) -> str:
    return ""


def _overflowed(run: Run, key: str) -> bool:
    failed = run.log.last(key, "request.failed")
    return failed is not None and failed.data["kind"] == "overflow"


class _Nowhere:
    """Model, tools and journal of a replay: what would be asked, run or written lies behind the journal's end."""

    name = endpoint = "replay"
    learned: dict[str, str] = {}  # noqa: RUF012 - a constant of the plug, never changed

    def input_bytes(self, request: Request) -> int:
        raise _Boundary

    async def complete(self, request: Request, on_delta: object) -> Completion:
        raise ModelError("a replay asks nobody", "refused")

    async def aclose(self) -> None:
        return None

    def specs(self) -> tuple[ToolSpec, ...]:
        return ()

    def decide(self, call: ToolCall) -> Decision:
        raise _Boundary

    def effect(self, name: str) -> Effect:
        return "unsafe"

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        raise _Boundary

    def observe(self, name: str, content: str, key: str = "") -> None:
        return None

    async def append(
        self, session_id: str, after: int, events: Sequence[Opening], *, handled: Sequence[int] = ()
    ) -> list[Event]:
        raise _Boundary

    def load(self, session_id: str) -> list[Event]:
        return []

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        return []
