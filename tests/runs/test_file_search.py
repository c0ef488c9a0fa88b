"""File search: passages of the run's stores, and citations that fit the text."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from openai import OpenAI

from tests.runs.conftest import JSON, PRICES, assistant, server_in, texts, thread
from tests.support.endpoint import Answer, Endpoint

SEARCH = {"type": "file_search"}
CONTENT: Any = "step_details.tool_calls[*].file_search.results[*].content"


def stored(client: OpenAI, name: str, text: str) -> tuple[str, str]:
    """A vector store with this file, and the file."""
    file = client.files.create(file=(name, text.encode()), purpose="assistants")
    store = client.vector_stores.create(name="s", file_ids=[file.id])
    client.vector_stores.files.poll(file.id, vector_store_id=store.id)
    return store.id, file.id


def ask(client: OpenAI, store_id: str, question: str) -> tuple[str, Any, Any]:
    """The thread, the run, and the call of its first step."""
    made = assistant(client, SEARCH, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
    talk = thread(client, question)
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    steps = client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc", include=[CONTENT])
    [call] = cast(Any, next(iter(steps)).step_details).tool_calls
    return talk, run, call


def said(endpoint: Endpoint) -> list[JSON]:
    """What stands in the last request, but for its instructions."""
    return [message for message in endpoint.requests[-1].json["messages"] if message["role"] != "system"]


def test_an_answer_cites_the_passage_that_it_rests_on(client: OpenAI) -> None:
    store_id, file_id = stored(client, "birds.md", "The kingfisher is blue. Its beak is long.")
    talk, run, call = ask(client, store_id, "search kingfisher")

    assert run.status == "completed"
    [result] = call.file_search.results
    assert (result.file_id, result.file_name, "kingfisher" in result.content[0].text) == (file_id, "birds.md", True)
    assert 0 <= result.score <= 1
    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    text = cast(Any, message.content)[0].text
    [citation] = text.annotations
    assert text.value[citation.start_index : citation.end_index] == citation.text
    assert citation.text.startswith("【")
    assert (citation.file_citation.file_id, "kingfisher" in citation.file_citation.quote) == (file_id, True)


def test_passages_are_told_only_to_who_asks_for_them(client: OpenAI) -> None:
    store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
    talk, run, _ = ask(client, store_id, "search kingfisher")

    [called, _] = client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc")
    [call] = cast(Any, called.step_details).tool_calls
    assert [one.content for one in call.file_search.results] == [None]


@pytest.mark.parametrize("include", [[], [CONTENT]], ids=["not asked for", "asked for"])
def test_passages_are_streamed_only_to_who_asks_for_them(client: OpenAI, include: Any) -> None:
    store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
    made = assistant(client, SEARCH, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
    talk = thread(client, "search kingfisher")
    told: list[Any] = []  # the deltas of searches have no model in the client
    for event in client.beta.threads.runs.create(talk, assistant_id=made, stream=True, include=include):
        if event.event == "thread.run.step.delta":
            told += [event.data.to_dict()["delta"]]
        elif event.event == "thread.run.step.completed" and event.data.type == "tool_calls":
            told += [event.data.to_dict()]

    searches = [call["file_search"] for step in told for call in step["step_details"]["tool_calls"]]
    seen = ["content" in result for search in searches for result in search.get("results", [])]
    assert seen == [bool(include)] * 2
    [run] = client.beta.threads.runs.list(talk)
    [called, _] = client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc", include=[CONTENT])
    assert cast(Any, called.step_details).tool_calls[0].file_search.results[0].content


def test_an_attachment_of_the_thread_is_searched_too(client: OpenAI) -> None:
    file = client.files.create(file=("fish.txt", b"The herring is silver."), purpose="assistants")
    attached: Any = {"file_id": file.id, "tools": [SEARCH]}
    first: Any = {"role": "user", "content": "search herring", "attachments": [attached]}
    talk = client.beta.threads.create(messages=[first]).id

    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client, SEARCH))

    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    [citation] = cast(Any, message.content)[0].text.annotations
    assert citation.file_citation.file_id == file.id


def test_a_later_run_sees_what_an_earlier_one_searched_and_found(client: OpenAI, endpoint: Endpoint) -> None:
    store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
    talk, first, _ = ask(client, store_id, "search kingfisher")
    client.beta.threads.messages.create(talk, role="user", content="and now")
    made = first.assistant_id
    client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    _, call, found, *_ = said(endpoint)

    assert call["tool_calls"][0]["function"] == {"name": "file_search", "arguments": '{"query": "kingfisher"}'}
    assert found["tool_call_id"] == call["tool_calls"][0]["id"]
    assert found["content"] == "birds.md\nThe kingfisher is blue."

    client.beta.threads.messages.create(talk, role="user", content="only this")
    client.beta.threads.runs.create_and_poll(
        thread_id=talk, assistant_id=made, truncation_strategy={"type": "last_messages", "last_messages": 1}
    )
    assert [message["content"] for message in said(endpoint)] == ["only this"]


def test_a_later_run_has_other_marks_so_that_no_repeated_one_stands_for_another_passage(client: OpenAI) -> None:
    store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
    made = assistant(client, SEARCH, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
    talk = thread(client, "search kingfisher")
    marks: list[str] = []
    for _ in range(3):
        run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
        [message] = client.beta.threads.messages.list(talk, run_id=run.id)
        [citation] = cast(Any, message.content)[0].text.annotations
        marks.append(citation.text)
        client.beta.threads.messages.create(talk, role="user", content="search kingfisher")

    # The model says 【99:9†source】 each time, and nobody found that.
    assert marks == ["【1:0†source】", "【100:0†source】", "【101:0†source】"]


def test_nothing_found_is_said_and_not_cited(client: OpenAI) -> None:
    store = client.vector_stores.create(name="empty")
    talk, run, call = ask(client, store.id, "search unicorn")

    assert (run.status, call.file_search.results) == ("completed", [])
    assert texts(client, talk)[-1] == "the results: Nothing was found. Try other words."


def test_without_stores_nothing_is_searched_and_no_file_of_others_is_found(client: OpenAI) -> None:
    stored(client, "other.md", "The kingfisher is blue.")
    talk = thread(client, "search kingfisher")
    client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client, SEARCH))

    assert texts(client, talk)[-1] == "the results: The user gave no files to search."


def test_citations_come_by_stream_too(client: OpenAI) -> None:
    store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
    made = assistant(client, SEARCH, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
    talk = thread(client, "search kingfisher")
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as stream:
        stream.until_done()

    [message] = stream.get_final_messages()
    [kept] = client.beta.threads.messages.list(talk, run_id=stream.get_final_run().id)
    assert len(cast(Any, message.content)[0].text.annotations) == 1
    assert message.content == kept.content


def test_an_annotation_comes_with_the_end_of_its_text(client: OpenAI) -> None:
    """There are clients that look for annotations only in pieces that have text."""
    store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
    made = assistant(client, SEARCH, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
    talk = thread(client, "search kingfisher")
    events = client.beta.threads.runs.create(talk, assistant_id=made, stream=True)
    deltas = [cast(Any, one.data).delta.content[0].text for one in events if one.event == "thread.message.delta"]

    assert "".join(delta.value for delta in deltas) == texts(client, talk)[-1]
    assert [len(delta.annotations) for delta in deltas] == [0] * (len(deltas) - 1) + [1]
    assert all(delta.value for delta in deltas)


def test_after_a_search_no_function_is_called_where_calls_come_one_at_a_time(tmp_path: Path) -> None:
    def searches_and_asks(request: JSON) -> Answer:
        if any(message["role"] == "tool" for message in request["messages"]):
            return Answer("found it")
        return Answer(calls=(("file_search", {"query": "kingfisher"}), ("price", {"of": "pens"})))

    with Endpoint(searches_and_asks) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        store_id, _ = stored(client, "birds.md", "The kingfisher is blue.")
        made = assistant(client, SEARCH, *PRICES, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
        run = client.beta.threads.runs.create_and_poll(
            thread_id=thread(client, "go"), assistant_id=made, parallel_tool_calls=False
        )

        assert run.status == "completed"
        found, refused = endpoint.requests[-1].json["messages"][-2:]
        assert ("kingfisher" in found["content"], refused["content"][:17]) == (True, "Not carried out: ")
        assert server.agent("replay", run.id).code == 0
