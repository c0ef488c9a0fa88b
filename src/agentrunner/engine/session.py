"""One attempt at a session, from claiming it to its `session.finished`, whatever happens in between."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from datetime import datetime

from agentrunner.engine.acting import grants
from agentrunner.engine.driving import drive
from agentrunner.engine.log import Log
from agentrunner.engine.run import EXIT_CODES, Parts, Run, Status, Stop
from agentrunner.errors import AgentError, Fenced, JournalFull
from agentrunner.types import JSON, Answer, Event, Journal, Session, Strategy

Opening = tuple[str, str, JSON]
"""(type, key, data) of an event that begins an attempt: what a person answered, added or raised."""

_ENDS: dict[str, tuple[Status, str]] = {
    "done": ("completed", "goal_met"),
    "gave_up": ("incomplete", "gave_up"),
    "unverified": ("incomplete", "verification_failed"),
}


MAX_VIOLATIONS = 10
"""In the result; the journal holds them all, and one is enough to know."""


async def run_session(
    session: Session,
    strategy: Callable[[Session], Strategy],
    parts: Parts,
    journal: Journal,
    past: Sequence[Event],
    opening: Sequence[Opening] = (),
) -> Event:
    """Run until the goal is met or something stops it, and return the `session.finished` event.

    `past` is the session's journal so far (empty: `opening` begins with `session.created`). Raises `Fenced` and
    `JournalFull`, since then nothing can be journalled any more; a bug is journalled as failed and raised.
    """
    parts.toolbox.observe("goal", session.goal)
    log = Log(journal, session.id, past, parts.listeners)
    for event in past:
        parts.ledger.recover(event)
    run = Run(session, parts, log, parts.clock(), worked_before=worked_seconds(past), granted=_granted(past))
    run.retry_waits = _retry_waits(past)
    run.artifacts = _artifacts_of(past)
    if parts.purse is not None:
        parts.purse.open(run)
    await _claim(run, opening)
    try:
        end = _end_of(await drive(run, strategy(session)))
    except Stop as stop:
        end = stop
    except asyncio.CancelledError:
        end = Stop("cancelled", parts.control.reason or "interrupted", "stopped at once; everything before is saved")
    except (Fenced, JournalFull):
        raise
    except AgentError as error:
        end = Stop("failed", "internal_error", str(error))
    except Exception as error:
        # The process edge of a session: a bug ends the attempt, and its end is journalled before it is raised.
        await _finish(run, journal, Stop("failed", "internal_error", f"{type(error).__name__}: {error}"))
        raise
    return await _finish(run, journal, end)


async def _claim(run: Run, opening: Sequence[Opening]) -> None:
    created = [event for event in opening if event[0] == "session.created"]
    for type_, key, data in created:
        run.log.note(type_, key, data)
    run.log.note("session.claimed", "", {"owner": f"{socket.gethostname()}:{os.getpid()}"})
    for type_, key, data in opening:
        if type_ != "session.created":
            run.log.note(type_, key, data)
    for event in await run.log.flush():
        run.log.index(event)
        run.parts.ledger.recover(event)


def _end_of(answer: Answer) -> Stop:
    status, reason = _ENDS[answer.outcome]
    stop = Stop(status, reason, answer.reason)
    stop.answer = answer.text
    return stop


async def _finish(run: Run, journal: Journal, end: Stop) -> Event:
    await run.log.flush()
    if end.status == "incomplete" and not end.answer:
        end.answer = await _last_words(run, journal, end)
    ledger = run.parts.ledger
    data: JSON = {
        "status": end.status,
        "reason": end.reason,
        "exit_code": EXIT_CODES[end.reason],
        "answer": end.answer,
        "message": end.text,
        "artifacts": [run.artifacts[path] for path in sorted(run.artifacts)],
        "pending": end.pending,
        "steps": ledger.steps,
        "spent_usd": ledger.spent_usd,
        "guaranteed": ledger.guaranteed,
        "violations": ledger.violations[:MAX_VIOLATIONS],
        "usage": {
            "input_tokens": ledger.usage.input_tokens,
            "cached_tokens": ledger.usage.cached_tokens,
            "output_tokens": ledger.usage.output_tokens,
            "reasoning_tokens": ledger.usage.reasoning_tokens,
        },
        "seconds": round(run.worked(), 3),
        "working_seconds": round(max(0.0, run.worked() - run.retry_waits), 3),
        "resumable": end.status != "completed",
    }
    run.log.note("session.finished", "", data)
    [*_, finished] = await run.log.flush()
    return finished


async def _last_words(run: Run, journal: Journal, end: Stop) -> str:
    """A summary by the model where the budget holds one, else from the journal. Never changes how the run ended."""
    events = journal.load(run.session.id)
    budget = run.parts.ledger.budget
    none_allowed = 0 in (budget.steps, budget.usd, budget.tokens, budget.seconds)
    if not none_allowed and run.seconds_left(wrap_up=True) > 1:
        attempt = sum(event.type == "session.claimed" for event in events)
        strategy = run.parts.wrap_up(run.session, run.parts.facts(events), end.text)
        try:
            async with asyncio.timeout(max(0.0, min(20.0, run.seconds_left(wrap_up=True)))):
                text = (await drive(run, strategy, f"/wrapup:{attempt}")).text
        except (Stop, AgentError, TimeoutError, asyncio.CancelledError):
            # Whoever cancels now wants the end, and the end is what comes next.
            text = ""
        await run.log.flush()
        if text:
            return text
    return run.parts.summary(events, end.text)


def worked_seconds(past: Sequence[Event]) -> float:
    """How long the session's attempts ran so far. An attempt that was killed counts up to its last event."""
    total, claimed, last = 0.0, "", ""
    for event in past:
        if event.type == "session.claimed":
            total += _seconds_between(claimed, last)
            claimed = event.at
        elif event.type in ("session.finished", "session.forked"):
            total, claimed = float(event.data["seconds"]), ""
        last = event.at
    return total + _seconds_between(claimed, last)


def _retry_waits(past: Sequence[Event]) -> float:
    """How long earlier attempts waited to try requests again, as far as they came to their ends."""
    ends = [event.data for event in past if event.type == "session.finished"]
    return float(ends[-1]["seconds"] - ends[-1].get("working_seconds", ends[-1]["seconds"])) if ends else 0.0


def _artifacts_of(events: Sequence[Event]) -> dict[str, JSON]:
    found = [event.data["artifacts"] for event in events if event.type == "tool.finished"]
    return {artifact["path"]: artifact for artifacts in found for artifact in artifacts}


def _granted(past: Sequence[Event]) -> int:
    """Approvals that people gave in advance and that are not used up."""
    left = 0
    for event in past:
        if event.type == "human.answered":
            left = left - 1 if event.data["granted"] else max(left, grants(str(event.data["answer"])) or 0)
    return left


def _seconds_between(start: str, end: str) -> float:
    if not start or not end:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
