"""What of an assistant and a run reaches the model, and in whose words."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

from typing import Any, cast

import pytest
from openai import OpenAI

from tests.runs.conftest import PRICES, assistant, texts, thread
from tests.support.endpoint import Endpoint

SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
NAMED: Any = {"type": "function", "function": {"name": "price"}}
SEARCH: Any = {"type": "file_search"}


def asked(client: OpenAI, endpoint: Endpoint, *tools: Any, of_assistant: Any = None, **of_run: Any) -> dict[str, Any]:
    """The first request to the model of a run with these settings."""
    before = len(endpoint.requests)
    made = assistant(client, *tools, **(of_assistant or {}))
    run = client.beta.threads.runs.create_and_poll(thread_id=thread(client, "hi"), assistant_id=made, **of_run)
    assert run.status == "completed", run.last_error
    return endpoint.requests[before].json


@pytest.mark.parametrize(
    "told",
    [
        {"temperature": 0.25, "top_p": 0.5},
        {"response_format": {"type": "json_object"}},
        {"response_format": SCHEMA},
        {"reasoning_effort": "low"},
    ],
    ids=["sampling", "object", "schema", "effort"],
)
def test_what_an_assistant_says_goes_to_its_model(client: OpenAI, endpoint: Endpoint, told: dict[str, Any]) -> None:
    sent = asked(client, endpoint, of_assistant=told)

    assert {name: sent[name] for name in told} == told


def test_what_a_run_says_goes_in_place_of_what_its_assistant_does(client: OpenAI, endpoint: Endpoint) -> None:
    usual: Any = {"temperature": 0.25, "top_p": 0.5, "response_format": SCHEMA, "instructions": "Be long."}
    said: Any = {
        "temperature": 0.75,
        "response_format": {"type": "text"},
        "instructions": "Be brief.",
        "model": "other",
    }
    sent = asked(client, endpoint, *PRICES, of_assistant=usual, tools=[], **said)

    assert (sent["temperature"], sent["top_p"], sent["model"]) == (0.75, 0.5, "other")
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert not {"tools", "response_format"} & set(sent)


def test_what_nobody_said_is_left_to_the_model(client: OpenAI, endpoint: Endpoint) -> None:
    sent = asked(client, endpoint, *PRICES)

    left = {"temperature", "top_p", "response_format", "reasoning_effort", "tool_choice", "parallel_tool_calls"}
    assert not left & set(sent)
    assert [message["role"] for message in sent["messages"]] == ["user"]


@pytest.mark.parametrize("choice", ["none", "required", NAMED, SEARCH], ids=["none", "required", "function", "search"])
def test_the_tool_that_a_run_chooses_is_the_one_that_its_model_must_call(
    client: OpenAI, endpoint: Endpoint, choice: Any
) -> None:
    sent = asked(client, endpoint, *PRICES, SEARCH, tool_choice=choice)

    search = {"type": "function", "function": {"name": "file_search"}}
    assert sent["tool_choice"] == (search if choice == SEARCH else choice)
    assert {tool["function"]["name"] for tool in sent["tools"]} == {"price", "weight", "file_search"}


def test_messages_of_a_run_are_in_the_thread_before_it_begins(client: OpenAI, endpoint: Endpoint) -> None:
    file = client.files.create(file=("a.md", b"The kingfisher is blue."), purpose="assistants")
    more: Any = [
        {"role": "assistant", "content": "What about it?", "metadata": {"kept": "yes"}},
        {"role": "user", "content": "search kingfisher", "attachments": [{"file_id": file.id, "tools": [SEARCH]}]},
    ]
    talk = thread(client, "hello")
    run = client.beta.threads.runs.create_and_poll(
        thread_id=talk, assistant_id=assistant(client, SEARCH), additional_messages=more
    )

    assert run.status == "completed", run.last_error
    assert texts(client, talk)[:3] == ["hello", "What about it?", "search kingfisher"]
    listed = client.beta.threads.messages.list(talk, order="asc").data
    assert (listed[1].metadata, [message.run_id for message in listed[:3]]) == ({"kept": "yes"}, [None] * 3)
    [citation] = cast(Any, listed[3].content[0]).text.annotations
    assert citation.file_citation.file_id == file.id


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, 3),
        ({"max_num_results": 2}, 2),
        ({"ranking_options": {"score_threshold": 1.0}}, 0),
        ({"max_num_results": 1, "ranking_options": {"score_threshold": 0.0, "ranker": "default_2024_08_21"}}, 1),
    ],
)
def test_a_search_finds_as_much_as_the_tool_says(client: OpenAI, options: dict[str, Any], found: int) -> None:
    ids = [
        client.files.create(file=(f"{n}.md", f"The kingfisher {n} is blue.".encode()), purpose="assistants").id
        for n in range(3)
    ]
    store = client.vector_stores.create()
    client.vector_stores.file_batches.create_and_poll(store.id, file_ids=ids)
    tool = {"type": "file_search", "file_search": options}
    made = assistant(client, tool, tool_resources={"file_search": {"vector_store_ids": [store.id]}})
    talk = thread(client, "search kingfisher")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    steps = client.beta.threads.runs.steps.list(run.id, thread_id=talk, order="asc")

    [call] = cast(Any, next(iter(steps)).step_details).tool_calls
    threshold = options.get("ranking_options", {}).get("score_threshold", 0.0)
    assert len(call.file_search.results) == found
    assert call.file_search.ranking_options.score_threshold == threshold
    assert all(result.score >= threshold for result in call.file_search.results)
