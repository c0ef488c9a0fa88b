"""Conversations through the official Python client, old or new, polled and heard by event handlers.

python official_client.py URL chat|function|code|search
"""

import asyncio
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from openai import AssistantEventHandler, AsyncAssistantEventHandler, AsyncOpenAI, OpenAI

warnings.simplefilter("ignore")  # The client warns that what it calls is gone.
CELL = (Path(__file__).parent / "cell.py.txt").read_text()
PRICE = {"name": "price", "parameters": {"type": "object", "properties": {"of": {"type": "string"}}}}


class Listener(AssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.heard, self.called = "", list[str]()

    def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        self.heard += delta.value or ""
        assert snapshot.value == self.heard

    def on_tool_call_done(self, tool_call: Any) -> None:
        self.called.append(tool_call.type)


class AsyncListener(AsyncAssistantEventHandler):
    def __init__(self) -> None:
        super().__init__()
        self.heard = ""

    async def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        self.heard += delta.value or ""


def begin(client: Any, question: str, **more: Any) -> dict[str, str]:
    made = client.beta.assistants.create(model="any", instructions="Be brief.", **more)
    thread = client.beta.threads.create(messages=[{"role": "user", "content": question}])
    return {"assistant_id": made.id, "thread_id": thread.id}


def said(client: Any, run: Any) -> Any:
    [message] = client.beta.threads.messages.list(run.thread_id, run_id=run.id)
    return message


def chat(client: Any) -> Any:
    both = begin(client, "say hello")
    first = client.beta.threads.runs.create_and_poll(**both)
    client.beta.threads.messages.create(first.thread_id, role="user", content="how many")
    listener = Listener()
    with client.beta.threads.runs.stream(**both, event_handler=listener) as stream:
        stream.until_done()
    return [said(client, first).content[0].text.value, listener.heard]


def outputs(run: Any) -> Any:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [
        {"tool_call_id": call.id, "output": f"{json.loads(call.function.arguments)['of']} cost 42"} for call in calls
    ]


async def submitted(url: str, run: Any) -> str:
    """What an asynchronous client hears, in another place than the one that began."""
    listener = AsyncListener()
    async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0, timeout=30) as client:
        about = {"run_id": run.id, "thread_id": run.thread_id, "tool_outputs": outputs(run)}
        async with client.beta.threads.runs.submit_tool_outputs_stream(**about, event_handler=listener) as stream:
            await stream.until_done()
    return listener.heard


def function(client: Any) -> Any:
    both = begin(client, "call price", tools=[{"type": "function", "function": PRICE}])
    with client.beta.threads.runs.stream(**both) as stream:
        stream.until_done()
        run = stream.current_run
    return asyncio.run(submitted(str(client.base_url), run))


def code(client: Any) -> Any:
    file = client.files.create(file=("n.csv", b"n\n20\n22\n"), purpose="assistants")
    tool, listener = {"type": "code_interpreter"}, Listener()
    both = begin(client, f"run {CELL}", tools=[tool], tool_resources={"code_interpreter": {"file_ids": [file.id]}})
    with client.beta.threads.runs.stream(**both, event_handler=listener) as stream:
        stream.until_done()
        run = stream.get_final_run()
    assert "code_interpreter" in listener.called
    image, text = said(client, run).content
    assert text.text.value == listener.heard
    [link] = text.text.annotations
    [called, *_] = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc")
    return {
        "answer": listener.heard,
        "logs": called.step_details.tool_calls[0].code_interpreter.outputs[0].logs,
        "file": client.files.content(link.file_path.file_id).text,
        "image": client.files.content(image.image_file.file_id).content[1:4].decode(),
    }


def search(client: Any) -> Any:
    stores = client.vector_stores if hasattr(client, "vector_stores") else client.beta.vector_stores
    store = stores.create(name="one")
    stores.files.upload_and_poll(vector_store_id=store.id, file=("birds.md", b"The kingfisher is blue."))
    resources = {"file_search": {"vector_store_ids": [store.id]}}
    both = begin(client, "search kingfisher", tools=[{"type": "file_search"}], tool_resources=resources)
    text = said(client, client.beta.threads.runs.create_and_poll(**both)).content[0].text
    [cited] = text.annotations
    assert text.value[cited.start_index : cited.end_index] == cited.text
    return {"answer": text.value, "cited": client.files.retrieve(cited.file_citation.file_id).filename}


if __name__ == "__main__":
    url, name = sys.argv[1:]
    conversation = {"chat": chat, "function": function, "code": code, "search": search}[name]
    with OpenAI(base_url=url, api_key="x", max_retries=0, timeout=30, _strict_response_validation=True) as opened:
        print(json.dumps(conversation(opened)))
