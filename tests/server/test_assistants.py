"""Assistants and threads, through the official client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


def test_an_assistant_lives_from_its_creation_to_its_end(client: Any) -> None:
    assistants = client.beta.assistants
    made = assistants.create(
        model="gpt-4o",
        name="Tutor",
        instructions="Teach.",
        tools=[{"type": "code_interpreter"}, {"type": "file_search"}, TOOL],
        metadata={"team": "blue"},
    )
    assert made.id.startswith("asst_")
    assert len(made.id) == len("asst_") + 24
    assert made.tools[2].function.strict is False
    assert made.tool_resources.code_interpreter.file_ids == []
    assert (made.temperature, made.top_p, made.response_format, made.description) == (1.0, 1.0, "auto", None)
    assert assistants.retrieve(made.id) == made

    changed = assistants.update(made.id, name="Guide", metadata={})
    assert (changed.name, changed.metadata, changed.instructions) == ("Guide", {}, "Teach.")
    assert changed.tools == made.tools
    assert [each.id for each in client.everything(assistants.list())] == [made.id]

    gone = assistants.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "assistant.deleted", True)
    with pytest.raises(openai.NotFoundError, match="No assistant found with id"):
        assistants.retrieve(made.id)


def test_json_schemas_and_effort_are_kept(client: Any) -> None:
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    made = client.beta.assistants.create(
        model="o3-mini", reasoning_effort="low", response_format={"type": "json_schema", "json_schema": schema}
    )
    assert made.response_format.json_schema.name == "answer"
    assert made.reasoning_effort == "low"


def test_what_is_left_out_of_an_update_stays_and_null_is_the_default(client: Any) -> None:
    made = client.beta.assistants.create(model="m", temperature=0.2, tools=[{"type": "code_interpreter"}])
    changed = client.beta.assistants.update(made.id, temperature=None, tools=[])
    assert (changed.temperature, changed.tools) == (1.0, [])
    assert changed.tool_resources == made.tool_resources
    searching = client.beta.assistants.update(made.id, tools=[{"type": "file_search"}, {"type": "code_interpreter"}])
    assert searching.tool_resources.code_interpreter == made.tool_resources.code_interpreter
    assert searching.tool_resources.file_search.vector_store_ids == []


def test_a_thread_lives_from_its_creation_to_its_end(client: Any) -> None:
    threads = client.beta.threads
    made = threads.create(messages=[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}])
    texts = [each.content[0].text.value for each in client.everything(threads.messages.list(made.id, order="asc"))]
    assert texts == ["one", "two"]
    assert threads.update(made.id, metadata={"a": "b"}).metadata == {"a": "b"}
    assert threads.retrieve(made.id).metadata == {"a": "b"}
    assert threads.delete(made.id).object == "thread.deleted"
    with pytest.raises(openai.NotFoundError):
        threads.retrieve(made.id)


def test_an_empty_thread_has_no_resources(client: Any) -> None:
    made = client.beta.threads.create()
    assert made.metadata == {}
    assert made.tool_resources.code_interpreter is None


def test_messages_are_added_changed_and_deleted(client: Any) -> None:
    thread = client.beta.threads.create()
    messages = client.beta.threads.messages
    made = messages.create(
        thread.id,
        role="user",
        content=[
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        ],
        metadata={"a": "1"},
    )
    assert made.id.startswith("msg_")
    assert (made.status, made.role, made.run_id, made.assistant_id) == ("completed", "user", None, None)
    assert made.content[0].text.annotations == []
    assert made.content[1].image_url.detail == "low"
    assert messages.retrieve(made.id, thread_id=thread.id) == made
    assert messages.update(made.id, thread_id=thread.id, metadata={"a": "2"}).metadata == {"a": "2"}
    assert messages.delete(made.id, thread_id=thread.id).object == "thread.message.deleted"
    assert client.everything(messages.list(thread.id)) == []


def test_a_message_may_show_an_image_that_was_uploaded(client: Any) -> None:
    image = client.files.create(file=("a.png", b"\x89PNG not really"), purpose="vision")
    thread = client.beta.threads.create()
    part = {"type": "image_file", "image_file": {"file_id": image.id}}
    made = client.beta.threads.messages.create(thread.id, role="user", content=[part])
    assert made.content[0].image_file.file_id == image.id
    with pytest.raises(openai.NotFoundError, match="No such File object: file-x"):
        client.beta.threads.messages.create(
            thread.id, role="user", content=[{"type": "image_file", "image_file": {"file_id": "file-x"}}]
        )


def test_attachments_become_files_of_the_thread(client: Any) -> None:
    csv = client.files.create(file=("a.csv", b"a,b\n1,2\n"), purpose="assistants")
    text = client.files.create(file=("b.txt", b"penguins swim"), purpose="assistants")
    attachments = [
        {"file_id": csv.id, "tools": [{"type": "code_interpreter"}]},
        {"file_id": text.id, "tools": [{"type": "file_search"}, {"type": "code_interpreter"}]},
    ]
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "see", "attachments": attachments}])
    thread = client.beta.threads.retrieve(thread.id)
    assert thread.tool_resources.code_interpreter.file_ids == [csv.id, text.id]
    (store_id,) = thread.tool_resources.file_search.vector_store_ids
    store = client.vector_stores.retrieve(store_id)
    assert store.expires_after.days == 7
    (message,) = client.everything(client.beta.threads.messages.list(thread.id))
    assert message.attachments[0].file_id == csv.id


def test_stores_are_made_with_assistants_and_threads(client: Any) -> None:
    text = client.files.create(file=("b.txt", b"penguins swim"), purpose="assistants")
    described = {"file_search": {"vector_stores": [{"file_ids": [text.id], "metadata": {"x": "y"}}]}}
    assistant = client.beta.assistants.create(model="m", tools=[{"type": "file_search"}], tool_resources=described)
    thread = client.beta.threads.create(tool_resources=described)
    for owner in (assistant, thread):
        (store_id,) = owner.tool_resources.file_search.vector_store_ids
        assert client.vector_stores.retrieve(store_id).metadata == {"x": "y"}
    client.vector_stores.delete(store_id)
    assert client.beta.threads.retrieve(thread.id).tool_resources.file_search.vector_store_ids == []
