"""Calls every method that the official Python client has for assistants, threads, stores and files; any of its forms.

    python surface.py URL sync|async|azure

It needs nothing but the client, old or new. Every answer is checked against the client's own models; at the end
it prints which methods exist and were not called.
"""

import asyncio
import json
import sys
import warnings
from typing import Any

import openai
from noting import Noted, every, everything, followed, the

warnings.simplefilter("ignore")  # The client warns that what it calls is gone.
FUNCTION = {"type": "function", "function": {"name": "price", "parameters": {"type": "object", "properties": {}}}}
CONTENT = "step_details.tool_calls[*].file_search.results[*].content"


def says(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def outputs(run: Any) -> dict[str, Any]:
    [call] = run.required_action.submit_tool_outputs.tool_calls
    output = {"tool_call_id": call.id, "output": "42"}
    return {"run_id": run.id, "thread_id": run.thread_id, "tool_outputs": [output]}


async def assistants(client: Any) -> None:
    room = client.beta.assistants
    made = await the(room.create(model="any", name="one", tools=[FUNCTION], metadata={"a": "b"}))
    assert (await the(room.update(made.id, name="two"))).name == "two"
    assert (await the(room.retrieve(made.id))).metadata == {"a": "b"}
    assert made.id in [one.id for one in await every(room.list(limit=1))]
    assert (await the(room.delete(made.id))).deleted


async def threads(client: Any) -> None:
    room = client.beta.threads
    made = await the(room.create(messages=[says("one")]))
    assert (await the(room.update(made.id, metadata={"a": "b"}))).id == made.id
    assert (await the(room.retrieve(made.id))).metadata == {"a": "b"}
    second = await the(room.messages.create(made.id, **says("two")))
    await the(room.messages.update(second.id, thread_id=made.id, metadata={"c": "d"}))
    assert (await the(room.messages.retrieve(second.id, thread_id=made.id))).metadata == {"c": "d"}
    listed = await every(room.messages.list(made.id, order="asc", limit=1))
    assert [one.content[0].text.value for one in listed] == ["one", "two"]
    assert (await the(room.messages.delete(second.id, thread_id=made.id))).deleted
    assert (await the(room.delete(made.id))).deleted


async def polled_runs(client: Any, made: str) -> None:
    room = client.beta.threads.runs
    first = await the(client.beta.threads.create_and_run(assistant_id=made, thread={"messages": [says("call price")]}))
    waiting = await the(room.poll(first.id, thread_id=first.thread_id))
    assert waiting.status == "requires_action", waiting
    again = await the(room.submit_tool_outputs(**outputs(waiting)))
    done = await the(room.poll(again.id, thread_id=again.thread_id))
    assert done.status == "completed", done
    assert done.usage.total_tokens > 0

    await the(room.update(done.id, thread_id=done.thread_id, metadata={"a": "b"}))
    assert (await the(room.retrieve(done.id, thread_id=done.thread_id))).metadata == {"a": "b"}
    steps = await every(room.steps.list(done.id, thread_id=done.thread_id, order="asc", include=[CONTENT]))
    assert [step.type for step in steps] == ["tool_calls", "message_creation"]
    step = await the(room.steps.retrieve(steps[0].id, thread_id=done.thread_id, run_id=done.id))
    assert step.step_details.tool_calls[0].function.output == "42"

    asked = {"additional_messages": [says("call price")]}
    waiting = await the(room.create_and_poll(thread_id=done.thread_id, assistant_id=made, **asked))
    assert (await the(room.submit_tool_outputs_and_poll(**outputs(waiting)))).status == "completed"
    long = await the(room.create(done.thread_id, assistant_id=made, additional_messages=[says("wait 20")]))
    assert (await the(room.cancel(long.id, thread_id=done.thread_id))).status in ("cancelling", "cancelled")
    assert (await the(room.poll(long.id, thread_id=done.thread_id))).status == "cancelled"
    assert {one.id for one in await every(room.list(done.thread_id, limit=2))} == {done.id, waiting.id, long.id}
    begun = {"messages": [says("say so")]}
    assert (await the(client.beta.threads.create_and_run_poll(assistant_id=made, thread=begun))).status == "completed"


async def streamed_runs(client: Any, made: str) -> None:
    room, begun = client.beta.threads.runs, {"messages": [says("call price")]}
    waiting = await followed(client.beta.threads.create_and_run_stream(assistant_id=made, thread=begun))
    assert waiting.status == "requires_action", waiting
    assert (await followed(room.submit_tool_outputs_stream(**outputs(waiting)))).status == "completed"
    asked = {"thread_id": waiting.thread_id, "assistant_id": made, "additional_messages": [says("say so")]}
    assert (await followed(room.stream(**asked))).status == "completed"
    assert (await followed(room.create_and_stream(**asked))).status == "completed"
    events = await every(room.create(**asked, stream=True))
    assert [events[0].event, events[-1].event] == ["thread.run.created", "thread.run.completed"]
    events = await every(client.beta.threads.create_and_run(assistant_id=made, thread=begun, stream=True))
    assert [events[0].event, events[-1].event] == ["thread.created", "thread.run.requires_action"]
    waiting = events[-1].data
    events = await every(room.submit_tool_outputs(**outputs(waiting), stream=True))
    assert [events[0].event, events[-1].event] == ["thread.run.step.completed", "thread.run.completed"]


async def files(client: Any) -> None:
    made = await the(client.files.create(file=("a.txt", b"words"), purpose="assistants"))
    assert (await the(client.files.retrieve(made.id))).bytes == 5
    assert (await the(client.files.wait_for_processing(made.id))).status == "processed"
    assert (await the(client.files.content(made.id))).content == b"words"
    assert await the(client.files.retrieve_content(made.id)) == "words"
    assert made.id in [one.id for one in await every(client.files.list(purpose="assistants"))]
    assert (await the(client.files.delete(made.id))).deleted


async def uploads(client: Any) -> None:
    about = {"filename": "b.txt", "mime_type": "text/plain", "purpose": "assistants", "bytes": 5}
    begun = await the(client.uploads.create(**about))
    part = await the(client.uploads.parts.create(begun.id, data=b"words"))
    done = await the(client.uploads.complete(begun.id, part_ids=[part.id]))
    assert (await the(client.files.content(done.file.id))).content == b"words"
    left = await the(client.uploads.create(**about))
    assert (await the(client.uploads.cancel(left.id))).status == "cancelled"
    about = {"filename": "c.txt", "mime_type": "text/plain", "purpose": "assistants", "bytes": 12}
    done = await the(client.uploads.upload_file_chunked(file=b"twelve bytes", **about, part_size=5))
    assert (await the(client.files.content(done.file.id))).content == b"twelve bytes"


async def stores(client: Any, room: Any) -> None:
    made = await the(room.create(name="one"))
    assert (await the(room.update(made.id, name="two"))).name == "two"
    file = await the(client.files.create(file=("a.txt", b"The kingfisher is blue."), purpose="assistants"))
    added = await the(room.files.create(made.id, file_id=file.id))
    assert (await the(room.files.poll(added.id, vector_store_id=made.id))).status == "completed"
    assert (await the(room.files.retrieve(added.id, vector_store_id=made.id))).usage_bytes > 0
    assert (await the(room.files.delete(added.id, vector_store_id=made.id))).deleted
    again = await the(room.files.create_and_poll(file.id, vector_store_id=made.id))
    assert again.status == "completed", again.last_error
    sent = await the(room.files.upload(vector_store_id=made.id, file=("b.txt", b"A herring.")))
    polled = await the(room.files.upload_and_poll(vector_store_id=made.id, file=("c.txt", b"An otter.")))
    listed = await every(room.files.list(made.id, limit=1))
    assert {one.id for one in listed} == {file.id, sent.id, polled.id}
    if hasattr(room.files, "content"):
        assert [part.text for part in await every(room.files.content(file.id, vector_store_id=made.id))]
        changed = await the(room.files.update(file.id, vector_store_id=made.id, attributes={"a": 1.5}))
        assert changed.attributes == {"a": 1.5}
    if hasattr(room, "search"):
        [found] = await every(
            room.search(made.id, query="kingfisher", filters={"type": "eq", "key": "a", "value": 1.5})
        )
        assert (found.file_id, found.filename) == (file.id, "a.txt")
    assert (await the(room.retrieve(made.id))).file_counts.completed >= 2
    assert made.id in [one.id for one in await every(room.list(limit=1))]
    assert (await the(room.delete(made.id))).deleted


async def batches(client: Any, room: Any) -> None:
    store = (await the(room.create(name="many"))).id
    ids = [
        (await the(client.files.create(file=(f"{number}.txt", b"Some words."), purpose="assistants"))).id
        for number in range(3)
    ]
    made = await the(room.file_batches.create(store, file_ids=ids[:2]))
    done = await the(room.file_batches.poll(made.id, vector_store_id=store))
    assert (done.status, done.file_counts.completed) == ("completed", 2)
    assert (await the(room.file_batches.retrieve(made.id, vector_store_id=store))).file_counts.total == 2
    listed = await every(room.file_batches.list_files(made.id, vector_store_id=store, limit=1))
    assert {one.id for one in listed} == set(ids[:2])
    assert (await the(room.file_batches.create_and_poll(store, file_ids=ids[2:]))).status == "completed"
    sent = [("x.txt", b"More words."), ("y.txt", b"And more.")]
    done = await the(room.file_batches.upload_and_poll(store, files=sent, file_ids=[]))
    assert (done.status, done.file_counts.completed) == ("completed", 2)
    last = await the(room.file_batches.create(store, file_ids=ids[:1]))
    stopped = await the(room.file_batches.cancel(last.id, vector_store_id=store))
    assert stopped.status in ("cancelled", "completed")
    assert stopped.file_counts.in_progress == 0


async def models(client: Any) -> None:
    listed = await every(client.models.list())
    assert (await the(client.models.retrieve(listed[0].id))).id == listed[0].id
    try:
        await the(client.models.delete(listed[0].id))
    except openai.NotFoundError:
        return
    raise AssertionError("the server deleted a model that is not its own")


async def main(url: str, kind: str) -> None:
    options: dict[str, Any] = {"api_key": "x", "max_retries": 0, "timeout": 30, "_strict_response_validation": True}
    client: Any
    if kind == "azure":
        azure = {"azure_endpoint": url.removesuffix("/v1"), "api_version": "2024-05-01-preview"}
        client = openai.AzureOpenAI(**azure, **options)
    else:
        client = (openai.OpenAI if kind == "sync" else openai.AsyncOpenAI)(base_url=url, **options)
    called: set[str] = set()
    noted: Any = Noted(client, "", called)
    room = noted.vector_stores if hasattr(client, "vector_stores") else noted.beta.vector_stores
    made = (await the(noted.beta.assistants.create(model="any", tools=[FUNCTION]))).id
    await assistants(noted)
    await threads(noted)
    await polled_runs(noted, made)
    await streamed_runs(noted, made)
    await files(noted)
    await uploads(noted)
    await stores(noted, room)
    await batches(noted, room)
    await models(noted)
    known = everything(client)
    await the(client.close())
    print(json.dumps({"version": openai.__version__, "called": len(called), "missed": sorted(known - called)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
