"""Conversations through semantic-kernel's OpenAIAssistantAgent; its Python has semantic-kernel.

python semantic_kernel_agent.py URL chat|function|code|search
"""

import asyncio
import json
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")  # What this is about is long deprecated.

from openai import AsyncOpenAI  # noqa: E402
from semantic_kernel.agents import AssistantAgentThread, OpenAIAssistantAgent  # noqa: E402
from semantic_kernel.contents import (  # noqa: E402
    AnnotationContent,
    ChatMessageContent,
    FileReferenceContent,
    StreamingAnnotationContent,
)
from semantic_kernel.functions import kernel_function  # noqa: E402

CODE = (Path(__file__).parent / "cell.py.txt").read_text()


class Shop:
    @kernel_function(name="price", description="Say what a thing costs.")
    def price(self, of: str) -> str:
        return f"{of} cost 42"


async def begin(client: AsyncOpenAI, *plugins: Any, **more: Any) -> OpenAIAssistantAgent:
    made = await client.beta.assistants.create(model="any", name="one", instructions="Be brief.", **more)
    return OpenAIAssistantAgent(client=client, definition=made, plugins=list(plugins))


async def streamed(agent: OpenAIAssistantAgent, text: str, thread: Any) -> str:
    parts = [str(part.message) async for part in agent.invoke_stream(messages=text, thread=thread)]
    return "".join(parts)


async def noted(agent: OpenAIAssistantAgent, text: str, kind: type[Any]) -> list[Any]:
    """What comes of this kind, by stream, on a thread of its own."""
    return [
        item async for part in agent.invoke_stream(messages=text) for item in part.message.items if type(item) is kind
    ]


async def chat(client: AsyncOpenAI) -> Any:
    agent = await begin(client)
    thread = AssistantAgentThread(client=client)
    first = await agent.get_response(messages="say hello", thread=thread)
    return [str(first.message), await streamed(agent, "how many", thread)]


async def function(client: AsyncOpenAI) -> Any:
    agent = await begin(client, Shop())
    thread = AssistantAgentThread(client=client)
    polled = str((await agent.get_response(messages="call Shop-price", thread=thread)).message)
    assert await streamed(agent, "call Shop-price", thread) == polled
    return polled


async def code(client: AsyncOpenAI) -> Any:
    file = await client.files.create(file=("n.csv", b"n\n20\n22\n"), purpose="assistants")
    tools, resources = OpenAIAssistantAgent.configure_code_interpreter_tool(file_ids=file.id)
    agent = await begin(client, tools=tools, tool_resources=resources)
    thread, told = AssistantAgentThread(client=client), list[ChatMessageContent]()

    async def note(message: ChatMessageContent) -> None:
        told.append(message)

    answers = [
        one.message async for one in agent.invoke(messages=f"run {CODE}", thread=thread, on_intermediate_message=note)
    ]
    items = [item for message in answers for item in message.items]
    [link] = [item for item in items if isinstance(item, AnnotationContent)]
    [image] = [item for item in items if isinstance(item, FileReferenceContent)]
    steps = client.beta.threads.runs.steps.list(answers[-1].metadata["run_id"], thread_id=str(thread.id), order="asc")
    [called, *_] = [step async for step in steps]
    return {
        "answer": answers[-1].content,
        "logs": called.step_details.tool_calls[0].code_interpreter.outputs[0].logs,
        "file": (await client.files.content(str(link.file_id))).text,
        "image": (await client.files.content(str(image.file_id))).content[1:4].decode(),
    }


async def search(client: AsyncOpenAI) -> Any:
    file = await client.files.create(file=("birds.md", b"The kingfisher is blue."), purpose="assistants")
    store = await client.vector_stores.create(name="one")
    await client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
    tools, resources = OpenAIAssistantAgent.configure_file_search_tool(vector_store_ids=store.id)
    agent = await begin(client, tools=tools, tool_resources=resources)
    message = (await agent.get_response(messages="search kingfisher")).message
    [cited] = [item for item in message.items if isinstance(item, AnnotationContent)]
    assert message.content[cited.start_index : cited.end_index] == cited.quote
    [heard] = await noted(agent, "search kingfisher", StreamingAnnotationContent)
    assert (heard.file_id, heard.quote) == (cited.file_id, cited.quote)
    return {"answer": message.content, "cited": (await client.files.retrieve(str(cited.file_id))).filename}


async def main(url: str, name: str) -> None:
    conversation = {"chat": chat, "function": function, "code": code, "search": search}[name]
    async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0, timeout=30) as client:
        print(json.dumps(await conversation(client)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
