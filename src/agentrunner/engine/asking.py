"""One model request through all its attempts: reserve, journal, send, settle; try again when that can help."""

import asyncio
import hashlib
import json
import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agentrunner.engine.run import Run, Stop
from agentrunner.errors import ModelError, ScriptError
from agentrunner.guard.ledger import Exhausted, Reservation, usage_of
from agentrunner.types import JSON, Ask, Completion, Event, Request, StepError, Thoughts, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from tenacity import RetryCallState

MAX_ANSWER_S = 600.0
"""What the openai client allows one request by default as well."""
MAX_WAIT_S = 120.0
"""No single wait before a new attempt is longer, whatever the endpoint asks for."""


async def answer(run: Run, ask: Ask, key: str, branch: str) -> tuple[Completion, int] | StepError:
    """The answer and its step number, or why there is none that a strategy can mend.

    Raises `Stop` for a budget, an interruption, or an endpoint that failed for good.
    """
    from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

    retrying = AsyncRetrying(
        retry=retry_if_exception(_worth_another_attempt),
        stop=stop_after_attempt(1 if ask.label == "wrap_up" else run.parts.retries + 1),
        wait=_wait,
        sleep=run.pause,
        reraise=True,
    )
    try:
        async for attempt in retrying:
            with attempt:
                return await _attempt(run, ask, key, branch, attempt.retry_state.attempt_number)
    except ModelError as error:
        if error.kind == "overflow":
            return StepError("overflow", error.message)
        tried = f" (after {retrying.statistics['attempt_number']} attempts)" if _worth_another_attempt(error) else ""
        raise Stop("failed", "provider_error", error.message + tried) from error
    raise AssertionError("unreachable: the last attempt raises")


async def _attempt(run: Run, ask: Ask, key: str, branch: str, attempt: int) -> tuple[Completion, int]:
    parts, ledger, wrap_up = run.parts, run.parts.ledger, ask.label == "wrap_up"
    if not wrap_up:
        run.check_stop()
    request, reservation = _reserve(run, ask, key)
    place: JSON = {"step": None if wrap_up else ledger.steps + 1, "branch": branch or "/", "label": ask.label}
    run.log.note("request.sent", key, place | _sent(run, ask, request, reservation, attempt))
    await run.log.flush()
    parts.on_phase("asking the model")
    before = parts.clock()
    try:
        completion = await _send(run, request)
    except (ModelError, ScriptError, asyncio.CancelledError) as error:
        run.log.note("request.failed", key, place | _failed(run, key, error, attempt))
        await run.log.flush()
        raise
    cost = ledger.settle(key, _conversation(ask), completion.usage, step=not wrap_up)
    usage = completion.usage or Usage(reservation.input_tokens, 0, reservation.output_tokens)
    above = usage.input_tokens > reservation.input_tokens or usage.output_tokens > reservation.output_tokens
    data = place | completion_data(completion, usage, plan_changed=_plan_changed(run, branch, completion))
    data |= {"cost_usd": cost, "spent_usd": ledger.spent_usd, "seconds": round(parts.clock() - before, 3)}
    data |= {"_above_bound": above, "_learned": dict(parts.model.learned)}
    run.log.note("completion.received", key, data)
    return completion, ledger.steps


def _reserve(run: Run, ask: Ask, key: str) -> tuple[Request, Reservation]:
    parts, wrap_up = run.parts, ask.label == "wrap_up"
    left = min(MAX_ANSWER_S, run.seconds_left(wrap_up=wrap_up))
    trailing = "" if wrap_up else budget_line(run)
    probe = Request(key, ask.label, ask.conversation, "", ask.tools, ask.schema, 0, left)
    prefix_bytes = parts.model.input_bytes(probe)
    cap = 400 if wrap_up else parts.max_output_tokens
    reservation = parts.ledger.reserve(
        key, _conversation(ask), prefix_bytes, len(trailing.encode()), cap, wrap_up=wrap_up
    )
    if isinstance(reservation, Exhausted):
        raise Stop("incomplete", reservation.reason, reservation.text)
    request = Request(
        key, ask.label, ask.conversation, trailing, ask.tools, ask.schema, reservation.output_tokens, left
    )
    return request, reservation


def _failed(run: Run, key: str, error: BaseException, attempt: int) -> JSON:
    """What is journalled of an attempt without an answer. One that may have been billed stays booked."""
    kind, status = "unknown", 0
    if isinstance(error, ModelError):
        kind, status = error.kind, error.status
    elif isinstance(error, ScriptError):
        kind = "script"
    booked = run.parts.ledger.keep(key) if kind == "unknown" else run.parts.ledger.release(key)
    message = str(error) or "stopped while it was on its way"
    return {"attempt": attempt, "status": status, "kind": kind, "message": message, "booked_usd": booked}


