"""Calls of tools that are carried out elsewhere: the session's own tools of the same answer run first, then the attempt
ends, and a later one goes on from the results that arrived in the inbox."""

from collections.abc import Sequence

from agentrunner.engine.acting import from_journal, note_result, run_some
from agentrunner.engine.inbox import tool_outputs
from agentrunner.engine.run import Run, Stop
from agentrunner.types import JSON, ToolCall, ToolResult, ToolSpec


async def run_with_external(
    run: Run, calls: Sequence[ToolCall], offered: Sequence[ToolSpec], key: str, branch: str, step: int
) -> tuple[ToolResult, ...]:
    """The results of an answer's calls, in their order. Raises `Stop` with what is awaited while one is missing."""
    external = {spec.name for spec in offered if spec.external}
    own = [(position, call) for position, call in enumerate(calls) if call.name not in external or call.problem]
    ran = await run_some(run, own, key, branch, step, offered)
    results = {position: result for (position, _), result in zip(own, ran, strict=True)}
    place: JSON = {"step": step, "branch": branch or "/"}
    awaited = [(position, call) for position, call in enumerate(calls) if position not in results]
    arrived: dict[str, str] | None = None
    for position, call in awaited:
        result = from_journal(run, f"{key}:{position}")
        if result is None:
            _note_start(run, call, f"{key}:{position}", place)
            arrived = tool_outputs(run, key) if arrived is None else arrived
            if call.id in arrived:
                result = ToolResult(call.id, call.name, "ok", arrived[call.id])
                note_result(run, f"{key}:{position}", place, result)
        if result is not None:
            results[position] = result
    pending = [_asked(call) for position, call in awaited if position not in results]
    if not pending:
        return tuple(results[position] for position in range(len(calls)))
    await run.log.flush()
    run.check_stop()
    names = ", ".join(str(one["name"]) for one in pending)
    raise Stop("requires_action", "needs_tool_outputs", f"waiting for the results of {names}", pending)


def _note_start(run: Run, call: ToolCall, place: str, step: JSON) -> None:
    if run.log.last(place, "tool.started") is None:
        started = {"call_id": call.id, "name": call.name, "arguments": dict(call.arguments)}
        run.log.note("tool.started", place, step | started)


def _asked(call: ToolCall) -> JSON:
    question = f"what did {call.name} return?"
    return {
        "call_id": call.id,
        "kind": "tool_outputs",
        "question": question,
        "name": call.name,
        "arguments": dict(call.arguments),
    }
