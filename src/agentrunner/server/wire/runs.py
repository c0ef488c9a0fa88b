"""Runs and their steps: what may be asked for, and the objects that come of it."""

from __future__ import annotations

import re
from typing import Any, cast

from agentrunner.server.faults import bad
from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import Check, array, boolean, by_type, either, integer, nullable, obj, one_of, text
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.server.wire.threads import CREATE_THREAD, MESSAGES
from agentrunner.server.wire.tools import (
    METADATA,
    REASONING_EFFORT,
    RESPONSE_FORMAT,
    TEMPERATURE,
    TOP_P,
    function_name,
    resources,
    tools,
)
from agentrunner.types import JSON

TERMINAL = ("cancelled", "failed", "completed", "incomplete", "expired")
LIFE_S = 600
"""A run that has not come to its end after so many seconds expires."""
OWN_NAMES = {"code_interpreter": "python", "file_search": "file_search"}
"""What models know our own tools by."""
CONTENT_OF_RESULTS = "step_details.tool_calls[*].file_search.results[*].content"
"""What `include` may ask for."""

_TOKENS = nullable(integer(256))
_TRUNCATION = nullable(
    obj({"type": one_of("auto", "last_messages"), "last_messages": nullable(integer(1))}, required=("type",))
)
_NAMED = by_type(
    {
        "function": obj(
            {"type": one_of("function"), "function": obj({"name": function_name}, required=("name",))},
            required=("function",),
        ),
        "code_interpreter": obj({"type": one_of("code_interpreter")}, open_=True),
        "file_search": obj({"type": one_of("file_search")}, open_=True),
    }
)
_TOOL_CHOICE = nullable(
    either(
        (str, one_of("none", "auto", "required")), (dict, _NAMED), expected="'none', 'auto', 'required' or an object"
    )
)
_FIELDS: dict[str, Check] = {
    "assistant_id": text(min_chars=1),
    "model": nullable(text(limits.NAME_CHARS, 1)),
    "instructions": nullable(text(limits.INSTRUCTIONS_CHARS)),
    "tools": nullable(tools),
    "metadata": METADATA,
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "stream": nullable(boolean),
    "max_prompt_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
    "truncation_strategy": _TRUNCATION,
    "tool_choice": _TOOL_CHOICE,
    "parallel_tool_calls": nullable(boolean),
    "response_format": RESPONSE_FORMAT,
    "reasoning_effort": REASONING_EFFORT,
    "on_active_run": nullable(one_of("error", "queue", "cancel")),
}
_CREATE = obj(
    _FIELDS | {"additional_instructions": nullable(text(limits.INSTRUCTIONS_CHARS)), "additional_messages": MESSAGES},
    required=("assistant_id",),
)
_CREATE_WITH_THREAD = obj(
    _FIELDS | {"thread": nullable(CREATE_THREAD), "tool_resources": nullable(resources)}, required=("assistant_id",)
)
MODIFY_RUN = obj({"metadata": METADATA})
SUBMIT = obj(
    {
        "tool_outputs": array(
            obj({"tool_call_id": text(min_chars=1), "output": nullable(text())}, required=("tool_call_id",), open_=True)
        ),
        "stream": nullable(boolean),
    },
    required=("tool_outputs",),
)


def create_run(value: object, where: str) -> JSON:
    return _consistent(_CREATE(value, where))


def create_thread_and_run(value: object, where: str) -> JSON:
    return _consistent(_CREATE_WITH_THREAD(value, where))


def _consistent(body: JSON) -> JSON:
    truncation = object_in(body, "truncation_strategy")
    if (truncation.get("type") == "last_messages") != (truncation.get("last_messages") is not None):
        where = "truncation_strategy.last_messages"
        raise bad(f"Invalid '{where}': give it with the type 'last_messages', and only with that.", where)
    if len(body.get("tools") or ()) > limits.TOOLS_OF_RUN:
        raise bad(
            f"Invalid 'tools': array too long. Expected an array with maximum length {limits.TOOLS_OF_RUN}, but got an"
            f" array with length {len(body['tools'])} instead.",
            "tools",
            "array_above_max_length",
        )
    return body


def new_run(id_: str, now: int, thread: JSON, assistant: JSON, body: JSON) -> JSON:
    """A run as it stands when it was asked for: the assistant's settings, and what the request says instead."""

    def either_(name: str, usual: Any = None) -> Any:
        given = body.get(name)
        given = assistant.get(name) if given is None else given
        return usual if given is None else given

    made: JSON = {
        "id": id_,
        "object": "thread.run",
        "created_at": now,
        "thread_id": thread["id"],
        "assistant_id": assistant["id"],
        "status": "queued",
        "required_action": None,
        "last_error": None,
        "expires_at": now + LIFE_S,
        "started_at": None,
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": None,
        "incomplete_details": None,
        "model": either_("model"),
        "instructions": either_("instructions", ""),
        "tools": either_("tools", []),
        "tool_resources": merged_resources(assistant, thread, body),
        "metadata": object_in(body, "metadata"),
        "usage": None,
        "temperature": either_("temperature", 1.0),
        "top_p": either_("top_p", 1.0),
        "max_prompt_tokens": body.get("max_prompt_tokens"),
        "max_completion_tokens": body.get("max_completion_tokens"),
        "truncation_strategy": {"type": "auto", "last_messages": None} | object_in(body, "truncation_strategy"),
        "tool_choice": body.get("tool_choice") or "auto",
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "response_format": either_("response_format", "auto"),
        "_additional_instructions": body.get("additional_instructions"),
        "_stream": bool(body.get("stream")),
        "_include": list_in(body, "_include"),
    }
    if (effort := either_("reasoning_effort")) is not None:
        made["reasoning_effort"] = effort
    _check_tools(made)
    return made


