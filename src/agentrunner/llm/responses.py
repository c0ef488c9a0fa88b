"""The Responses dialect (`--api responses`), and the model that speaks it. Nothing is stored at the endpoint.

An answer is turned into Chat Completions form and read as one; what it consisted of is kept beside it, item by item,
since reasoning has to go back exactly as it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from agentrunner.llm import reading, wire
from agentrunner.llm.dialect import Assembly, Dialect, Shape
from agentrunner.llm.model import EndpointModel
from agentrunner.llm.reading import Protocol
from agentrunner.llm.wire import RESPONSES_OUTPUT, encode
from agentrunner.types import JSON, Completion, Message, ToolSpec

_TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesDialect:
    path = "/responses"
    azure_version = "2025-04-01-preview"
    azure_deployments = False

    def cap_field(self, openai: bool) -> str:
        return "max_output_tokens"

    def encode(self, message: Message, protocol: Protocol) -> bytes:
        return b",".join(map(encode, to_items(message, protocol)))

    def tools(self, tools: Sequence[ToolSpec], texts: Mapping[str, str]) -> list[JSON]:
        return [{"type": "function", "strict": False, **function} for function in wire.functions(tools, texts)]

    def body(self, shape: Shape, messages: bytearray, tools: bytes, schema: JSON | None, trailing: bytes) -> bytes:
        options: JSON = {shape.cap_field: shape.cap, "store": False}
        if shape.include:
            options["include"] = ["reasoning.encrypted_content"]
        if shape.stream:
            options["stream"] = True
        if schema is not None:
            whole = {"type": "json_schema", "name": "answer", "schema": schema, "strict": wire.is_strict(schema)}
            options["text"] = {"format": whole if shape.schema == "schema" else {"type": "json_object"}}
        options |= in_responses(shape.options)
        return wire.joined(b'"input":', shape.model, messages, tools, trailing, options)

    def assembly(self) -> Assembly:
        return ResponseAssembly()

    def malformed(self, data: JSON) -> bool:
        return bool(data.get("error")) or not isinstance(data.get("output"), list) or data.get("status") == "failed"

    def read(self, data: JSON, protocol: Protocol, tools: Sequence[ToolSpec]) -> Completion:
        return reading.from_wire(as_chat(data), protocol, tools)


class ResponsesModel(EndpointModel):
    """A model at an endpoint with /responses."""

    dialect: ClassVar[Dialect] = ResponsesDialect()


def in_responses(options: JSON) -> JSON:
    """Further fields of a Chat Completions request in the words of this API."""
    found = {name: options[name] for name in ("temperature", "top_p", "parallel_tool_calls") if name in options}
    choice, form = options.get("tool_choice"), options.get("response_format")
    if choice is not None:
        found["tool_choice"] = {"type": "function", **choice["function"]} if isinstance(choice, dict) else choice
    if form is not None:
        found["text"] = {"format": {"type": form["type"], **form.get("json_schema", {})}}
    if "reasoning_effort" in options:
        found["reasoning"] = {"effort": options["reasoning_effort"]}
    return found


def to_items(message: Message, protocol: Protocol) -> list[JSON]:
    said = wire.to_wire(message, protocol)
    if said["role"] == "tool":
        return [{"type": "function_call_output", "call_id": said["tool_call_id"], "output": said["content"]}]
    if message.images:
        return [said | {"content": [_shown(part) for part in cast("list[JSON]", said["content"])]}]
    if said["role"] != "assistant" or protocol == "json":
        return [said]
    calls = [_call_item(cast("JSON", call)) for call in cast("list[Any]", said.get("tool_calls") or [])]
    output = cast("list[JSON]", (message.raw or {}).get(RESPONSES_OUTPUT) or [])
    if output:
        return _sent_back(output, calls)
    text = reading.text_of(said)
    return [*([{"role": "assistant", "content": text}] if text or not calls else []), *calls]


def _shown(part: JSON) -> JSON:
    """A part of a user's message in the words of this API."""
    if part["type"] == "text":
        return {"type": "input_text", "text": part["text"]}
    image = part["image_url"]
    return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail", "auto")}


def as_chat(data: JSON) -> JSON:
    """The answer in Chat Completions form."""
    items = [cast("JSON", item) for item in cast("list[Any]", data.get("output") or []) if isinstance(item, dict)]
    parts = [part for item in items if item.get("type") == "message" for part in _parts(item)]
    calls = [
        {
            "id": item.get("call_id"),
            "type": "function",
            "function": {"name": item.get("name"), "arguments": item.get("arguments")},
        }
        for item in items
        if item.get("type") == "function_call"
    ]
    message: JSON = {"role": "assistant", "content": parts or None, RESPONSES_OUTPUT: items}
    if calls:
        message["tool_calls"] = calls
    details = data.get("incomplete_details")
    reason = cast("JSON", details).get("reason") if isinstance(details, dict) else None
    finish = _FINISH.get(reason, "stop") if isinstance(reason, str) else "tool_calls" if calls else "stop"
    choice = {"message": message, "finish_reason": finish}
    return {"model": data.get("model"), "usage": data.get("usage"), "choices": [choice]}


class ResponseAssembly:
    """The last event of a stream carries the whole response; the deltas before it are for people."""

    def __init__(self) -> None:
        self.said_bytes = 0
        self._items: list[JSON] = []
        self._final: JSON = {}

    @property
    def finished(self) -> bool:
        return bool(self._final)

    def add(self, chunk: JSON) -> str:
        kind, delta, response = chunk.get("type"), chunk.get("delta"), chunk.get("response")
        if kind in _TERMINAL and isinstance(response, dict):
            self._final = cast("JSON", response)
        elif kind == "error":
            self._final = {"error": chunk}
        elif kind == "response.output_item.done" and isinstance(chunk.get("item"), dict):
            self._items.append(cast("JSON", chunk["item"]))
        if not isinstance(delta, str):
            return ""
        self.said_bytes += len(delta.encode("utf-8", "replace"))
        return delta if kind in ("response.output_text.delta", "response.refusal.delta") else ""

    def result(self) -> JSON:
        if self._items and not self._final.get("output") and not self._final.get("error"):
            return {**self._final, "output": self._items}
        return self._final


def _sent_back(output: Sequence[JSON], calls: Sequence[JSON]) -> list[JSON]:
    """The items as they came, with the calls as they were mended. Reasoning that came without its content is left out:
    the endpoint would look for it in a store that was not wanted."""
    mended = iter(calls)
    items: list[JSON] = []
    for item in output:
        if item.get("type") == "function_call":
            items.append({**item, **next(mended, cast("JSON", {}))})
        elif item.get("type") != "reasoning" or item.get("encrypted_content"):
            items.append(item)
    return items


def _call_item(call: JSON) -> JSON:
    function = cast("JSON", call["function"])
    arguments = function["arguments"]
    sent = arguments if isinstance(arguments, str) else encode(arguments).decode()
    return {"type": "function_call", "call_id": call["id"], "name": function["name"], "arguments": sent}


def _parts(item: JSON) -> list[Any]:
    content = item.get("content")
    return cast("list[Any]", content) if isinstance(content, list) else []
