"""One model request through all its attempts: reserve, journal, send, settle; try again when that can help."""

import asyncio
import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentrunner.engine.run import Run, Stop
from agentrunner.errors import ModelError, ScriptError
from agentrunner.guard.ledger import WRAP_UP_OUTPUT_TOKENS, Reservation, Share, above, usage_of
from agentrunner.types import (
    JSON,
    Ask,
    Completion,
    Event,
    Request,
    StepError,
    Thoughts,
    ToolCall,
    ToolSpec,
    Usage,
    fields_of,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

MAX_ANSWER_S = 600.0
"""What the openai client allows one request by default as well."""
MAX_WAIT_S = 120.0
"""No single wait before a new attempt is longer, whatever the endpoint asks for."""


async def answer(run: Run, ask: Ask, key: str, branch: str) -> tuple[Completion, int, float] | StepError:
    """The answer, its step number and its cost, or why there is none that a strategy can mend.

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


async def _attempt(run: Run, ask: Ask, key: str, branch: str, attempt: int) -> tuple[Completion, int, float]:
    parts, ledger, wrap_up = run.parts, run.parts.ledger, ask.label == "wrap_up"
    form, request, reservation = await _reserve(run, ask, key)
    step = None if wrap_up else ledger.steps + ledger.steps_in_flight
    place: JSON = {"step": step, "branch": branch or "/", "label": ask.label}
    run.log.note("request.sent", key, place | _sent(run, ask, request, reservation, attempt))
    await run.log.flush()
    parts.on_phase("asking the model")
    before = parts.clock()
    try:
        completion = await _send(run, request)
    except (ModelError, ScriptError, asyncio.CancelledError) as error:
        _note_failure(run, key, place, error, attempt, reservation)
        await run.log.flush()
        raise
    cost = ledger.settle(key, completion.usage, step=not wrap_up)
    run.settled()
    if not wrap_up:
        place["step"] = ledger.steps
    usage = completion.usage or Usage(reservation.input_tokens, 0, reservation.output_tokens)
    data = place | completion_data(completion, usage, plan_changed=_plan_changed(run, branch, completion))
    data |= {"cost_usd": cost, "spent_usd": ledger.spent_usd, "seconds": round(parts.clock() - before, 3)}
    data |= {"_above_bound": note_violation(run, key, place, usage, reservation), "_learned": dict(parts.model.learned)}
    # A request that taught something was sent in another form than the one that was measured.
    data["_measured"] = completion.usage is not None and form == _form(run, ask, parts.model.learned)
    if data["_measured"]:
        ledger.bounds.measure((form, ask.conversation.epoch), reservation.prefix_bytes, usage.input_tokens)
    run.log.note("completion.received", key, data)
    return completion, ledger.steps, cost


async def _reserve(run: Run, ask: Ask, key: str) -> tuple[str, Request, Reservation]:
    """A reservation, and the request that it is for. While other branches hold what is missing, it is waited for."""
    parts, wrap_up = run.parts, ask.label == "wrap_up"
    while True:
        if not wrap_up:
            run.check_stop()
        left = min(MAX_ANSWER_S, run.seconds_left(wrap_up=wrap_up))
        trailing = "" if wrap_up else budget_line(run)
        probe = Request(key, ask.label, ask.conversation, "", ask.tools, ask.schema, 0, left, ask.options)
        prefix_bytes = parts.model.input_bytes(probe)
        cap = min(parts.max_output_tokens, ask.max_output_tokens or parts.max_output_tokens)
        cap = min(WRAP_UP_OUTPUT_TOKENS, cap) if wrap_up else cap
        form = _form(run, ask, parts.model.learned)
        reservation = parts.ledger.reserve(
            key, (form, ask.conversation.epoch), prefix_bytes, len(trailing.encode()), cap, wrap_up=wrap_up
        )
        if isinstance(reservation, Reservation):
            parts.ledger.share = await _book(run, reservation)
            if parts.ledger.share is None:
                return form, replace(probe, trailing=trailing, max_output_tokens=reservation.cap), reservation
            parts.ledger.release(key)
            continue
        if not reservation.wait:
            raise Stop("incomplete", reservation.reason, reservation.text)
        await run.settlement()
        parts.ledger.share = None


async def _book(run: Run, reservation: Reservation) -> Share | None:
    """Book it with the account that others share; where that leaves less, say how much."""
    if run.parts.book is None:
        return None
    await run.log.flush()  # After a kill, an answer that is not written would count for all that was reserved for it.
    ledger = run.parts.ledger
    return await run.parts.book(
        ledger.spent_usd, ledger.usd_booked() - ledger.spent_usd - reservation.usd, reservation.usd
    )


def _note_failure(
    run: Run, key: str, place: JSON, error: BaseException, attempt: int, reservation: Reservation
) -> None:
    """Journal an attempt without an answer. One that may have been billed stays booked."""
    ledger = run.parts.ledger
    kind, status, billed, came = "unknown", 0, True, 0
    if isinstance(error, ModelError):
        kind, status, billed, came = error.kind, error.status, error.may_be_billed, error.output_bytes
    elif isinstance(error, ScriptError):
        kind, billed = "script", False
    booked = ledger.keep(key, came) if billed else ledger.release(key)
    run.settled()
    data: JSON = {"attempt": attempt, "status": status, "kind": kind, "booked_usd": booked, "_output_tokens": came}
    run.log.note("request.failed", key, place | data | {"message": str(error) or "stopped while it was on its way"})
    if came:
        note_violation(run, key, place, Usage(0, 0, came), reservation)


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
        "max_output_tokens": reservation.cap,
        "_output_tokens_bound": reservation.output_tokens,
        "_prefix_bytes": reservation.prefix_bytes,
        "_conversation": ask.conversation.id,
        "_changes": ask.conversation.drain(),
        "_trailing": request.trailing,
        "_tools": tools_digest(run, ask),
    }


def digest(run: Run, ask: Ask) -> str:
    """SHA-256 over what the strategy yielded: label, conversation, tools, schema, options."""
    parts: list[Any] = [ask.label, ask.conversation.digest, tools_digest(run, ask), ask.schema]
    if ask.options or ask.max_output_tokens is not None:  # they came later: what has none has the hash it always had
        parts += [ask.options, ask.max_output_tokens]
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


def _form(run: Run, ask: Ask, learned: Mapping[str, str]) -> str:
    """A name for the conversation in the form in which it is sent: the same words as other JSON, or with other tools,
    are other tokens."""
    form = [ask.conversation.id, tools_digest(run, ask), ask.schema is not None, *sorted(learned.items())]
    form += [ask.options] if ask.options else []
    return json.dumps(form)


def remember(run: Run, ask: Ask, sent: JSON, received: JSON) -> None:
    """Measure a past answer, so that the next bound of its conversation is as tight as it was."""
    if received.get("_measured", received["_reported"]):
        form = (_form(run, ask, received["_learned"]), ask.conversation.epoch)
        run.parts.ledger.bounds.measure(form, sent["_prefix_bytes"], received["usage"]["input_tokens"])


def note_violation(run: Run, key: str, place: JSON, usage: Usage, reservation: Reservation) -> bool:
    """Journal that more was billed than had been reserved, if it was. The result then says who did that."""
    if not above(usage, reservation):
        return False
    data = place | {
        "endpoint": run.parts.model.endpoint,
        "model": run.parts.model.name,
        "input_tokens": usage.input_tokens,
        "input_tokens_bound": reservation.input_tokens,
        "output_tokens": usage.output_tokens,
        "max_output_tokens": reservation.output_tokens,
    }
    run.parts.ledger.violated(data)
    run.log.note("budget.violated", key, data)
    return True


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
        "thoughts": None if thoughts is None else fields_of(thoughts) | {"plan": list(thoughts.plan)},
        "plan_changed": plan_changed,
        "text": completion.text,
        "tool_calls": [{"id": c.id, "name": c.name, "arguments": dict(c.arguments)} for c in completion.calls],
        "usage": fields_of(usage),
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
