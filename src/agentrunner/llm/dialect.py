"""What an API's dialect has to say, as a Protocol: how requests are worded and answers read. `model` does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agentrunner.llm.reading import Protocol as Wire
from agentrunner.types import JSON, Completion, Message, ToolSpec


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of one request: what the endpoint is known to want, and this request's cap."""

    model: str
    protocol: Wire
    cap_field: str
    cap: int
    stream: Literal["", "plain", "options"]
    schema: Literal["", "schema", "object", "none"]
    include: bool
    """Whether to ask for reasoning in a form that can be sent back."""
    merged: bool
    """Whether a user's message may not follow another, or a tool's."""
    options: JSON
    """Further fields that this request asks for, in the words of Chat Completions."""

    @property
    def sent(self) -> dict[str, str]:
        return {"cap": self.cap_field, "stream": self.stream, "schema": self.schema}


class Assembly(Protocol):
    """Puts the events of a stream together."""

    said_bytes: int

    @property
    def finished(self) -> bool: ...
    def add(self, chunk: JSON) -> str: ...
    def result(self) -> JSON: ...


class Dialect(Protocol):
    """How one API words requests and answers."""

    @property
    def path(self) -> str: ...
    @property
    def azure_version(self) -> str:
        """Of Azure's dated API, when the user names none."""
        ...

    @property
    def azure_deployments(self) -> bool:
        """Whether Azure's dated API has the deployment in the path."""
        ...

    def cap_field(self, openai: bool) -> str: ...
    def encode(self, message: Message, protocol: Wire) -> bytes: ...
    def tools(self, tools: Sequence[ToolSpec], texts: Mapping[str, str]) -> list[JSON]: ...
    def body(self, shape: Shape, messages: bytearray, tools: bytes, schema: JSON | None, trailing: bytes) -> bytes: ...
    def assembly(self) -> Assembly: ...
    def malformed(self, data: JSON) -> bool: ...
    def read(self, data: JSON, protocol: Wire, tools: Sequence[ToolSpec]) -> Completion: ...
