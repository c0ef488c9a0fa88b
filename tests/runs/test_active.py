"""Runs on a thread that has one already: refused, waiting, or in its place."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import threading
import time

import pytest
from openai import BadRequestError, OpenAI

from tests.runs.conftest import PRICES, Server, assistant, let_go, texts, thread
from tests.support.endpoint import Endpoint


def test_an_active_run_keeps_its_thread_from_messages_and_other_runs(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)

    with pytest.raises(BadRequestError, match=f"Can't add messages to {talk} while a run {run.id} is active."):
        client.beta.threads.messages.create(talk, role="user", content="more")
    with pytest.raises(BadRequestError, match=f"Thread {talk} already has an active run {run.id}."):
        client.beta.threads.runs.create(thread_id=talk, assistant_id=made)


def test_a_second_run_waits_for_the_first_where_that_is_wanted(client: OpenAI) -> None:
    made, talk = assistant(client), thread(client, "hold first")
    first = client.beta.threads.runs.create(thread_id=talk, assistant_id=made)
    second = client.beta.threads.runs.create(thread_id=talk, assistant_id=made, extra_body={"on_active_run": "queue"})
    assert client.beta.threads.runs.retrieve(second.id, thread_id=talk).status == "queued"
    let_go("first")

    second = client.beta.threads.runs.poll(second.id, thread_id=talk)

    assert second.status == "completed"
    assert client.beta.threads.runs.retrieve(first.id, thread_id=talk).status == "completed"
    assert texts(client, talk) == ["hold first", "held", "held"]


def test_what_comes_with_a_run_that_waits_is_read_after_what_it_waited_for(client: OpenAI, endpoint: Endpoint) -> None:
    made, talk = assistant(client), thread(client, "hold the answer")
    client.beta.threads.runs.create(thread_id=talk, assistant_id=made)
    for text in ("say second", "say third"):
        last = client.beta.threads.runs.create(
            thread_id=talk,
            assistant_id=made,
            additional_messages=[{"role": "user", "content": text}],
            extra_body={"on_active_run": "queue"},
        )
    let_go("the answer")
    assert client.beta.threads.runs.poll(last.id, thread_id=talk).status == "completed"

    read = [message["content"] for message in endpoint.requests[-1].json["messages"] if message["role"] != "system"]
    assert read == ["hold the answer", "held", "say second", "second", "say third"]


def test_a_second_run_cancels_the_first_where_that_is_wanted(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    first = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    second = client.beta.threads.runs.create_and_poll(
        thread_id=talk, assistant_id=made, extra_body={"on_active_run": "cancel"}
    )

    assert second.status == "requires_action"
    assert client.beta.threads.runs.retrieve(first.id, thread_id=talk).status == "cancelled"


def test_of_runs_that_each_want_the_others_cancelled_the_last_one_goes_on(client: OpenAI) -> None:
    """Also where the one before is not yet cancelled, or waits for that."""
    made, talk = assistant(client), thread(client, "hold until the last")
    runs = client.beta.threads.runs
    made_runs = [
        runs.create(thread_id=talk, assistant_id=made, extra_body={"on_active_run": how})
        for how in ("error", "queue", "cancel", "cancel", "cancel")
    ]
    let_go("until the last")

    assert runs.poll(made_runs[-1].id, thread_id=talk).status == "completed"
    assert [run.status for run in runs.list(talk, order="asc")] == ["cancelled"] * 4 + ["completed"]
    assert texts(client, talk) == ["hold until the last", "held"]


def test_a_run_that_ends_while_it_is_to_be_cancelled_for_another_does_no_harm(client: OpenAI) -> None:
    made = assistant(client)
    for hundredths in range(8):
        talk = thread(client, "wait 0.05")
        first = client.beta.threads.runs.create(thread_id=talk, assistant_id=made)
        time.sleep(0.04 + hundredths / 100)
        second = client.beta.threads.runs.create_and_poll(
            thread_id=talk, assistant_id=made, extra_body={"on_active_run": "cancel"}
        )
        first = client.beta.threads.runs.retrieve(first.id, thread_id=talk)
        assert (second.status, first.status in ("completed", "cancelled")) == ("completed", True)


def write_fifteen(client: OpenAI, talk: str, refused: list[str]) -> None:
    for number in range(15):
        try:
            client.beta.threads.messages.create(talk, role="user", content=f"and {number}")
        except BadRequestError as error:
            refused.append(str(error))


def test_what_another_client_says_meanwhile_is_seen_by_the_run_or_refused(client: OpenAI, server: Server) -> None:
    made = assistant(client)
    other = server.client()
    for _ in range(4):
        talk, refused = thread(client, "hello"), list[str]()

        writer = threading.Thread(target=write_fifteen, args=(other, talk, refused))
        writer.start()
        time.sleep(0.02)
        run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
        writer.join(30)
        said = texts(client, talk)
        answer = next(index for index, text in enumerate(said) if text.endswith(" messages"))

        assert said[answer] == f"{answer} messages"
        assert len(said) + len(refused) == 1 + 15 + 1
        assert all(f"while a run {run.id} is active" in error for error in refused)
