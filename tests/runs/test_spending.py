"""Keys with a limit: their runs never cost more together, at once, after a kill, and whatever is deleted."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI, RateLimitError

from agentrunner.journal import open_journal
from tests.runs.conftest import JSON, PRICES, Server, assistant, client_of, key, server_in, texts, thread, wait_until
from tests.support.endpoint import Answer, Endpoint

IN_USD, OUT_USD = 1e-6, 10e-6
PRICED = ("--price", "1,10", "--max-output-tokens", "1000")
TERMINAL = ("completed", "failed", "incomplete", "cancelled", "expired")


def one_round(request: JSON) -> Answer:
    """Calls a tool that is not there, then says that it is done."""
    if any(message["role"] == "tool" for message in request["messages"]):
        return Answer("done", delay_s=0.1)
    return Answer(calls=(("count", {}),), delay_s=0.1)


def slow_and_short(request: JSON) -> Answer:
    return Answer("short", delay_s=20 if request["messages"][-1]["content"] == "slowly" else 0.3)


def bill_usd(endpoint: Endpoint) -> float:
    return endpoint.bill.input_tokens * IN_USD + endpoint.bill.output_tokens * OUT_USD


def listed(server: Server) -> JSON:
    return json.loads(server.agent("keys", "list", "--json").out)


def begin(client: OpenAI, made: str, number: int) -> list[Any]:
    return [client.beta.threads.runs.create(thread_id=thread(client, "hi"), assistant_id=made) for _ in range(number)]


def ends(client: OpenAI, runs: list[Any]) -> list[Any]:
    return [client.beta.threads.runs.poll(run.id, thread_id=run.thread_id) for run in runs]


def test_runs_at_once_never_cost_more_than_their_key_may_spend(tmp_path: Path) -> None:
    with (
        Endpoint(one_round, usage="bound") as endpoint,
        server_in(tmp_path, endpoint, *PRICED) as server,
    ):
        client = key(server, "0.075")
        made = assistant(client, *PRICES)
        ended = ends(client, begin(client, made, 8))

        assert {run.status for run in ended} == {"completed", "failed"}
        failed = [run for run in ended if run.status == "failed"]
        assert {(run.last_error.code, "$0.075 of this key" in run.last_error.message) for run in failed} == {
            ("rate_limit_exceeded", True)
        }
        assert 0.06 < bill_usd(endpoint) <= 0.075
        found = listed(server)
        assert found["spent_usd"] == pytest.approx(sum(getattr(run.usage, "cost_usd", 0) for run in ended))
        assert bill_usd(endpoint) <= found["spent_usd"] <= found["max_cost_usd"] == 0.075
        assert found["reserved_usd"] == 0


def test_a_run_waits_for_what_others_have_reserved_and_do_not_use(tmp_path: Path) -> None:
    with Endpoint(slow_and_short) as endpoint, server_in(tmp_path, endpoint, *PRICED) as server:
        client = key(server, "0.015")  # each request reserves more than 0.01, and costs next to nothing
        ended = ends(client, begin(client, assistant(client), 4))

        assert [run.status for run in ended] == ["completed"] * 4
        assert listed(server)["spent_usd"] < 0.005


@contextlib.contextmanager
def spent_key(tmp_path: Path) -> Iterator[tuple[Server, OpenAI, str]]:
    with Endpoint(slow_and_short, usage="bound") as endpoint, server_in(tmp_path, endpoint, *PRICED) as server:
        client = key(server, "0.012")
        made = assistant(client)
        (run,) = ends(client, begin(client, made, 1))
        assert run.status == "completed"
        yield server, client, made


def test_a_run_is_refused_when_nothing_is_left_until_the_limit_is_raised(tmp_path: Path) -> None:
    with spent_key(tmp_path) as (server, client, made):
        talk = thread(client, "hi")
        started = time.monotonic()
        with pytest.raises(RateLimitError, match="You exceeded your current quota") as refused:
            client.with_options(max_retries=5).beta.threads.runs.create(thread_id=talk, assistant_id=made)
        assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
        assert time.monotonic() - started < 2, "the client sent it again and again"
        with pytest.raises(RateLimitError):
            client.beta.threads.create_and_run(assistant_id=made)
        assert texts(client, talk) == ["hi"]

        assert "limit $5" in server.agent("keys", "limit", "office", "--max-cost", "5").out
        assert ends(client, begin(client, made, 1))[0].status == "completed"
        assert "no limit" in server.agent("keys", "limit", "office", "--max-cost", "none").out
        assert ends(client, begin(client, made, 1))[0].status == "completed"
        assert server.agent("keys", "limit", "nobody", "--max-cost", "1").code == 2
        assert server.agent("keys", "limit", "office", "--max-cost", "much").code == 2
        assert server.agent("keys", "create", "other", "--max-cost", "-1").code == 2


def test_a_thread_that_is_deleted_gives_no_money_back(tmp_path: Path) -> None:
    with spent_key(tmp_path) as (server, client, made):
        before = listed(server)["spent_usd"]
        server.agent("keys", "limit", "office", "--max-cost", "1")
        run = client.beta.threads.runs.create(thread_id=thread(client, "slowly"), assistant_id=made)
        wait_until(lambda: listed(server)["reserved_usd"] > 0)
        client.beta.threads.delete(run.thread_id)

        wait_until(lambda: listed(server)["reserved_usd"] == 0)
        assert listed(server)["spent_usd"] > before + 0.01


def test_a_run_that_waits_for_its_client_reserves_nothing(tmp_path: Path) -> None:
    def calls(request: JSON) -> Answer:
        return Answer(calls=(("price", {"of": "pens"}),))

    with Endpoint(calls) as endpoint, server_in(tmp_path, endpoint, *PRICED) as server:
        client = key(server, "1")
        (run,) = ends(client, begin(client, assistant(client, *PRICES), 1))

        assert run.status == "requires_action"
        found = listed(server)
        assert (found["reserved_usd"], 0 < found["spent_usd"] < 0.01) == (0, True)


def test_kills_lift_no_limit(tmp_path: Path) -> None:
    with (
        Endpoint(one_round, usage="bound") as endpoint,
        server_in(tmp_path, endpoint, *PRICED) as server,
    ):
        client = key(server, "0.2")
        made = assistant(client, *PRICES)
        runs = begin(client, made, 12)
        for seconds in (0.15, 0.3):
            time.sleep(seconds)
            server.kill()
            booked = listed(server)
            # Equal where nothing was on its way; the sums are of floats.
            assert booked["spent_usd"] + booked["reserved_usd"] >= bill_usd(endpoint) - 1e-12
            server.start()
        again = client_of(server, client.api_key)
        ended = ends(again, runs)

        assert {run.status for run in ended} <= {"completed", "failed"}
        found = listed(server)
        assert bill_usd(endpoint) <= found["spent_usd"] <= 0.2
        assert found["reserved_usd"] == 0
        with contextlib.closing(open_journal(server.agent.home)) as journal:
            spent = [journal.load(run.id)[-1].data["spent_usd"] for run in runs]
        assert found["spent_usd"] == pytest.approx(sum(spent), abs=1e-7)


def test_the_limit_of_a_key_needs_a_price(tmp_path: Path) -> None:
    with Endpoint(slow_and_short) as endpoint, server_in(tmp_path, endpoint) as server:
        server.stop()
        server.arguments = ("--allow-unpriced", "--base-url", "https://models.invalid/v1")
        server.env = {"OPENAI_API_KEY": "none"}
        server.start()
        client = key(server, "1")
        (run,) = ends(client, begin(client, assistant(client), 1))

        assert run.status == "failed"
        assert "the price of 'any' is not known, so the limit of this key cannot be held" in run.last_error.message
