"""Every state of a run: how it is reached, and what a client that wants to cancel it is told there."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest
from openai import BadRequestError, OpenAI

from tests.runs.conftest import assistant, let_go, server_in, texts, thread, wait_until
from tests.support.endpoint import Answer, Endpoint

CODE = {"type": "code_interpreter"}


def steps_of(client: OpenAI, run: Any) -> list[Any]:
    return list(client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc"))


@pytest.mark.parametrize(
    ("said", "state"), [("say so", "completed"), ("refuse", "failed"), ("long", "incomplete"), ("wait 20", "cancelled")]
)
def test_a_run_that_is_over_cannot_be_cancelled_and_stays_what_it_was(client: OpenAI, said: str, state: str) -> None:
    talk = thread(client, said)
    runs = client.beta.threads.runs
    run = runs.create(thread_id=talk, assistant_id=assistant(client), max_completion_tokens=256)
    if state == "cancelled":
        runs.cancel(run.id, thread_id=talk)
    before = runs.poll(run.id, thread_id=talk)

    with pytest.raises(BadRequestError, match=f"Cannot cancel run with status '{state}'"):
        runs.cancel(run.id, thread_id=talk)
    assert (before.status, runs.retrieve(run.id, thread_id=talk)) == (state, before)


def test_a_run_that_is_being_cancelled_cannot_be_cancelled_again(client: OpenAI) -> None:
    made, talk = assistant(client), thread(client, "wait 20")
    runs = client.beta.threads.runs
    first = runs.create(thread_id=talk, assistant_id=made)
    second = runs.create(thread_id=talk, assistant_id=made, extra_body={"on_active_run": "queue"})
    said: list[str] = []
    for _ in range(2):
        try:
            said.append(runs.cancel(second.id, thread_id=talk).status)
        except BadRequestError as refused:
            said.append(str(cast(Any, refused.body)["message"]))

    assert said[0] == "cancelling"
    # It may have come to its end between the two.
    assert said[1] in ("Cannot cancel run with status 'cancelling'.", "Cannot cancel run with status 'cancelled'.")
    assert runs.retrieve(first.id, thread_id=talk).status == "in_progress"
    runs.cancel(first.id, thread_id=talk)


def test_a_run_that_waits_for_another_is_cancelled_alone(client: OpenAI) -> None:
    made, talk = assistant(client), thread(client, "hold the first")
    runs = client.beta.threads.runs
    first = runs.create(thread_id=talk, assistant_id=made)
    second = runs.create(thread_id=talk, assistant_id=made, extra_body={"on_active_run": "queue"})
    assert runs.retrieve(second.id, thread_id=talk).status == "queued"
    runs.cancel(second.id, thread_id=talk)

    second = runs.poll(second.id, thread_id=talk)
    let_go("the first")
    assert (second.status, second.started_at, steps_of(client, second)) == ("cancelled", None, [])
    assert second.cancelled_at is not None
    assert runs.poll(first.id, thread_id=talk).status == "completed"
    assert texts(client, talk) == ["hold the first", "held"]


@pytest.mark.usefixtures("full_sandbox")
def test_a_run_whose_code_is_running_is_cancelled_at_once_and_the_next_one_has_an_interpreter(client: OpenAI) -> None:
    made, talk = assistant(client, CODE), thread(client, "run x = 1; import time; time.sleep(60)")
    runs = client.beta.threads.runs
    run = runs.create(thread_id=talk, assistant_id=made)
    wait_until(lambda: [step.status for step in steps_of(client, run)] == ["in_progress"])
    time.sleep(0.5)  # It is told of before it runs.
    started = time.monotonic()
    runs.cancel(run.id, thread_id=talk)

    run = runs.poll(run.id, thread_id=talk)
    assert (run.status, time.monotonic() - started < 5) == ("cancelled", True)
    [step] = steps_of(client, run)
    assert (step.status, step.step_details.tool_calls[0].code_interpreter.outputs) == ("cancelled", [])
    client.beta.threads.messages.create(talk, role="user", content="run print(6 * 7)")
    again = runs.create_and_poll(thread_id=talk, assistant_id=made)
    assert again.status == "completed"
    called = steps_of(client, again)[0].step_details.tool_calls[0]
    assert [output.logs for output in called.code_interpreter.outputs] == ["42"]


def test_an_answer_that_a_filter_cut_is_incomplete_and_its_run_is_over(client: OpenAI) -> None:
    made, talk = assistant(client), thread(client, "filter these words")
    events = [event.event for event in client.beta.threads.runs.create(talk, assistant_id=made, stream=True)]

    assert events[-3:] == ["thread.message.incomplete", "thread.run.step.completed", "thread.run.completed"]
    message = client.beta.threads.messages.list(talk).data[0]
    assert (message.status, texts(client, talk)[-1]) == ("incomplete", "these words")
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "content_filter"


def test_what_was_open_when_a_run_failed_failed_with_it(tmp_path: Path) -> None:
    answers = [Answer("words of an answer that breaks off, and is not asked for again", fault="cut_body")]
    with Endpoint(answers) as endpoint, server_in(tmp_path, endpoint, AGENT_RETRIES="0") as server:
        client = server.client()
        talk, made = thread(client, "hi"), assistant(client)
        events = [event.event for event in client.beta.threads.runs.create(talk, assistant_id=made, stream=True)]
        [run] = client.beta.threads.runs.list(talk)
        [step] = steps_of(client, run)
        message = client.beta.threads.messages.list(talk).data[0]

    assert events[-3:] == ["thread.message.incomplete", "thread.run.step.failed", "thread.run.failed"]
    assert (run.failed_at is not None, step.failed_at is not None) == (True, True)
    assert run.last_error is not None
    assert (run.last_error.code, run.last_error.message) == (step.last_error.code, step.last_error.message)
    assert message.incomplete_details is not None
    assert message.incomplete_details.reason == "run_failed"
