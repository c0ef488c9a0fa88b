"""A step's commands in the form of recorded traces. `look_of_trace` sees in them what `looks_of` sees in the step:
what a shortened observation does not show stands beside it, as a hash where that is enough.
"""

from collections.abc import Mapping
from hashlib import sha256

from agentrunner.guard.looks import masked, plan_of, tokens
from agentrunner.types import JSON, Step, ToolCall, ToolResult

OBSERVATION_CHARS = 400
"""How much of a result a recording shows; what the rules need of the rest stands beside it."""

_CLASSES: Mapping[str, str] = {
    **dict.fromkeys(("read_file", "list_files", "search_files", "file_search"), "read"),
    **dict.fromkeys(("write_file", "append_file", "edit_file", "move_file", "delete_file"), "mutate"),
    **dict.fromkeys(("web_search", "web_fetch"), "net"),
}


def record_of(step: Step) -> list[JSON]:
    """The commands of a step, one object each; an answer that could not be read is one without a tool."""
    if step.completion is None:
        return []
    plan = step.completion.thoughts
    thought = "; ".join([*plan.plan, plan.criticism]) if plan and plan_of(plan) else ""
    common: JSON = {"turn": step.number} | ({"thought": thought} if thought else {})
    if not step.results:
        if step.error is None or step.error.kind == "overflow":
            return []
        unread: JSON = {"tool": "", "args": "", "args_sha": _sha(step.completion.text), "observation": step.error.kind}
        return [unread | {"error": True, "ran": False} | common]
    pairs = zip(step.completion.calls, step.results, strict=False)
    return [_record(call, result) | common for call, result in pairs]


def _record(call: ToolCall, result: ToolResult) -> JSON:
    # The name under which a long result was saved differs each time; the result does not.
    content = result.content.replace(result.saved_as, "") if result.saved_as else result.content
    failed = result.outcome != "ok"
    record: JSON = {"tool": call.name, "args": dict(call.arguments), "observation": content[:OBSERVATION_CHARS]}
    record |= {"obs_sha": _sha(f"{result.outcome}\0{content}"), "obs_len": len(content), "error": failed}
    if failed:
        record["ran"] = result.ran and result.outcome != "denied"
    if len(content) > OBSERVATION_CHARS:
        record |= {"error_sha": _sha(masked(content))} if failed else {"listed": list(tokens(content))}
    if result.workspace:
        record["workspace_sha"] = result.workspace
    if call.name in _CLASSES:
        record["class"] = _CLASSES[call.name]
    return record


def _sha(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
