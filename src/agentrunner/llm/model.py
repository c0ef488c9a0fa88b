"""A model behind an HTTP endpoint, in whichever dialect: sends one request, learns from refusals, reads the answer.

Chat Completions and Responses differ in a `Dialect`; everything else is here. No retries: one call is one attempt,
though a form that the endpoint refuses with a 4xx (which is not billed) is replaced by another at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

from agentrunner.errors import ModelError
from agentrunner.llm import failures
from agentrunner.llm.client import Connection, Pool
from agentrunner.llm.dialect import Dialect, Shape
from agentrunner.llm.lessons import Learned, lesson, room
from agentrunner.llm.pictures import image_tokens
from agentrunner.llm.reading import Protocol as Wire
from agentrunner.llm.target import target_of
from agentrunner.llm.wire import Transcripts, encode
from agentrunner.types import JSON, Completion, Conversation, Image, Message, Request, ToolSpec

MAX_SENDS = 8
"""There are fewer things to learn about an endpoint than this, so a request is never sent for ever."""
TEMPLATE_BYTES = 16
"""Per message: what a chat template puts around it, at most a token or two for each of role, start and end."""
ENVELOPE_BYTES = 256
"""The rest of the body: some endpoints count what they are sent rather than what they read."""
TOOLS_BYTES = 512
"""Instructions on calling tools that endpoints add to the prompt by themselves: up to about 350 tokens."""
BYTES_PER_TOKEN = 8
"""Twice what a token of text has on average; a stream beyond that (and the slack) does not keep to its cap."""
SLACK_BYTES = 65_536
_OF_TOOLS = ("tool_choice", "parallel_tool_calls")
DRAIN_S = 0.5
"""For the end of a stream after [DONE], so that the connection can be used again."""


class EndpointModel:
    """Implements `agentrunner.types.Model`. `texts` describe the deliberation in tool schemas; `json_instructions` go
    to the end of the system message when commands travel as text. `learned` is what an earlier session found out."""

    dialect: ClassVar[Dialect]

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None,
        api_key: str | None,
        protocol: Literal["auto", "tools", "json"] = "auto",
        json_instructions: str = "",
        texts: Mapping[str, str] | None = None,
        stream: bool = False,
        azure: bool | None = None,
        api_version: str | None = None,
        learned: Mapping[str, str] | None = None,
        pool: Pool | None = None,
    ) -> None:
        deployment = name if self.dialect.azure_deployments else ""
        target = target_of(base_url, azure, api_version, deployment, self.dialect.azure_version)
        self._name = name
        self._cap_field = self.dialect.cap_field(target.openai)
        self._key = api_key
        self._connection = Connection(target, api_key, pool)
        self._protocol = protocol
        self._instructions = json_instructions
        self._texts = dict(texts or {})
        self._streams = stream
        self._learned: Learned = dict(learned or {})
        self._transcripts = Transcripts(self.dialect.encode)
        self._tools: list[tuple[tuple[ToolSpec, ...], bytes]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def endpoint(self) -> str:
        """Where it is, for people."""
        return self._connection.target.base_url

    @property
    def learned(self) -> Learned:
        """What this endpoint turned out to want; give it to the next model of the same session."""
        return dict(self._learned)

    def input_bytes(self, request: Request) -> int:
        """While the protocol may still change, the longer of both: a request that is sent again in the other form was
        reserved under this number."""
        return max(self._size(request, protocol) for protocol in self._possible())

    async def complete(self, request: Request, on_delta: Callable[[str], None] | None) -> Completion:
        deadline = time.monotonic() + request.timeout_s
        cap = request.max_output_tokens
        for _ in range(MAX_SENDS - 1):
            shape = self._shape(request, cap)
            try:
                return await self._attempt(request, shape, deadline, on_delta)
            except ModelError as error:
                if self._shape(request, cap) != shape and not error.may_be_billed:
                    continue  # Another branch was refused for the same thing meanwhile, and has learned it.
                sent = shape.sent | ({"protocol": "auto"} if len(self._possible()) > 1 and request.tools else {})
                if new := lesson(error, sent, self._learned):
                    self._learned |= new
                    if error.may_be_billed:  # The other form is another attempt, with a reservation of its own.
                        raise ModelError(error.message, "unknown", error.status, retry_after_s=0.0) from error
                elif (smaller := room(error, shape.cap)) and not error.may_be_billed:
                    cap = smaller
                else:
                    raise self._of_images(error, request) from error
        return await self._attempt(request, self._shape(request, cap), deadline, on_delta)

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _attempt(
        self, request: Request, shape: Shape, deadline: float, on_delta: Callable[[str], None] | None
    ) -> Completion:
        body = self._body(request, shape)
        left_s = max(deadline - time.monotonic(), 0.001)
        path = self.dialect.path
        if shape.stream:
            on_text = _only_prose(on_delta) if shape.protocol == "json" and request.tools else on_delta
            async with self._connection.stream(path, body, left_s) as chunks:
                data = chunks if isinstance(chunks, dict) else await self._assemble(chunks, shape.cap, on_text)
        else:
            data = await self._connection.post(path, body, left_s)
        self._check(data, path)
        completion = self.dialect.read(data, shape.protocol, request.tools)
        return completion if completion.model else replace(completion, model=self._name)

    async def _assemble(
        self, chunks: AsyncIterator[JSON | None], cap: int, on_text: Callable[[str], None] | None
    ) -> JSON:
        assembly = self.dialect.assembly()
        done = False
        async with aclosing(cast("Any", chunks)) as events:
            async for chunk in events:
                if chunk is None:
                    done = True
                    break
                if chunk.get("error") and not chunk.get("choices"):
                    raise self._failure(chunk, began=assembly.said_bytes > 0)
                if (visible := assembly.add(chunk)) and on_text is not None:
                    on_text(visible)
                if assembly.said_bytes > BYTES_PER_TOKEN * cap + SLACK_BYTES:
                    said = f"{assembly.said_bytes} bytes though its answer was capped at {cap} tokens"
                    text = f"the endpoint streamed {said}; it was stopped"
                    raise ModelError(text, "over_cap", output_bytes=assembly.said_bytes)
            if done:
                await _drain(events)
        if not done and not assembly.finished:
            raise ModelError("the stream ended before the answer did", "unknown")
        return assembly.result()

    def _check(self, data: JSON, path: str) -> None:
        if not self.dialect.malformed(data):
            return
        if data.get("error"):
            raise self._failure(data, began=False)
        raise failures.not_an_answer(200, encode(data).decode(), self._connection.target.base_url + path, self._key)

    def _failure(self, data: JSON, began: bool) -> ModelError:
        """An error inside of a success: routers put the status of whoever failed behind them into its code."""
        error = data["error"]
        code = cast("JSON", error).get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 200
        failure = failures.from_answer(status, {}, encode(data).decode(), self._key)
        return ModelError(failure.message, "unknown", status) if began else failure

    def _possible(self) -> tuple[Wire, ...]:
        if self._protocol == "json" or self._learned.get("protocol") == "json":
            return ("json",)
        return ("tools",) if self._protocol == "tools" else ("tools", "json")

    def _of_images(self, error: ModelError, request: Request) -> ModelError:
        """A refusal, with what may be the reason."""
        number = sum(len(message.images) for message in request.conversation.messages)
        if error.kind != "refused" or error.status not in (400, 404, 413, 415, 422) or not number:
            return error
        error.message += f" (the request shows {number} image{'s' * (number > 1)}; perhaps {self._name} takes none)"
        return error

    def _shape(self, request: Request, cap: int) -> Shape:
        return Shape(
            model=self._name,
            protocol=self._possible()[0],
            cap_field=self._learned.get("cap") or self._cap_field,
            cap=min(cap, int(self._learned.get("cap_max", cap))),
            stream=self._stream_form(),
            schema="" if request.schema is None else self._schema_form(),
            include=self._learned.get("include") != "none",
            merged=self._learned.get("roles") == "merged",
            options=_options(request, self._possible()[0]),
        )

    def _stream_form(self) -> Literal["", "plain", "options"]:
        learned = self._learned.get("stream")
        if not self._streams or learned == "off":
            return ""
        return "plain" if learned == "plain" else "options"

    def _schema_form(self) -> Literal["schema", "object", "none"]:
        learned = self._learned.get("schema")
        return "object" if learned == "object" else "none" if learned == "none" else "schema"

    def _body(self, request: Request, shape: Shape) -> bytes:
        messages = self._messages(request.conversation, shape.protocol, request.tools)
        tools = self._encoded_tools(request.tools) if shape.protocol == "tools" else b""
        schema = None if shape.schema == "none" else request.schema
        return self.dialect.body(shape, messages, tools, schema, self._trailing(request, shape.protocol))

    def _size(self, request: Request, protocol: Wire) -> int:
        conversation = request.conversation
        tools = self._encoded_tools(request.tools) if protocol == "tools" else b""
        return (
            len(self._messages(conversation, protocol, request.tools))
            + sum(map(self._image_bytes, self._images(conversation, protocol, request.tools)))
            + len(self._trailing(request, protocol))
            + TEMPLATE_BYTES * (len(conversation.messages) + 2)
            + ENVELOPE_BYTES
            + (len(tools) + TOOLS_BYTES if tools else 0)
            + (len(encode(request.schema)) if request.schema is not None else 0)
            + (len(encode(request.options)) if request.options else 0)
        )

    def _messages(self, conversation: Conversation, protocol: Wire, tools: Sequence[ToolSpec]) -> bytearray:
        instructions = self._instructions if protocol == "json" and tools else ""
        return self._transcripts.of(conversation, protocol, instructions)

    def _images(self, conversation: Conversation, protocol: Wire, tools: Sequence[ToolSpec]) -> Sequence[Image]:
        instructions = self._instructions if protocol == "json" and tools else ""
        return self._transcripts.images_of(conversation, protocol, instructions)

    def _image_bytes(self, image: Image) -> int:
        """What a picture counts for beside its bytes: contents are not billed as text."""
        return image_tokens(self._name, image) - (len(image.url) if image.sha256 else 0)

    def _trailing(self, request: Request, protocol: Wire) -> bytes:
        return self.dialect.encode(Message("user", request.trailing), protocol) if request.trailing else b""

    def _encoded_tools(self, tools: tuple[ToolSpec, ...]) -> bytes:
        if not tools:
            return b""
        for known, encoded in self._tools:
            if known is tools or known == tools:
                return encoded
        encoded = encode(self.dialect.tools(tools, self._texts))
        # A session has one set of tools, or a few: with and without `finish`.
        self._tools = [(tools, encoded), *self._tools[:7]]
        return encoded


def _options(request: Request, protocol: Wire) -> JSON:
    """What may be asked for beside the messages: choices among tools need tools that travel as such."""
    options = dict(request.options or {})
    if protocol == "json" or not request.tools:
        options = {name: value for name, value in options.items() if name not in _OF_TOOLS}
    return options


async def _drain(events: AsyncIterator[JSON | None]) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in events:
                pass
    except TimeoutError:
        return


def _only_prose(on_delta: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Where commands travel as text, an answer that begins like an object is not for people to read."""
    if on_delta is None:
        return None
    started: list[bool] = []

    def deliver(piece: str) -> None:
        if not started and piece.strip():
            started.append(piece.lstrip()[0] not in "{`")
        if started and started[0]:
            on_delta(piece)

    return deliver
