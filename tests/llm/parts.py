"""What the tests of this room share: a conversation, a tool, a request, and a model at a scripted endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from agentrunner.llm.chat import ChatModel
from agentrunner.llm.model import EndpointModel
from agentrunner.types import Completion, Message, Request, ToolSpec

TEXTS = {
    "thoughts": "Think before you act. Only the first call of an answer needs this.",
    "thoughts.text": "what you make of it",
    "thoughts.reasoning": "why",
    "thoughts.plan": "what is left to do",
    "thoughts.criticism": "what may be wrong",
    "thoughts.revise": "true when the criticism must change the plan",
}
DEEP = {"text": "look", "reasoning": "to see", "plan": ["a", "b"], "criticism": "slow", "revise": True}
_numbers = count()


class Talk:
    """A conversation as the engine would keep it."""

    def __init__(self, *messages: Message) -> None:
        self.id = f"talk-{next(_numbers)}"
        self.epoch = 0
        self.digest = ""
        self.messages: list[Message] = list(messages)

    def add(self, completion: Completion, *results: str) -> None:
        self.messages.append(Message("assistant", completion.text, raw=completion.message))
        for call, result in zip(completion.calls, results, strict=True):
            self.messages.append(Message("tool", result, call_id=call.id, name=call.name))


def tool(name: str = "python", thoughts: bool = True, **properties: Any) -> ToolSpec:
    properties = properties or {"code": {"type": "string"}}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolSpec(name, f"Runs {name}.", parameters, thoughts=thoughts)


TOOLS = (tool("python"), tool("read_file", path={"type": "string"}))


def request(talk: Talk | None = None, **changes: Any) -> Request:
    talk = talk or Talk(Message("system", "You are an agent."), Message("user", "Count the rows."))
    fields: dict[str, Any] = {
        "key": "/llm:0",
        "label": "step",
        "conversation": talk,
        "trailing": "[budget: 3 steps left]",
        "tools": TOOLS,
        "schema": None,
        "max_output_tokens": 1000,
        "timeout_s": 10.0,
    }
    return Request(**{**fields, **changes})


def model(base_url: str | None, kind: type[EndpointModel] = ChatModel, **options: Any) -> EndpointModel:
    options = {"api_key": None, "texts": TEXTS, "json_instructions": "Answer with one JSON object.", **options}
    return kind(options.pop("name", "gpt-test"), base_url=base_url, **options)


def ask(one: EndpointModel, *requests: Request, on_delta: Callable[[str], None] | None = None) -> list[Completion]:
    """The answers to these requests, one after the other on one event loop."""

    async def all_of_them() -> list[Completion]:
        try:
            return [await one.complete(each, on_delta) for each in requests]
        finally:
            await one.aclose()

    return asyncio.run(all_of_them())
