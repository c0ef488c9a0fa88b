"""The asynchronous client: the same conversation, polling and streaming, several threads at a time."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from typing import Any, cast

from openai import AsyncAssistantEventHandler, AsyncOpenAI
from typing_extensions import override

from tests.runs.conftest import PRICES, Server


class Listener(AsyncAssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    @override
    async def on_text_done(self, text: Any) -> None:
        self.said = text.value


async def converse(client: AsyncOpenAI, made: str, number: int) -> str:
    first: Any = {"role": "user", "content": "call price"}
    run = await client.beta.threads.create_and_run_poll(assistant_id=made, thread={"messages": [first]})
    [call] = cast(Any, run.required_action).submit_tool_outputs.tool_calls
    listener = Listener()
    async with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id,
        thread_id=run.thread_id,
        tool_outputs=[{"tool_call_id": call.id, "output": str(number)}],
        event_handler=listener,
    ) as stream:
        await stream.until_done()
    return listener.said


def test_ten_conversations_at_once(server: Server) -> None:
    async def all_of_them() -> list[str]:
        async with AsyncOpenAI(
            base_url=server.url, api_key="x", max_retries=0, timeout=30, _strict_response_validation=True
        ) as client:
            tools: Any = PRICES
            made = await client.beta.assistants.create(model="any", tools=tools)
            return await asyncio.gather(*(converse(client, made.id, number) for number in range(10)))

    assert asyncio.run(all_of_them()) == [f"the results: {number}" for number in range(10)]
