"""Limits that an endpoint breaks: the run says so, names the endpoint and does not go on paying."""

from typing import Any

import pytest

from tests.support.endpoint import Answer, Endpoint, call, error, text
from tests.support.program import Agent

PRICE = ("--price", "1,10")


def run(agent: Agent, endpoint: Endpoint, *arguments: str) -> Any:
    return agent("run", "say hello", "--base-url", endpoint.base_url, "--model", "local", *PRICE, *arguments)


def test_an_endpoint_that_charges_more_than_its_cap_is_named(agent: Agent) -> None:
    usage = {"prompt_tokens": 900, "completion_tokens": 40_000}
    with Endpoint([Answer(calls=(("finish", {"answer": "hello"}),), usage=usage)]) as endpoint:
        done = run(agent, endpoint)
    assert done.code == 0
    assert f"{endpoint.base_url} charged 40,000 tokens of output where at most 16,384 were possible" in done.err
    assert f"(not guaranteed: {endpoint.base_url} charged more than it may)" in " ".join(done.err.split())


def test_an_endpoint_that_does_not_stop_at_its_cap_is_stopped_and_not_asked_again(agent: Agent) -> None:
    with Endpoint([text("x" * 300_000), text("again")]) as endpoint:
        done = run(agent, endpoint, "--json", "--stream", "--max-output-tokens", "300")
        requests = len(endpoint.requests)
    assert (done.code, requests) == (3, 1)
    assert (done.finished["reason"], done.finished["guaranteed"]) == ("provider_error", False)
    assert done.finished["violations"][0]["endpoint"] == endpoint.base_url
    # Each byte that came counts as a token: no more can have been charged.
    assert done.finished["spent_usd"] >= 65_536 * 10 / 1e6


def test_waits_for_another_attempt_are_not_working_time(agent: Agent) -> None:
    with Endpoint([error(429, retry_after=1.5), call("finish", answer="hello")]) as endpoint:
        done = run(agent, endpoint, "--json")
    assert done.finished["seconds"] - done.finished["working_seconds"] >= 1.5


def test_a_limit_reached_is_raised_and_gone_on_with(agent: Agent) -> None:
    looks = [call("list_files", path="."), call("list_files", path="./.")]
    with Endpoint([*looks, call("finish", answer="hello")]) as endpoint:
        first = run(agent, endpoint, "--json", "--max-cost", "0.004", "--max-output-tokens", "300")
        assert first.code == 6
        more = agent("resume", "--last", "--add-cost", "1", "--json")
    assert (more.code, more.finished["answer"]) == (0, "hello")
    assert more.finished["spent_usd"] > first.finished["spent_usd"]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, ()),
        ({"tools": False}, ()),
        ({"cap_field": "max_completion_tokens"}, ("--stream",)),
        ({"stream_options": False}, ("--stream",)),
    ],
    ids=str,
)
def test_an_endpoint_with_ways_of_its_own_that_charges_each_byte_stays_within_the_bounds(
    agent: Agent, options: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    notes = [
        call("write_file", {"text": " ".join(f"é{word}" for word in range(60))}, path=f"{n}.md", content='"\n' * 60 * n)
        for n in range(8)
    ]
    with Endpoint([*notes, call("finish", answer="hello")], usage="bound", **options) as endpoint:
        done = run(agent, endpoint, "--json", "--max-cost", "20", "--max-output-tokens", "900", *arguments)
        billed = endpoint.bill.input_tokens * 1 + endpoint.bill.output_tokens * 10
    assert (done.code, done.finished["guaranteed"]) == (0, True)
    assert billed / 1e6 <= done.finished["spent_usd"] * (1 + 1e-9)