def merged_resources(assistant: JSON, thread: JSON, body: JSON) -> JSON:
    """Files and stores that a run may use: the assistant's, or the request's in their place, and the thread's."""
    files: list[str] = []
    stores: list[str] = []
    own = object_in(assistant, "tool_resources") | object_in(body, "tool_resources")
    for found in (own, object_in(thread, "tool_resources")):
        files += object_in(found, "code_interpreter").get("file_ids") or []
        stores += object_in(found, "file_search").get("vector_store_ids") or []
    return {
        "code_interpreter": {"file_ids": list(dict.fromkeys(files))},
        "file_search": {"vector_store_ids": list(dict.fromkeys(stores))},
    }


def _check_tools(run: JSON) -> None:
    functions = {tool["function"]["name"] for tool in run["tools"] if tool["type"] == "function"}
    kinds = {tool["type"] for tool in run["tools"]}
    for kind, name in OWN_NAMES.items():
        if kind in kinds and name in functions:
            raise bad(f"Invalid 'tools': a function cannot be called '{name}' beside the tool {kind}.", "tools")
    choice = run["tool_choice"]
    if choice == "required" and not run["tools"]:
        raise bad("Invalid 'tool_choice': 'required' needs tools.", "tool_choice")
    if isinstance(choice, dict):
        chosen = cast(JSON, choice)
        name = object_in(chosen, "function").get("name")
        if (name not in functions) if name is not None else (chosen["type"] not in kinds):
            raise bad(f"Invalid 'tool_choice': the run has no tool '{name or chosen['type']}'.", "tool_choice")


def outputs_for(run: JSON, body: JSON) -> list[JSON]:
    """The outputs that were submitted, as a session takes them. Raises `ApiError` unless they are those awaited."""
    if run["status"] != "requires_action":
        raise bad(f'Runs in status "{run["status"]}" do not accept tool outputs.', None, None)
    awaited = [call["id"] for call in run["required_action"]["submit_tool_outputs"]["tool_calls"]]
    given = {one["tool_call_id"]: one.get("output") or "" for one in body["tool_outputs"]}
    if missing := [id_ for id_ in awaited if id_ not in given]:
        raise bad(f"Expected tool outputs for call_ids {awaited}, got {list(given)}: {missing} missing.", None, None)
    if unknown := [id_ for id_ in given if id_ not in awaited]:
        raise bad(f"Expected tool outputs for call_ids {awaited}, got {list(given)}: {unknown} unknown.", None, None)
    return [{"call_id": id_, "output": given[id_]} for id_ in awaited]


def new_step(id_: str, now: int, run: JSON, details: JSON) -> JSON:
    return {
        "id": id_,
        "object": "thread.run.step",
        "created_at": now,
        "run_id": run["id"],
        "assistant_id": run["assistant_id"],
        "thread_id": run["thread_id"],
        "type": details["type"],
        "status": "in_progress",
        "cancelled_at": None,
        "completed_at": None,
        "expired_at": None,
        "failed_at": None,
        "last_error": None,
        "step_details": details,
        "usage": None,
        "metadata": {},
    }


def shown_step(step: JSON, include: list[str]) -> JSON:
    """The step; passages that were found are told only to who asks for them."""
    if CONTENT_OF_RESULTS in include or step["type"] != "tool_calls":
        return step
    calls: list[JSON] = [
        call | {"file_search": shown_search(call["file_search"], include)} if call["type"] == "file_search" else call
        for call in step["step_details"]["tool_calls"]
    ]
    return step | {"step_details": step["step_details"] | {"tool_calls": calls}}


def shown_search(search: JSON, include: list[str]) -> JSON:
    """The same for one search."""
    if CONTENT_OF_RESULTS in include or "results" not in search:
        return search
    return search | {"results": [{name: one[name] for name in one if name != "content"} for one in search["results"]]}


_INCLUDE = re.compile(r"include(?:\[\d*\])?")


def include_of(query: list[tuple[str, str]]) -> list[str]:
    """What a query string asks for. Raises `ApiError` for what there is not."""
    wanted = [value for name, value in query if _INCLUDE.fullmatch(name)]
    for value in wanted:
        if value != CONTENT_OF_RESULTS:
            raise bad(
                f"Invalid 'include': '{value[:100]}' is not supported; it can be '{CONTENT_OF_RESULTS}'.", "include"
            )
    return wanted
