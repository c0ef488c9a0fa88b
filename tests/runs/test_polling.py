"""Runs as a client that asks again and again sees them."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.runs.conftest import JSON, PRICES, Server, assistant, function, let_go, server_in, texts, thread, wait_until
from tests.support.endpoint import Answer, Endpoint

ACTIVE = ("queued", "in_progress")


def outputs(run: Any) -> list[Any]:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": f"{call.function.name} 7"} for call in calls]


def test_a_chat_goes_on_over_several_runs(client: OpenAI, endpoint: Endpoint) -> None:
    made, talk = assistant(client, instructions="Be brief."), thread(client, "hello")
    first = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    client.beta.threads.messages.create(talk, role="user", content="and now")
    second = client.beta.threads.runs.create_and_poll(
        thread_id=talk, assistant_id=made, additional_instructions="In French.", temperature=0.2
    )

    assert (first.status, second.status, first.usage is not None) == ("completed", "completed", True)
    assert texts(client, talk) == ["hello", "2 messages", "and now", "4 messages"]
    sent = endpoint.requests[-1].json
    assert [m["content"] for m in sent["messages"]] == ["Be brief.\n\nIn French.", "hello", "2 messages", "and now"]
    assert (sent["temperature"], "tools" in sent) == (0.2, False)


def test_the_model_of_the_run_is_asked(client: OpenAI, endpoint: Endpoint) -> None:
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread(client, "hi"), assistant_id=assistant(client), model="another"
    )

    assert (run.model, endpoint.requests[-1].json["model"]) == ("another", "another")


def test_several_functions_are_called_at_once_and_the_run_goes_on_from_their_outputs(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price weight")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    assert run.status == "requires_action"
    assert run.required_action is not None
    calls = run.required_action.submit_tool_outputs.tool_calls
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("price", '{"of": "pens"}'),
        ("weight", '{"of": "pens"}'),
    ]

    run = client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=talk, tool_outputs=outputs(run)
    )

    assert run.status == "completed"
    assert texts(client, talk)[-1] == "the results: price 7, weight 7"
    answer, called = client.beta.threads.runs.steps.list(run.id, thread_id=talk)
    assert (answer.type, called.type, called.status) == ("message_creation", "tool_calls", "completed")
    assert [call.function.output for call in called.step_details.tool_calls] == ["price 7", "weight 7"]  # pyright: ignore
    assert run.usage is not None
    assert run.usage.total_tokens == sum(step.usage.total_tokens for step in (answer, called) if step.usage)


def test_calls_come_one_at_a_time_where_that_is_wanted(client: OpenAI, endpoint: Endpoint, server: Server) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price weight price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made, parallel_tool_calls=False)
    assert run.required_action is not None
    assert [call.function.name for call in run.required_action.submit_tool_outputs.tool_calls] == ["price"]
    run = client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=talk, tool_outputs=outputs(run)
    )

    assert run.status == "completed"
    sent = endpoint.requests[-1].json
    assert sent["parallel_tool_calls"] is False
    _, answer, *told = sent["messages"]
    assert [message["tool_call_id"] for message in told] == [call["id"] for call in answer["tool_calls"]]
    refused = "Not carried out: call one tool at a time. price was the first"
    assert [message["content"][: len(refused)] for message in told] == ["price 7", refused, refused]
    _, called = client.beta.threads.runs.steps.list(run.id, thread_id=talk)
    assert [call.function.output for call in called.step_details.tool_calls] == ["price 7"]  # pyright: ignore
    assert server.agent("replay", run.id).code == 0


def test_a_model_that_never_calls_one_at_a_time_still_gets_on(tmp_path: Path) -> None:
    rounds = 12

    def insists(request: JSON) -> Answer:
        done = sum(message["role"] == "assistant" for message in request["messages"])
        if done == rounds:
            return Answer("at last")
        return Answer(calls=(("price", {"of": f"pen {done}"}), ("weight", {"of": f"pen {done}"})))

    with Endpoint(insists) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        run = client.beta.threads.runs.create_and_poll(
            thread_id=thread(client, "go"), assistant_id=assistant(client, *PRICES), parallel_tool_calls=False
        )
        for number in range(rounds):
            assert run.required_action is not None, run.last_error
            (call,) = run.required_action.submit_tool_outputs.tool_calls
            run = client.beta.threads.runs.submit_tool_outputs_and_poll(
                run_id=run.id,
                thread_id=run.thread_id,
                tool_outputs=[{"tool_call_id": call.id, "output": f"{number} $"}],
            )
        assert run.status == "completed", run.last_error


def test_a_later_run_sees_the_calls_of_an_earlier_one(client: OpenAI, endpoint: Endpoint) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    client.beta.threads.runs.submit_tool_outputs_and_poll(run_id=run.id, thread_id=talk, tool_outputs=outputs(run))
    client.beta.threads.messages.create(talk, role="user", content="again")
    client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)

    sent = endpoint.requests[-1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "user"]


def test_a_later_run_sees_what_was_said_between_calls_in_its_place(client: OpenAI, endpoint: Endpoint) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "chat price weight")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    for _ in range(2):
        given = outputs(run)
        run = client.beta.threads.runs.submit_tool_outputs_and_poll(run_id=run.id, thread_id=talk, tool_outputs=given)
    client.beta.threads.messages.create(talk, role="user", content="again")
    client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)

    sent = endpoint.requests[-1].json["messages"]
    said = [(message["role"], message["content"], len(message.get("tool_calls", []))) for message in sent]
    assert [one if one[0] != "tool" else "result" for one in said] == [
        ("user", "chat price weight", 0),
        ("assistant", "Look 0.", 1),
        "result",
        ("assistant", "Look 1.", 1),
        "result",
        ("assistant", texts(client, talk)[3], 0),
        ("user", "again", 0),
    ]


def test_nothing_is_added_to_what_a_function_takes(client: OpenAI, endpoint: Endpoint) -> None:
    client.beta.threads.runs.create_and_poll(
        thread_id=thread(client, "hi"), assistant_id=assistant(client, *PRICES), tool_choice="none"
    )

    sent = endpoint.requests[-1].json
    assert sent["tools"][0]["function"]["parameters"] == PRICES[0]["function"]["parameters"]
    assert sent["tool_choice"] == "none"


BARE: Any = [{}, {"parameters": {}}, {"parameters": {"type": "object", "properties": {"of": {"type": "string"}}}}]


@pytest.mark.parametrize("described", BARE, ids=["nothing", "empty", "nothing required"])
def test_a_function_need_not_say_what_it_takes(client: OpenAI, described: Any) -> None:
    made = assistant(client, {"type": "function", "function": {"name": "price", **described}})
    run = client.beta.threads.runs.create_and_poll(thread_id=thread(client, "call price"), assistant_id=made)

    assert run.status == "requires_action", run.last_error


def test_a_model_that_calls_what_there_is_not_is_told_what_there_is(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES, {"type": "file_search"}), thread(client, "call prize")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)

    assert run.status == "completed", run.last_error
    assert "no tool named 'prize'. The tools are: file_search, price, weight." in texts(client, talk)[-1]


def test_outputs_that_are_not_awaited_are_refused(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price weight")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    given = outputs(run)

    def submit(these: list[Any]) -> None:
        client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=talk, tool_outputs=these)

    for wrong in ([], given[:1], [*given, {"tool_call_id": "call_x", "output": "?"}]):
        with pytest.raises(BadRequestError):
            submit(wrong)
    submit(given)
    with pytest.raises(BadRequestError, match="do not accept tool outputs"):
        submit(given)


def test_a_run_that_waits_for_outputs_is_cancelled(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    assert client.beta.threads.runs.cancel(run.id, thread_id=talk).status == "cancelling"

    run = client.beta.threads.runs.poll(run.id, thread_id=talk)

    assert (run.status, run.required_action, run.expires_at) == ("cancelled", None, None)
    [step] = client.beta.threads.runs.steps.list(run.id, thread_id=talk)
    assert (step.status, step.cancelled_at is not None) == ("cancelled", True)
    with pytest.raises(BadRequestError, match="Cannot cancel run with status 'cancelled'"):
        client.beta.threads.runs.cancel(run.id, thread_id=talk)
    client.beta.threads.messages.create(talk, role="user", content="free again")


def test_a_run_whose_model_is_at_work_is_cancelled_at_once(client: OpenAI, endpoint: Endpoint) -> None:
    talk = thread(client, "wait 20")
    before = len(endpoint.requests)
    run = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client))
    wait_until(lambda: len(endpoint.requests) > before)
    started = time.monotonic()
    client.beta.threads.runs.cancel(run.id, thread_id=talk)

    run = client.beta.threads.runs.poll(run.id, thread_id=talk)

    assert (run.status, time.monotonic() - started < 5) == ("cancelled", True)


def test_a_run_is_cancelled_as_soon_as_it_is_made(client: OpenAI) -> None:
    made = assistant(client)
    for _ in range(5):
        talk, started = thread(client, "wait 20"), time.monotonic()
        run = client.beta.threads.runs.create(thread_id=talk, assistant_id=made)
        client.beta.threads.runs.cancel(run.id, thread_id=talk)
        run = client.beta.threads.runs.poll(run.id, thread_id=talk)
        assert (run.status, time.monotonic() - started < 3) == ("cancelled", True)


def test_an_endpoint_that_refuses_fails_the_run_and_frees_its_thread(client: OpenAI) -> None:
    talk = thread(client, "refuse")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client))

    assert run.status == "failed"
    assert run.last_error is not None
    assert (run.last_error.code, "I refuse" in run.last_error.message) == ("server_error", True)
    client.beta.threads.messages.create(talk, role="user", content="free again")


def test_an_answer_that_was_cut_is_incomplete(client: OpenAI) -> None:
    talk = thread(client, "long")
    run = client.beta.threads.runs.create_and_poll(
        thread_id=talk, assistant_id=assistant(client), max_completion_tokens=256
    )

    assert (run.status, run.incomplete_details and run.incomplete_details.reason) == (
        "incomplete",
        "max_completion_tokens",
    )
    [message] = client.beta.threads.messages.list(talk, run_id=run.id)
    assert (message.status, message.incomplete_details and message.incomplete_details.reason) == (
        "incomplete",
        "max_tokens",
    )


def test_a_run_whose_prompts_are_longer_than_they_may_be_is_incomplete(client: OpenAI) -> None:
    """The limit is for all prompts of the run together: the first one fits."""
    talk = thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(
        thread_id=talk, assistant_id=assistant(client, *PRICES), max_prompt_tokens=256
    )
    assert run.status == "requires_action", run.last_error
    run = client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id,
        thread_id=talk,
        tool_outputs=[{"tool_call_id": each["tool_call_id"], "output": "x" * 2_000} for each in outputs(run)],
    )

    assert (run.status, run.incomplete_details and run.incomplete_details.reason) == (
        "incomplete",
        "max_prompt_tokens",
    )
    client.beta.threads.messages.create(talk, role="user", content="free again")


def test_only_the_last_messages_are_sent_where_that_is_wanted(client: OpenAI) -> None:
    talk = thread(client, "one", "two", "three")
    client.beta.threads.runs.create_and_poll(
        thread_id=talk,
        assistant_id=assistant(client),
        truncation_strategy={"type": "last_messages", "last_messages": 2},
    )

    assert texts(client, talk)[-1] == "2 messages"


def test_a_thread_is_made_with_its_run(client: OpenAI) -> None:
    run = client.beta.threads.create_and_run_poll(
        assistant_id=assistant(client), thread={"messages": [{"role": "user", "content": "say hello"}]}
    )

    assert (run.status, texts(client, run.thread_id)) == ("completed", ["say hello", "hello"])


def test_runs_are_listed_shown_and_changed(client: OpenAI) -> None:
    made, talk = assistant(client), thread(client, "hi")
    runs = [client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made).id for _ in range(3)]
    client.beta.threads.runs.update(runs[0], thread_id=talk, metadata={"kept": "yes"})

    page = client.beta.threads.runs.list(talk, limit=2)
    assert ([run.id for run in page.data], page.has_more) == ([runs[2], runs[1]], True)
    assert [run.id for run in page] == runs[::-1]
    assert client.beta.threads.runs.retrieve(runs[0], thread_id=talk).metadata == {"kept": "yes"}


def test_runs_of_another_thread_are_not_there(client: OpenAI) -> None:
    made, talk, other = assistant(client), thread(client, "hi"), thread(client, "hi")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)

    for ask in (
        lambda: client.beta.threads.runs.retrieve(run.id, thread_id=other),
        lambda: client.beta.threads.runs.steps.list(run.id, thread_id=other),
        lambda: client.beta.threads.runs.cancel(run.id, thread_id=other),
        lambda: client.beta.threads.runs.create(thread_id=talk, assistant_id="asst_" + "x" * 24),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_requests_that_make_no_sense_are_refused(client: OpenAI) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "hi")
    wrong: list[Any] = [
        {"max_prompt_tokens": 255},
        {"max_completion_tokens": 255},
        {"tools": [function(f"f{n}") for n in range(21)]},
        {"tool_choice": {"type": "function", "function": {"name": "unknown"}}},
        {"tools": [], "tool_choice": "required"},
        {"tools": [function("python"), {"type": "code_interpreter"}]},
        {"truncation_strategy": {"type": "last_messages"}},
        {"truncation_strategy": {"type": "auto", "last_messages": 2}},
    ]
    for body in wrong:
        with pytest.raises(BadRequestError):
            client.beta.threads.runs.create(thread_id=talk, assistant_id=made, extra_body=body)
    run = client.beta.threads.runs.create_and_poll(
        thread_id=talk,
        assistant_id=made,
        max_prompt_tokens=256,
        tools=[function(f"f{n}") for n in range(20)],  # pyright: ignore
    )
    assert run.status == "completed"


def test_a_run_can_be_asked_for_again_at_once(client: OpenAI, server: Server) -> None:
    talk = thread(client, "hi")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client))
    raw = client.beta.threads.runs.with_raw_response.retrieve(run.id, thread_id=talk)

    assert int(raw.headers["openai-poll-after-ms"]) <= 100


def test_who_polls_until_the_end_is_answered_at_the_end(client: OpenAI) -> None:
    polls = {"X-Stainless-Poll-Helper": "true"}
    made, brief, long = assistant(client), thread(client, "hold a moment"), thread(client, "wait 20")
    runs = [client.beta.threads.runs.create(thread_id=talk, assistant_id=made) for talk in (brief, long)]
    assert client.beta.threads.runs.retrieve(runs[0].id, thread_id=brief).status in ACTIVE
    threading.Timer(0.3, let_go, ["a moment"]).start()
    assert client.beta.threads.runs.retrieve(runs[0].id, thread_id=brief, extra_headers=polls).status == "completed"
    assert texts(client, brief) == ["hold a moment", "held"]

    started = time.monotonic()
    assert client.beta.threads.runs.retrieve(runs[1].id, thread_id=long, extra_headers=polls).status == "in_progress"
    assert 0.5 < time.monotonic() - started < 5  # nobody's patience is tried
    client.beta.threads.runs.cancel(runs[1].id, thread_id=long)
    assert client.beta.threads.runs.retrieve(runs[1].id, thread_id=long, extra_headers=polls).status == "cancelled"


def test_sessions_of_runs_are_listed_and_make_the_same_requests_again(client: OpenAI, server: Server) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    client.beta.threads.runs.submit_tool_outputs_and_poll(run_id=run.id, thread_id=talk, tool_outputs=outputs(run))

    assert run.id in server.agent("sessions", "list", "--json").out
    replayed = server.agent("replay", run.id)
    assert (replayed.code, replayed.err) == (0, replayed.err), replayed.err
    assert server.agent("resume", run.id, "go on").code == 2
