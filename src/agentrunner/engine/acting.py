"""The tool calls of one step: approval, intent, effect, result, each in the journal before anything depends on it."""

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from agentrunner.engine.run import Run, Stop
from agentrunner.types import JSON, Artifact, Decision, Event, ToolCall, ToolResult, ToolSpec, fields_of

TOOL_TIMEOUT_S = 600.0
"""No tool runs longer; most have a shorter limit of their own."""
FLUSH_AFTER_S = 0.05
"""The result of a repeatable tool that took longer than this is written at once: running it again would cost more."""

Offered = Sequence[ToolSpec] | None


async def run_calls(
    run: Run, calls: Sequence[ToolCall], key: str, branch: str, step: int, *, offered: Offered = None
) -> tuple[ToolResult, ...]:
    """Run the calls in order. `key` is the place of the step's tools ("/tool:7"); call i stands at "/tool:7:i". What
    was `offered` to a model is approved first, and nothing else is run for it; None are the strategy's own calls.

    Raises `Stop` when a person has to be asked and nobody is there, or when the time is used up.
    """
    return tuple(await run_some(run, list(enumerate(calls)), key, branch, step, offered))


async def run_some(
    run: Run, calls: Sequence[tuple[int, ToolCall]], key: str, branch: str, step: int, offered: Offered
) -> list[ToolResult]:
    """The same for some of an answer's calls, each with its position in it."""
    results: list[ToolResult] = []
    for position, call in calls:
        place = f"{key}:{position}"
        result = from_journal(run, place)
        if result is None:
            result = await _run_call(run, call, place, {"step": step, "branch": branch or "/"}, offered)
            if position < calls[-1][0] and (
                run.parts.toolbox.effect(call.name) == "unsafe" or result.seconds > FLUSH_AFTER_S
            ):
                await run.log.flush()
        run.parts.toolbox.observe(result.name, result.content, place)
        results.append(result)
    return results


async def _run_call(run: Run, call: ToolCall, place: str, step: JSON, offered: Offered) -> ToolResult:
    in_doubt = run.log.past(place, "tool.started")
    if in_doubt and run.parts.toolbox.effect(call.name) == "unsafe":
        return note_result(
            run, place, step, ToolResult(call.id, call.name, "unknown", await _in_doubt(run, call, place, step))
        )
    refused = call.problem or await _approval(run, call, place, step, offered)
    changes = not refused and run.parts.toolbox.effect(call.name) != "pure"
    # One change at a time, whichever branch makes it: what a command did to the workspace is looked at after it.
    async with run.changing if changes else nullcontext():
        return await _carry_out(run, call, place, step, refused, changes=changes)


async def _carry_out(
    run: Run, call: ToolCall, place: str, step: JSON, refused: ToolResult | str, *, changes: bool
) -> ToolResult:
    if not refused:
        run.check_time()
    run.log.note(
        "tool.started", place, step | {"call_id": call.id, "name": call.name, "arguments": dict(call.arguments)}
    )
    if isinstance(refused, ToolResult):
        return note_result(run, place, step, refused)
    if refused:
        return note_result(run, place, step, ToolResult(call.id, call.name, "error", refused, ran=False))
    await run.log.flush()
    if changes:
        await run.parts.before_change()
    run.parts.on_phase(f"running {call.name}")
    before = run.parts.clock()
    allowed = min(TOOL_TIMEOUT_S, run.seconds_left())
    result = await run.parts.toolbox.call(call, place, allowed)
    result = replace(result, seconds=round(run.parts.clock() - before, 3))
    # Tools keep a little of their time for ending what they started.
    if result.outcome == "error" and allowed < TOOL_TIMEOUT_S and result.seconds >= max(allowed - 1.0, allowed * 0.7):
        note_result(run, place, step, replace(result, outcome="unknown", content=_CUT_OFF + result.content))
        raise run.out_of_time()
    if changes:
        result = replace(result, workspace=await run.parts.look_at_workspace(call, place))
    return note_result(run, place, step, result)


