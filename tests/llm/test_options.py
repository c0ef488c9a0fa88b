"""Further fields of a request, as they reach endpoints of either dialect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentrunner.llm.chat import ChatModel
from agentrunner.llm.responses import ResponsesModel
from agentrunner.strategies.conversation import Conversation
from agentrunner.types import JSON, Message, Request, ToolSpec
from tests.support.endpoint import Endpoint, text

TOOL = ToolSpec("price", "", {"type": "object", "properties": {}}, thoughts=False, strict=True)
FORM = {"type": "json_schema", "json_schema": {"name": "price", "schema": {"type": "object"}, "strict": False}}
OPTIONS = {
    "tool_choice": {"type": "function", "function": {"name": "price"}},
    "parallel_tool_calls": False,
    "response_format": FORM,
    "top_p": 0.5,
    "reasoning_effort": "low",
}


def sent(kind: type[Any], options: JSON | None, tools: tuple[ToolSpec, ...] = (TOOL,), **settings: Any) -> JSON:
    async def ask(base_url: str) -> None:
        model = kind("gpt-5-mini", base_url=base_url, api_key="k", **settings)
        talk = Conversation(Message("user", "what does it cost?"))
        await model.complete(Request("/llm:1", "step", talk, "", tools, None, 100, 10, options), None)
        await model.aclose()

    with Endpoint([text("7")]) as endpoint:
        asyncio.run(ask(endpoint.base_url))
    return endpoint.requests[0].json


def test_they_travel_as_they_are_in_chat_completions() -> None:
    body = sent(ChatModel, OPTIONS)

    assert {name: body[name] for name in OPTIONS} == OPTIONS
    assert body["tools"][0]["function"]["strict"] is True


def test_the_responses_api_has_other_words_for_some() -> None:
    body = sent(ResponsesModel, OPTIONS)

    assert body["tool_choice"] == {"type": "function", "name": "price"}
    assert body["text"] == {"format": {"type": "json_schema", **FORM["json_schema"]}}  # pyright: ignore
    assert (body["parallel_tool_calls"], body["top_p"], body["reasoning"]) == (False, 0.5, {"effort": "low"})
    assert body["tools"][0]["strict"] is True


@pytest.mark.parametrize("settings", [{"protocol": "json"}, {"protocol": "tools", "tools": ()}])
def test_choices_among_tools_are_not_sent_where_no_tools_are(settings: JSON) -> None:
    body = sent(ChatModel, OPTIONS, **{"tools": (TOOL,), **settings})

    assert not {"tool_choice", "parallel_tool_calls", "tools"} & set(body)
    assert body["response_format"] == FORM
