"""Runs as a client that streams sees them: every event, in the documented order."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from openai import AssistantEventHandler, NotFoundError, OpenAI
from typing_extensions import override

from tests.runs.conftest import PRICES, Server, assistant, let_go, server_in, texts, thread, wait_until
from tests.support.endpoint import Answer, Endpoint

BEGINNING = ["thread.run.created", "thread.run.queued", "thread.run.in_progress"]
MESSAGE = [
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
    "thread.message.delta",
    "thread.message.completed",
    "thread.run.step.completed",
]
CALLS = ["thread.run.step.created", "thread.run.step.in_progress", "thread.run.step.delta"]


def names(stream: Any) -> list[str]:
    """Names of events; several pieces in a row count once."""
    found: list[str] = []
    for event in stream:
        if not (event.event.endswith(".delta") and found and found[-1] == event.event):
            found.append(event.event)
    return found


def test_a_message_comes_in_the_documented_order(client: OpenAI) -> None:
    talk = thread(client, "say one two three")
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=assistant(client)) as stream:
        assert names(stream) == [*BEGINNING, *MESSAGE, "thread.run.completed"]
        [message] = stream.get_final_messages()

    [stored] = client.beta.threads.messages.list(talk, run_id=stream.get_final_run().id)
    assert (message.content, message.status) == (stored.content, "completed")


def test_a_thread_that_is_made_with_its_run_is_told_first(client: OpenAI) -> None:
    with client.beta.threads.create_and_run_stream(
        assistant_id=assistant(client), thread={"messages": [{"role": "user", "content": "say hi"}]}
    ) as stream:
        assert names(stream) == ["thread.created", *BEGINNING, *MESSAGE, "thread.run.completed"]


def test_no_text_ends_a_line_of_the_stream(client: OpenAI, server: Server) -> None:
    """Many clients end lines where Python's `splitlines` does."""
    said = "one\u0085two\u2028three\u2029four\x1cfive\r\nsix"
    body = {"assistant_id": assistant(client), "stream": True}
    answer = httpx2.post(f"{server.url}/threads/{thread(client, f'say {said}')}/runs", json=body, timeout=30)

    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if not line.startswith("event: ")]
    objects = [json.loads(line) for line in data if line and line != "[DONE]"]
    [message] = [each for each in objects if each["object"] == "thread.message" and each["status"] == "completed"]
    assert message["content"][0]["text"]["value"] == said


