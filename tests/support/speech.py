"""How the scripted endpoint words an answer: Chat Completions or Responses, whole or streamed. No sockets here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.endpoint import Answer

JSON = dict[str, Any]
PIECE_CHARS = 24
"""Length of one streamed delta."""


def usage(input_tokens: int, output_tokens: int, cached: int = 0, reasoning: int = 0) -> JSON:
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def completion(data: JSON, answer: Answer, reported: JSON | None, ids: str) -> JSON:
    message = _message(data, answer, ids)
    finish = answer.finish or ("tool_calls" if message.get("tool_calls") else "stop")
    said: JSON = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": data.get("model", "scripted"),
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
    }
    return said | ({"usage": reported} if reported is not None else {})


def completion_stream(data: JSON, answer: Answer, reported: JSON | None, ids: str) -> list[bytes]:
    whole = completion(data, answer, None, ids)
    message, finish = whole["choices"][0]["message"], whole["choices"][0]["finish_reason"]
    head = {name: whole[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def chunk(delta: JSON, finish_reason: str | None = None) -> bytes:
        return _event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    parts = [chunk({"role": "assistant", "content": None})]
    for name, value in message.items():
        if name == "tool_calls":
            for index, call in enumerate(value):
                function = call["function"]
                opening = call | {"index": index, "function": {"name": function["name"], "arguments": ""}}
                parts.append(chunk({"tool_calls": [opening]}))
                parts += [
                    chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
                    for piece in _pieces(function["arguments"])
                ]
        elif isinstance(value, str) and name != "role":
            parts += [chunk({name: piece}) for piece in _pieces(value)]
        elif value is not None and name != "role":
            parts.append(chunk({name: value}))
    parts.append(chunk({}, finish))
    if reported is not None and data.get("stream_options", {}).get("include_usage"):
        parts.append(_event(head | {"choices": [], "usage": reported}))
    return [*parts, b"data: [DONE]\n\n"]


def response(data: JSON, answer: Answer, reported: JSON | None, ids: str) -> JSON:
    message = _message(data, answer, ids)
    output: list[JSON] = [dict(item) for item in answer.extra.get("output", [])]
    if message.get("content"):
        output.append(
            {
                "type": "message",
                "id": "msg_scripted",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": message["content"], "annotations": []}],
            }
        )
    for call in message.get("tool_calls", []):
        item = {"type": "function_call", "status": "completed", **call["function"]}
        output.append(item | ({"call_id": call["id"], "id": f"fc_{call['id']}"} if "id" in call else {}))
    said: JSON = {
        "id": "resp_scripted",
        "object": "response",
        "model": data.get("model", "scripted"),
        "status": "incomplete" if answer.finish == "length" else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if answer.finish == "length" else None,
        "output": output,
    }
    if reported is not None:
        said["usage"] = {
            "input_tokens": reported.get("prompt_tokens"),
            "output_tokens": reported.get("completion_tokens"),
            "input_tokens_details": reported.get("prompt_tokens_details"),
            "output_tokens_details": reported.get("completion_tokens_details"),
        }
    return said


def response_stream(data: JSON, answer: Answer, reported: JSON | None, ids: str) -> list[bytes]:
    whole = response(data, answer, reported, ids)

    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\n".encode() + _event({"type": kind, **fields})

    parts = [event("response.created", response=whole | {"output": [], "status": "in_progress", "usage": None})]
    for index, item in enumerate(whole["output"]):
        parts.append(event("response.output_item.added", output_index=index, item=item))
        if item["type"] == "message":
            parts += [
                event("response.output_text.delta", output_index=index, delta=piece)
                for piece in _pieces(item["content"][0]["text"])
            ]
        parts.append(event("response.output_item.done", output_index=index, item=item))
    return [*parts, event(f"response.{whole['status']}", response=whole)]


def _message(data: JSON, answer: Answer, ids: str) -> JSON:
    """The assistant's message. Where the request offers no tools, calls are written into the text as an object."""
    message: JSON = {"role": "assistant", "content": answer.text, **answer.extra}
    message.pop("output", None)
    if not answer.calls:
        return message
    if not data.get("tools"):
        name, arguments = answer.calls[0]
        command = {"thoughts": answer.thoughts or {}, "command": {"name": name, "args": arguments}}
        return message | {"content": json.dumps(command)}
    message["tool_calls"] = [
        _call(index, name, arguments, answer.thoughts if index == 0 else None, ids)
        for index, (name, arguments) in enumerate(answer.calls)
    ]
    return message


def _call(index: int, name: str, arguments: Any, thoughts: JSON | None, ids: str) -> JSON:
    if isinstance(arguments, dict) and thoughts is not None:
        arguments = {"thoughts": thoughts, **arguments}
    sent = arguments if isinstance(arguments, str) else json.dumps(arguments)
    made: JSON = {"type": "function", "function": {"name": name, "arguments": sent}}
    if ids == "missing":
        return made
    return {"id": f"call_{index}" if ids == "unique" else "call_0", **made}


def _pieces(value: str) -> list[str]:
    return [value[start : start + PIECE_CHARS] for start in range(0, len(value), PIECE_CHARS)]


def _event(data: JSON) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
