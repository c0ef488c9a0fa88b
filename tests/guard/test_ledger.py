"""The wall: what is reserved, what is settled, what is left."""

import pytest

from agentrunner.guard.ledger import Exhausted, Ledger, Reservation
from agentrunner.types import Budget, Usage


class Flat:
    """Two dollars per million tokens in, ten out."""

    def worst(self, input_tokens: int) -> tuple[float, float]:
        return 2.0, 10.0

    def cost(self, usage: Usage) -> float:
        return usage.input_tokens * 2e-6 + usage.output_tokens * 10e-6


TALK = ("c1", 0)


def reserved(ledger: Ledger, prefix: int = 1000, cap: int = 4000, key: str = "/llm:1") -> Reservation:
    result = ledger.reserve(key, TALK, prefix, 100, cap)
    assert isinstance(result, Reservation)
    return result


def refused(ledger: Ledger, prefix: int = 1000, cap: int = 4000) -> str:
    result = ledger.reserve("/llm:9", TALK, prefix, 100, cap)
    assert isinstance(result, Exhausted)
    return result.reason


def test_the_first_bound_is_the_bytes_of_everything() -> None:
    assert reserved(Ledger(Budget(), Flat()), prefix=5000).input_tokens == 5000 + 100 + 16


def test_a_later_bound_adds_bytes_to_what_was_reported() -> None:
    ledger = Ledger(Budget(), Flat())
    reserved(ledger, prefix=5000)
    ledger.settle("/llm:1", Usage(1200, 0, 50))
    ledger.bounds.measure(TALK, 5000, 1200)
    assert reserved(ledger, prefix=5400, key="/llm:2").input_tokens == 1200 + 400 + 100 + 16


def test_a_folded_conversation_is_bounded_by_its_bytes_again() -> None:
    ledger = Ledger(Budget(), Flat())
    reserved(ledger, prefix=5000)
    ledger.settle("/llm:1", Usage(1200, 0, 50))
    ledger.bounds.measure(TALK, 5000, 1200)
    assert ledger.bounds.input_tokens(("c1", 1), 3000, 0) == 3000 + 16


def test_the_output_cap_shrinks_to_what_fits() -> None:
    ledger = Ledger(Budget(usd=0.02), Flat())
    reservation = reserved(ledger, cap=16_000)
    assert 256 <= reservation.output_tokens < 2000
    assert reservation.usd <= 0.02


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(steps=0), "budget_steps"),
        (Budget(usd=0.0), "budget_cost"),
        (Budget(tokens=0), "budget_tokens"),
        (Budget(usd=0.004), "budget_cost"),
        (Budget(tokens=1300), "budget_tokens"),
    ],
)
def test_what_does_not_fit_is_not_sent(budget: Budget, reason: str) -> None:
    assert refused(Ledger(budget, Flat())) == reason


def test_a_cost_limit_of_zero_sends_nothing_even_when_answers_are_free() -> None:
    assert refused(Ledger(Budget(usd=0.0), None)) == "budget_cost"


def test_an_attempt_of_unknown_outcome_stays_booked() -> None:
    ledger = Ledger(Budget(usd=1.0), Flat())
    usd = reserved(ledger).usd
    ledger.keep("/llm:1")
    assert ledger.usd_booked() == pytest.approx(usd)


def test_a_refused_attempt_is_released() -> None:
    ledger = Ledger(Budget(usd=1.0), Flat())
    reserved(ledger)
    ledger.release("/llm:1")
    assert ledger.usd_booked() == 0


def test_missing_usage_is_settled_at_the_reservation() -> None:
    ledger = Ledger(Budget(usd=1.0), Flat())
    usd = reserved(ledger).usd
    assert ledger.settle("/llm:1", None) == pytest.approx(usd)


def test_usage_above_the_bound_ends_the_guarantee() -> None:
    ledger = Ledger(Budget(usd=1.0), Flat())
    reserved(ledger, cap=300)
    ledger.settle("/llm:1", Usage(100, 0, 301))
    assert not ledger.guaranteed


def test_usage_at_the_bound_keeps_it() -> None:
    ledger = Ledger(Budget(usd=1.0), Flat())
    bound = reserved(ledger, cap=300).input_tokens
    ledger.settle("/llm:1", Usage(bound, 0, 300))
    assert ledger.guaranteed


def test_a_wrap_up_fits_where_a_step_does_not() -> None:
    ledger = Ledger(Budget(steps=1, usd=0.2), Flat())
    reserved(ledger)
    ledger.settle("/llm:1", Usage(100, 0, 10))
    assert refused(ledger) == "budget_steps"
    assert isinstance(ledger.reserve("/wrapup:1/llm:1", ("c2", 0), 6000, 0, 400, wrap_up=True), Reservation)


def test_raised_limits_add_up_and_none_stays_none() -> None:
    ledger = Ledger(Budget(steps=5, tokens=None), Flat())
    ledger.raise_by({"steps": 3, "usd": 0.5, "tokens": 100, "seconds": None})
    assert (ledger.budget.steps, ledger.budget.usd, ledger.budget.tokens) == (8, 1.5, None)
