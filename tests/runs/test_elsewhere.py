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