async def _approval(run: Run, call: ToolCall, place: str, step: JSON, offered: Offered) -> ToolResult | str:
    """Empty when the call may run, else its result."""
    decision = run.parts.toolbox.decide(call)
    if (
        offered is not None
        and call.name not in (names := [spec.name for spec in offered])
        # What it rejects the toolbox explains better, where it knows all tools.
        and (decision.action != "reject" or any(spec.external for spec in offered))
    ):
        decision = Decision("reject", f"There is no tool named {call.name!r}. The tools are: {', '.join(names)}.")
    match decision.action:
        case "answer":
            return ToolResult(call.id, call.name, "ok", decision.text)
        case "refuse":
            return ToolResult(call.id, call.name, "denied", decision.text, ran=False)
        case "reject":
            return ToolResult(call.id, call.name, "error", decision.text, ran=False)
        case "run":
            return ""
        case "ask":
            if offered is None:
                return ""
    known = run.log.last(place, "human.answered")
    if known is not None and known.data["granted"]:
        return ""
    if known is None and decision.kind == "approval" and run.granted > 0:
        run.granted -= 1
        _answered(run, place, step, call, "y", granted=True)
        return ""
    answer = await _answer(run, call, place, step, decision.kind, decision.text)
    if decision.kind == "input":
        return ToolResult(call.id, call.name, "ok", f"The user answers: {answer}")
    if (granted := grants(answer)) is not None:
        run.granted = max(run.granted, granted)
        return ""
    if re.fullmatch(r"\s*no?\s*", answer, re.IGNORECASE):
        return ToolResult(
            call.id, call.name, "denied", "The user said no to this command. Find another way, or finish.", ran=False
        )
    told = f"The user did not allow this command and says: {answer}"
    return ToolResult(call.id, call.name, "denied", told, ran=False)


def grants(answer: str) -> int | None:
    """How many further approvals a yes gives: "y" none, "y -3" two after this one. None when it is no yes."""
    yes = re.fullmatch(r"\s*y(?:es)?(?:\s+-?(\d{1,6}))?\s*", answer, re.IGNORECASE)
    return None if yes is None else max(0, int(yes[1] or 1) - 1)


async def _in_doubt(run: Run, call: ToolCall, place: str, step: JSON) -> str:
    """What the model is told of a command that was in flight at a crash, and what a person saw where that is wanted."""
    told = _unknown(call.name)
    if not run.parts.ask_in_doubt:
        return told
    question = (
        f"the session was interrupted while this {call.name} command ran; it may or may not have taken effect: look at "
        f"the workspace and say what you found. The command: {json.dumps(dict(call.arguments), ensure_ascii=False)}"
    )
    # A place of its own: at the call's, the command itself may have been approved.
    return (
        f"{told}\nThe user looked and says: {await _answer(run, call, f'{place}/doubt', step, 'attention', question)}"
    )


_WAITS_FOR = {"input": "needs_input", "approval": "needs_approval", "attention": "needs_attention"}


async def _answer(run: Run, call: ToolCall, place: str, step: JSON, kind: str, question: str) -> str:
    """What a person says, now or in the journal. Raises `Stop` when nobody is there."""
    known = run.log.last(place, "human.answered")
    if known is not None:
        return str(known.data["answer"])
    asked: JSON = {"call_id": call.id, "kind": kind, "question": question}
    run.log.note("human.asked", place, step | asked)
    await run.log.flush()
    answer = await run.person(kind, question)
    if answer is None:
        raise Stop("requires_action", _WAITS_FOR[kind], f"nobody is here to answer: {question}", [asked])
    _answered(run, place, step, call, answer, granted=False)
    return answer


def _answered(run: Run, place: str, step: JSON, call: ToolCall, answer: str, *, granted: bool) -> None:
    run.log.note("human.answered", place, step | {"call_id": call.id, "answer": answer, "granted": granted})


def note_result(run: Run, place: str, step: JSON, result: ToolResult) -> ToolResult:
    data = fields_of(result) | {"artifacts": [fields_of(a) for a in result.artifacts]}
    for name in ("saved_as", "ran", "workspace", "detail"):
        data[f"_{name}"] = data.pop(name)
    run.artifacts |= {artifact["path"]: artifact for artifact in data["artifacts"]}
    run.log.note("tool.finished", place, step | data)
    return result


def from_journal(run: Run, place: str) -> ToolResult | None:
    """The result that the journal holds for this call."""
    finished = run.log.last(place, "tool.finished")
    return None if finished is None else result_of(finished)


def result_of(event: Event) -> ToolResult:
    data = event.data
    return ToolResult(
        data["call_id"],
        data["name"],
        data["outcome"],
        data["content"],
        data["truncated_chars"],
        tuple(Artifact(a["path"], a["bytes"], a["sha256"]) for a in data["artifacts"]),
        data["_saved_as"],
        data["seconds"],
        data.get("_ran", True),
        data.get("_workspace", ""),
        data.get("_detail"),
    )


_CUT_OFF = "The session's time was used up while this command ran, so its outcome is unknown.\n"


def _unknown(name: str) -> str:
    return (
        f"The outcome of this {name} command is unknown: the session was interrupted while it ran. It may or "
        "may not have taken effect. Look at the workspace before you run it again. The variables of python are lost."
    )