class Cashier(AssistantEventHandler):
    """Notes what it is told of calls, and answers them."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[str, str]] = []
        self.said = ""

    @override
    def on_tool_call_done(self, tool_call: Any) -> None:
        self.called.append((tool_call.function.name, tool_call.function.arguments))

    @override
    def on_text_done(self, text: Any) -> None:
        self.said = text.value


def test_functions_are_called_and_answered_in_two_streams(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price weight")
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as stream:
        assert names(stream) == [*BEGINNING, *CALLS, "thread.run.requires_action"]
        [step] = stream.get_final_run_steps()
    run = cast(Any, stream.current_run)
    calls = run.required_action.submit_tool_outputs.tool_calls
    shown = cast(Any, step.step_details).tool_calls
    assert [(call.id, call.function.name) for call in shown] == [(call.id, call.function.name) for call in calls]

    outputs = [{"tool_call_id": call.id, "output": call.function.name} for call in calls]
    with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=talk, tool_outputs=cast(Any, outputs)
    ) as stream:
        told = ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]
        assert names(stream) == [*told, *MESSAGE, "thread.run.completed"]
    assert texts(client, talk)[-1] == "the results: price, weight"


def test_the_clients_own_handler_puts_all_of_it_together(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    cashier = Cashier()
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made, event_handler=cashier) as stream:
        stream.until_done()
    assert cashier.called == [("price", '{"of": "pens"}')]

    run = cast(Any, stream.current_run)
    [call] = run.required_action.submit_tool_outputs.tool_calls
    second = Cashier()
    with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id,
        thread_id=talk,
        tool_outputs=[{"tool_call_id": call.id, "output": "7"}],
        event_handler=second,
    ) as stream:
        stream.until_done()
    assert second.said == "the results: 7"


def test_outputs_that_come_at_once_are_not_lost(client: OpenAI) -> None:
    made = assistant(client, *PRICES)
    for _ in range(10):
        talk = thread(client, "call price")
        with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as stream:
            run = next(event.data for event in stream if event.event == "thread.run.requires_action")
            [call] = cast(Any, run.required_action).submit_tool_outputs.tool_calls
            given: Any = {"tool_call_id": call.id, "output": "7"}
            client.beta.threads.runs.submit_tool_outputs(run_id=run.id, thread_id=talk, tool_outputs=[given])
        assert client.beta.threads.runs.poll(run.id, thread_id=talk).status == "completed"


def test_a_failed_run_says_so_in_its_last_event(client: OpenAI) -> None:
    talk = thread(client, "refuse")
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=assistant(client)) as stream:
        assert names(stream) == [*BEGINNING, "thread.run.failed"]


def test_a_run_that_is_cancelled_says_so_in_its_stream(client: OpenAI, endpoint: Endpoint) -> None:
    talk, before = thread(client, "wait 20"), len(endpoint.requests)
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=assistant(client)) as stream:
        found: list[str] = []
        for event in stream:
            found.append(event.event)
            if event.event == "thread.run.in_progress":
                wait_until(lambda: len(endpoint.requests) > before)
                client.beta.threads.runs.cancel(event.data.id, thread_id=talk)
    assert found == [*BEGINNING, "thread.run.cancelling", "thread.run.cancelled"]


def test_an_answer_that_is_cancelled_keeps_all_that_had_come(client: OpenAI) -> None:
    talk = thread(client, "stall these are the words of an answer that never comes to its end")
    run_id, heard = "", ""
    for event in client.beta.threads.runs.create(talk, assistant_id=assistant(client), stream=True):
        if event.event == "thread.run.in_progress":
            run_id = event.data.id
        elif event.event == "thread.message.delta":
            if not heard:
                client.beta.threads.runs.cancel(run_id, thread_id=talk)
            heard += cast(Any, event.data).delta.content[0].text.value

    assert 0 < len(heard) < 62
    message = client.beta.threads.messages.list(talk).data[0]
    assert (message.status, cast(Any, message.content[0]).text.value) == ("incomplete", heard)


def test_an_answer_that_breaks_off_and_is_asked_for_again_is_another_message(tmp_path: Path) -> None:
    answers = [Answer("the first attempt at it, which breaks off", fault="cut_body"), Answer("the second")]
    with Endpoint(answers) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        talk, heard = thread(client, "hi"), dict[str, str]()
        with client.beta.threads.runs.stream(thread_id=talk, assistant_id=assistant(client)) as stream:
            for event in stream:
                if event.event == "thread.message.delta":
                    piece = cast(Any, event.data).delta.content[0].text.value
                    heard[event.data.id] = heard.get(event.data.id, "") + piece
        assert stream.get_final_run().status == "completed"
        kept = client.beta.threads.messages.list(talk, order="asc").data[1:]

    assert [message.status for message in kept] == ["incomplete", "completed"]
    assert [cast(Any, message.content[0]).text.value for message in kept] == list(heard.values())
    assert list(heard.values())[1] == "the second"


def test_a_client_that_goes_away_does_not_lose_its_run(client: OpenAI, endpoint: Endpoint) -> None:
    talk = thread(client, "hold until it is gone")
    stream = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client), stream=True)
    run = next(iter(stream)).data
    stream.close()
    let_go("until it is gone")

    found = client.beta.threads.runs.poll(cast(Any, run).id, thread_id=talk)

    assert (found.status, texts(client, talk)) == ("completed", ["hold until it is gone", "held"])


def test_a_client_that_lost_its_stream_follows_again(client: OpenAI, endpoint: Endpoint) -> None:
    talk, before = thread(client, "hold until it follows"), len(endpoint.requests)
    run = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client))
    wait_until(lambda: len(endpoint.requests) > before)
    url = f"{client.base_url}threads/{talk}/runs/{run.id}?stream=true"
    for expected in (["thread.run.in_progress", *MESSAGE, "thread.run.completed"], ["thread.run.completed"]):
        with httpx2.stream("GET", url, timeout=30) as stream:
            let_go("until it follows")
            lines = list(stream.iter_lines())
        assert [line[7:] for line in lines if line.startswith("event: ")] == [*expected, "done"]


def test_a_thread_that_is_deleted_takes_its_runs_and_their_sessions_with_it(client: OpenAI, server: Server) -> None:
    talk = thread(client, "wait 20")
    run = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client))
    wait_until(lambda: run.id in server.agent("sessions", "list", "--json").out)
    client.beta.threads.delete(talk)

    assert run.id not in server.agent("sessions", "list", "--json").out
    with pytest.raises(NotFoundError):
        client.beta.threads.runs.retrieve(run.id, thread_id=talk)


def test_a_server_that_is_killed_goes_on_with_its_runs(client: OpenAI, server: Server) -> None:
    endpoint = server.endpoint
    made, before = assistant(client, *PRICES), len(endpoint.requests)
    waiting = thread(client, "call price")
    asked = client.beta.threads.runs.create_and_poll(thread_id=waiting, assistant_id=made)
    busy = [thread(client, "hold on") for _ in range(3)]
    runs = [client.beta.threads.runs.create(thread_id=talk, assistant_id=made) for talk in busy]
    wait_until(lambda: len(endpoint.requests) >= before + 4)
    server.kill()
    time.sleep(0.1)
    server.start()
    let_go("on")
    with server.client() as again:
        ended = [again.beta.threads.runs.poll(run.id, thread_id=run.thread_id) for run in runs]
        [call] = cast(Any, asked.required_action).submit_tool_outputs.tool_calls
        given: Any = {"tool_call_id": call.id, "output": "7"}
        submit = again.beta.threads.runs.submit_tool_outputs_and_poll
        done = submit(run_id=asked.id, thread_id=waiting, tool_outputs=[given])

        assert [run.status for run in ended] == ["completed"] * 3
        assert [texts(again, talk) for talk in busy] == [["hold on", "held"]] * 3
        assert (done.status, texts(again, waiting)[-1]) == ("completed", "the results: 7")
    # What was on its way when the server was killed is asked again; what had been answered is not.
    assert len(endpoint.requests) == before + 1 + 3 + 3 + 1
