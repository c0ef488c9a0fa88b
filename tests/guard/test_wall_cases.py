"""What a limit does in plain cases: how many calls it covers, what stays booked, who is named when it does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from agentrunner.types import JSON, Event
from tests.guard.adversary import Adversary, Fate, Tariff, Turn
from tests.guard.test_wall import Stage, settle_accounts, worked_with
from tests.guard.wall import Run, plain

DULL = Tariff(2_000_000, 10_000_000, 200_000, 0)
AT_BOUND = Adversary(DULL, ())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with closing(Stage(tmp_path_factory.mktemp("wall"))) as made:
        yield made


def play(stage: Stage, *turns: Turn, honest: bool = True, **changes: Any) -> Run:
    case = plain(AT_BOUND, *turns, **changes)
    run = stage.play(case)
    if honest:
        settle_accounts(case, run)
    return run


def of_type(run: Run, type_: str, **fields: Any) -> list[Event]:
    return [e for e in run.events if e.type == type_ and all(e.data[name] == value for name, value in fields.items())]


def end_of(run: Run) -> JSON:
    return of_type(run, "session.finished")[-1].data


def test_a_budget_of_zero_sends_nothing(stage: Stage) -> None:
    run = play(stage, limit=Fraction(0))
    assert run.adversary.requests == 0
    assert (end_of(run)["reason"], end_of(run)["exit_code"]) == ("budget_cost", 6)
    assert end_of(run)["answer"]


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_a_budget_for_some_calls_and_a_half_makes_them_and_a_summary(stage: Stage, calls: int) -> None:
    free = play(stage, limit=Fraction(1_000), rounds=calls)
    costs = [event.data["cost_usd"] for event in of_type(free, "completion.received", label="step")]
    limit = Fraction(sum(costs) + 0.5 * costs[-1])
    run = play(stage, limit=limit, multiple=False)
    assert len(of_type(run, "completion.received", label="step")) == calls
    assert len(of_type(run, "completion.received", label="wrap_up")) == 1
    assert end_of(run)["answer"] == "words"


@pytest.mark.parametrize("fate", ["no_usage", "500", "408", "cut", "drop", "empty", "error_in_200"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_may_have_been_billed_stays_booked(stage: Stage, fate: Fate, stream: bool) -> None:
    run = play(stage, Turn(fate), Turn(), limit=Fraction(8), rounds=2, stream=stream)
    first = of_type(run, "request.sent")[0].data["reserved_usd"]
    _, booked = worked_with(run.events)
    assert booked >= first
    assert end_of(run)["spent_usd"] >= run.adversary.billed / 1e12 * (1 - 1e-9)


@pytest.mark.parametrize("fate", ["429", "400"])
def test_what_was_refused_is_released(stage: Stage, fate: Fate) -> None:
    run = play(stage, Turn(fate), Turn(), rounds=2)
    assert worked_with(run.events)[1] == 0
    assert end_of(run)["spent_usd"] == pytest.approx(run.adversary.billed / 1e12)


def test_each_attempt_at_a_request_has_a_reservation_of_its_own(stage: Stage) -> None:
    run = play(stage, Turn("500"), limit=Fraction(20), retries=3, rounds=1)
    first = [event for event in of_type(run, "request.sent") if event.key == "/llm:1"][:4]
    assert [event.data["attempt"] for event in first] == [1, 2, 3, 4]
    booked = [event.data["booked_usd"] for event in of_type(run, "request.failed")[:4]]
    assert booked == [event.data["reserved_usd"] for event in first]


def test_a_crash_in_the_middle_of_a_request_leaves_it_booked(stage: Stage) -> None:
    run = play(stage, limit=Fraction(20), rounds=2, crashes=((3, False),))
    [lost, *_] = of_type(run, "request.sent")
    assert run.adversary.requests == 3
    assert end_of(run)["spent_usd"] == pytest.approx(
        lost.data["reserved_usd"] + sum(e.data["cost_usd"] for e in of_type(run, "completion.received"))
    )


def test_a_branch_waits_for_the_reservation_of_another(stage: Stage) -> None:
    run = play(stage, limit=Fraction(5, 2), branches=4, rounds=2, cap=500)
    starts = of_type(run, "request.sent", label="step")
    # Only two fit at a time, though the four are asked for at once.
    assert [event.type for event in run.events if event.key.startswith("/") and "llm:1" in event.key][:3] == [
        "request.sent",
        "request.sent",
        "completion.received",
    ]
    assert len(starts) >= 2
    assert end_of(run)["reason"] == "budget_cost"


def test_branches_side_by_side_answer_in_order_and_count_their_steps(stage: Stage) -> None:
    run = play(stage, limit=Fraction(100), branches=3, rounds=4)
    steps = [event.data["step"] for event in of_type(run, "completion.received")]
    assert steps == list(range(1, 3 * 2 + 4 + 1))
    assert {event.key for event in of_type(run, "completion.received")} >= {"/1/llm:1", "/2/llm:2", "/3/llm:2"}
    assert end_of(run)["status"] == "completed"


def test_raised_limits_go_on_with_the_same_account(stage: Stage) -> None:
    run = play(stage, limit=Fraction(5, 2), raises=(Fraction(1),))
    first, second = (event.data for event in of_type(run, "session.finished"))
    assert second["steps"] > first["steps"]
    assert first["spent_usd"] < second["spent_usd"] <= float(run.limit)


class Liar(Adversary):
    """Reports three times what its cap allowed, once."""

    def take(self, body: bytes) -> tuple[JSON, Turn, JSON]:
        data, turn, usage = super().take(body)
        return data, turn, usage | ({"completion_tokens": 3 * data["max_tokens"]} if self.requests == 1 else {})


def test_an_endpoint_that_bills_more_than_was_reserved_is_named(stage: Stage) -> None:
    case = plain(AT_BOUND, limit=Fraction(20), rounds=3)
    liar = Liar(DULL, (Turn(),))
    run = stage.play(replace(case, adversary=liar))
    assert end_of(run)["guaranteed"] is False
    [violation] = end_of(run)["violations"]
    assert violation["endpoint"].startswith("http://127.0.0.1:")
    assert (violation["output_tokens"], violation["max_output_tokens"]) == (1500, 500)
    [first, second, *_] = of_type(run, "request.sent")
    per_token = DULL.output / 1e12
    assert second.data["reserved_usd"] > first.data["reserved_usd"] + 900 * per_token


def test_a_limit_that_did_not_hold_is_still_said_after_a_resume(stage: Stage) -> None:
    liar = Liar(DULL, (Turn(),))
    case = plain(AT_BOUND, limit=Fraction(20), rounds=3, crashes=((5, True),))
    run = stage.play(replace(case, adversary=liar))
    assert len(of_type(run, "session.claimed")) == 2
    assert end_of(run)["guaranteed"] is False
    assert of_type(run, "request.sent")[-1].data["_output_tokens_bound"] > 1400


@pytest.mark.parametrize("multiple", [Fraction(31, 10), Fraction(8), Fraction(20)], ids=str)
@pytest.mark.parametrize("cap", [300, 16_384])
def test_most_of_a_limit_is_used_where_four_bytes_are_a_token(stage: Stage, multiple: Fraction, cap: int) -> None:
    usual = replace(AT_BOUND, ratio=Fraction(1, 4))
    case = plain(usual, Turn(said=Fraction(1, 8)), limit=multiple, cap=cap, finding="f" * 300, rounds=2_000)
    run = stage.play(case)
    settle_accounts(case, run)
    assert end_of(run)["reason"] == "budget_cost"
    # More than the three fifths that are promised.
    assert sum(worked_with(run.events)) >= 0.7 * float(run.limit)
