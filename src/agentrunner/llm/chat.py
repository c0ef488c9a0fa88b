"""The Chat Completions dialect, and the model that speaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from agentrunner.llm import reading, wire
from agentrunner.llm.dialect import Assembly, Dialect, Shape
from agentrunner.llm.model import EndpointModel
from agentrunner.llm.reading import Protocol
from agentrunner.llm.streams import Accumulator
from agentrunner.types import JSON, Completion, Message, ToolSpec


class ChatDialect:
    path = "/chat/completions"
    azure_version = "2024-10-21"
    azure_deployments = True

    def cap_field(self, openai: bool) -> str:
        return "max_completion_tokens" if openai else "max_tokens"

    def encode(self, message: Message, protocol: Protocol) -> bytes:
        return wire.encode_message(message, protocol)

    def tools(self, tools: Sequence[ToolSpec], texts: Mapping[str, str]) -> list[JSON]:
        return [{"type": "function", "function": function} for function in wire.functions(tools, texts)]

    def body(self, shape: Shape, messages: bytearray, tools: bytes, schema: JSON | None, trailing: bytes) -> bytes:
        options: JSON = {shape.cap_field: shape.cap}
        if shape.stream:
            options["stream"] = True
        if shape.stream == "options":
            options["stream_options"] = {"include_usage": True}
        if schema is not None:
            described = {"name": "answer", "schema": schema, "strict": wire.is_strict(schema)}
            whole = {"type": "json_schema", "json_schema": described}
            options["response_format"] = whole if shape.schema == "schema" else {"type": "json_object"}
        options |= shape.options
        if shape.merged:
            messages, trailing = wire.merged(messages, trailing), b""
        return wire.joined(b'"messages":', shape.model, messages, tools, trailing, options)

    def assembly(self) -> Assembly:
        return Accumulator()

    def malformed(self, data: JSON) -> bool:
        return reading.malformed(data)

    def read(self, data: JSON, protocol: Protocol, tools: Sequence[ToolSpec]) -> Completion:
        return reading.from_wire(data, protocol, tools)


class ChatModel(EndpointModel):
    """A model at an OpenAI-compatible /chat/completions."""

    dialect: ClassVar[Dialect] = ChatDialect()
