"""Runs on other databases, and through several servers that share one."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from openai import OpenAI

from tests.runs.conftest import PRICES, Server, assistant, server_in, texts, thread, wait_until
from tests.support.endpoint import Endpoint


@pytest.fixture
def second(server: Server) -> Iterator[OpenAI]:
    """A client of another server on the same home."""
    other = Server(server.agent, server.endpoint)
    other.start()
    client = other.client()
    yield client
    client.close()
    other.stop()


def outputs(run: Any) -> Any:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": "7"} for call in calls]


def test_outputs_may_be_submitted_through_another_server(client: OpenAI, second: OpenAI) -> None:
    talk = thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client, *PRICES))

    submit = second.beta.threads.runs.submit_tool_outputs_and_poll
    assert submit(run_id=run.id, thread_id=talk, tool_outputs=outputs(run)).status == "completed"
    assert texts(client, talk) == ["call price", "the results: 7"]


def test_a_run_may_be_cancelled_through_another_server(client: OpenAI, second: OpenAI, endpoint: Endpoint) -> None:
    talk, before, started = thread(client, "wait 20"), len(endpoint.requests), time.monotonic()
    run = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client))
    wait_until(lambda: len(endpoint.requests) > before)
    second.beta.threads.runs.cancel(run.id, thread_id=talk)

    assert client.beta.threads.runs.poll(run.id, thread_id=talk).status == "cancelled"
    assert time.monotonic() - started < 10


def test_a_run_that_waits_for_another_is_cancelled_at_once_through_another_server(
    client: OpenAI, second: OpenAI
) -> None:
    made, talk = assistant(client), thread(client, "wait 20")
    runs, started = client.beta.threads.runs, time.monotonic()
    first = runs.create(thread_id=talk, assistant_id=made)
    waiting = runs.create(thread_id=talk, assistant_id=made, extra_body={"on_active_run": "queue"})
    second.beta.threads.runs.cancel(waiting.id, thread_id=talk)

    assert runs.poll(waiting.id, thread_id=talk).status == "cancelled"
    assert (runs.retrieve(first.id, thread_id=talk).status, time.monotonic() - started < 10) == ("in_progress", True)
    runs.cancel(first.id, thread_id=talk)


def test_a_thread_that_is_deleted_through_another_server_leaves_no_session(
    client: OpenAI, second: OpenAI, server: Server
) -> None:
    talk = thread(client, "wait 20")
    run = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client))
    wait_until(lambda: run.id in server.agent("sessions", "list", "--json").out)
    second.beta.threads.delete(talk)

    wait_until(lambda: run.id not in server.agent("sessions", "list", "--json").out)


def test_a_run_costs_no_more_than_it_may(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> None:
    """What does not fit is not sent: a prompt of 9,000 bytes could cost more than is left of the limit."""
    limits = ("--price", "10,100", "--max-cost", "0.08", "--max-output-tokens", "500")
    with server_in(tmp_path_factory.mktemp("dear"), endpoint, *limits) as dear:
        client = dear.client()
        made, before = assistant(client), len(endpoint.requests)
        first = client.beta.threads.runs.create_and_poll(thread_id=thread(client, "say hi"), assistant_id=made)

        assert (first.status, cast(Any, first.usage).cost_usd > 0) == ("completed", True)
        poor = client.beta.threads.runs.create_and_poll(thread_id=thread(client, "x" * 9000), assistant_id=made)
        assert (poor.status, cast(Any, poor.last_error).code) == ("failed", "rate_limit_exceeded")
        assert "$0.08" in cast(Any, poor.last_error).message
        assert len(endpoint.requests) == before + 1


def test_all_of_it_works_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint, postgres: Any
) -> None:
    from tests.support.program import Agent

    server = Server(
        Agent(tmp_path_factory.mktemp("postgres")), endpoint, env={"AGENT_DATABASE_URL": postgres.new_schema()}
    )
    server.start()
    client = server.client()
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as stream:
        stream.until_done()
    run = cast(Any, stream.current_run)
    server.kill()
    server.start()
    again = server.client()
    submit = again.beta.threads.runs.submit_tool_outputs_and_poll
    assert submit(run_id=run.id, thread_id=talk, tool_outputs=outputs(run)).status == "completed"
    assert texts(again, talk) == ["call price", "the results: 7"]
    for opened in server.clients:
        opened.close()
    server.stop()


def sessions(server: Server) -> str:
    return server.agent("sessions", "list", "--json").out


def test_a_thread_that_is_removed_in_the_terminal_takes_its_sessions_with_it(client: OpenAI, server: Server) -> None:
    waits = assistant(client, *PRICES)
    talks = [thread(client, words) for words in ("hello", "call price", "wait 20")]
    runs = [client.beta.threads.runs.create(thread_id=talk, assistant_id=waits) for talk in talks]
    for run in runs[:2]:
        client.beta.threads.runs.poll(run.id, thread_id=run.thread_id)
    wait_until(lambda: all(run.id in sessions(server) for run in runs))
    removed = server.agent("threads", "rm", *talks)

    assert removed.code == 0, removed.err
    listed = sessions(server)
    assert [run.id in listed for run in runs[:2]] == [False, False]
    wait_until(lambda: runs[2].id not in sessions(server))  # The server had to end it first.
    assert not [path for run in runs for path in server.agent.home.glob(f"sessions/{run.id}/*")]


def test_nobody_is_told_to_resume_what_the_server_goes_on_with(client: OpenAI, server: Server) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    waiting = server.agent("sessions", "show", run.id).out
    client.beta.threads.runs.submit_tool_outputs_and_poll(run_id=run.id, thread_id=talk, tool_outputs=outputs(run))
    ended = server.agent("sessions", "show", run.id).out

    assert "go on: agent serve goes on with it, when its client submits" in waiting
    assert "agent resume" not in waiting + ended
    assert "go on" not in ended