async def _send(run: Run, request: Request) -> Completion:
    try:
        async with asyncio.timeout(request.timeout_s if request.timeout_s != float("inf") else None):
            return await run.parts.model.complete(request, run.parts.on_delta)
    except TimeoutError:
        raise ModelError(f"no answer within {request.timeout_s:.3g} s", "unknown") from None


def _sent(run: Run, ask: Ask, request: Request, reservation: Reservation, attempt: int) -> JSON:
    return {
        "attempt": attempt,
        "digest": digest(run, ask),
        "reserved_usd": reservation.usd,
        "input_tokens_bound": reservation.input_tokens,
        "max_output_tokens": reservation.output_tokens,
        "_prefix_bytes": reservation.prefix_bytes,
        "_conversation": ask.conversation.id,
        "_changes": ask.conversation.drain(),
        "_trailing": request.trailing,
        "_tools": tools_digest(run, ask),
    }


def digest(run: Run, ask: Ask) -> str:
    """SHA-256 over what the strategy yielded: label, conversation, tools, schema."""
    parts = [ask.label, ask.conversation.digest, tools_digest(run, ask), ask.schema]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def tools_digest(run: Run, ask: Ask) -> str:
    """Over names, descriptions and schemas; made once for the session's own tools, which never change."""
    if ask.tools is not run.session.tools:
        return _hash_tools(ask.tools)
    if not run.tools_digest:
        run.tools_digest = _hash_tools(ask.tools)
    return run.tools_digest


def _hash_tools(tools: tuple[ToolSpec, ...]) -> str:
    specs = [[t.name, t.description, t.parameters] for t in tools]
    return hashlib.sha256(json.dumps(specs, sort_keys=True).encode()).hexdigest()[:16]


def budget_line(run: Run) -> str:
    ledger = run.parts.ledger
    budget, seconds = ledger.budget, run.seconds_left()
    return run.session.render(
        "budget_line",
        steps=None if budget.steps is None else budget.steps - ledger.steps,
        step_limit=budget.steps,
        usd=None if budget.usd is None else max(0.0, budget.usd - ledger.usd_booked()),
        usd_limit=budget.usd,
        tokens=None if budget.tokens is None else max(0, budget.tokens - ledger.tokens_booked()),
        token_limit=budget.tokens,
        seconds=seconds,
        second_limit=budget.seconds,
    )


def _conversation(ask: Ask) -> tuple[str, int]:
    return ask.conversation.id, ask.conversation.epoch


def _plan_changed(run: Run, branch: str, completion: Completion) -> bool | None:
    """Whether this plan differs from the branch's last one; None while there is nothing to compare."""
    plan = completion.thoughts.plan if completion.thoughts else ()
    if not plan:
        return None
    old, run.plans[branch] = run.plans.get(branch), plan
    return None if old is None else [p.strip().lower() for p in old] != [p.strip().lower() for p in plan]


def _worth_another_attempt(error: BaseException) -> bool:
    return isinstance(error, ModelError) and error.kind in ("busy", "unknown")


def _wait(state: "RetryCallState") -> float:
    """What the endpoint asked for, else 0.5 s doubling to 20 s; with jitter, so that many do not come at once."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, ModelError) else None
    seconds = asked if asked is not None else min(20.0, 0.5 * 2 ** (state.attempt_number - 1))
    return min(MAX_WAIT_S, seconds * random.uniform(1.0, 1.25))  # noqa: S311


# --- completions in the journal ----------------------------------------------------------------------------------


def completion_data(completion: Completion, usage: Usage, plan_changed: bool | None) -> JSON:
    """An answer as it stands in the journal; `completion_of` is its inverse."""
    thoughts = completion.thoughts
    return {
        "model": completion.model,
        "thoughts": None if thoughts is None else asdict(thoughts) | {"plan": list(thoughts.plan)},
        "plan_changed": plan_changed,
        "text": completion.text,
        "tool_calls": [{"id": c.id, "name": c.name, "arguments": dict(c.arguments)} for c in completion.calls],
        "usage": asdict(usage),
        "_reported": completion.usage is not None,
        "_message": completion.message,
        "_finish": completion.finish,
        "_problem": completion.problem,
        "_problems": [c.problem for c in completion.calls],
    }


def completion_of(event: Event) -> Completion:
    data = event.data
    thoughts: dict[str, Any] | None = data["thoughts"] and {**data["thoughts"], "plan": tuple(data["thoughts"]["plan"])}
    return Completion(
        message=data["_message"],
        text=data["text"],
        calls=tuple(
            ToolCall(call["id"], call["name"], call["arguments"], problem)
            for call, problem in zip(data["tool_calls"], data["_problems"], strict=True)
        ),
        thoughts=None if thoughts is None else Thoughts(**thoughts),
        usage=usage_of(data["usage"]) if data["_reported"] else None,
        model=data["model"],
        finish=data["_finish"],
        problem=data["_problem"],
    )
