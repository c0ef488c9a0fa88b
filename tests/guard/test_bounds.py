"""Bounds without a tokenizer: what was reported, what came since, and what an endpoint is known to be capable of."""

from hypothesis import given
from hypothesis import strategies as st

from agentrunner.guard.bounds import FIXED_BYTES, MESSAGE_TOKENS, Bounds

TALK = ("c1", 0)


def bound(bounds: Bounds, prefix_bytes: int, talk: tuple[str, int] = TALK) -> int:
    return bounds.input_tokens(talk, prefix_bytes, 0) - MESSAGE_TOKENS


def test_a_prefix_that_was_counted_higher_once_may_be_again() -> None:
    bounds = Bounds()
    bounds.measure(TALK, 10_000, 5_000)
    bounds.measure(TALK, 12_000, 3_000)
    assert bound(bounds, 12_100) >= 5_000 * 12_000 / 10_000 + 100


def test_a_prefix_that_is_always_counted_alike_is_bounded_tightly() -> None:
    bounds = Bounds()
    for size in range(10_000, 20_000, 1_000):
        bounds.measure(TALK, size, (size - FIXED_BYTES) // 4)
    assert bound(bounds, 19_500) == (19_000 - FIXED_BYTES) // 4 + 500


def test_what_was_reported_of_one_conversation_says_nothing_about_another() -> None:
    bounds = Bounds()
    bounds.measure(TALK, 10_000, 2_000)
    assert bound(bounds, 10_000, ("c2", 0)) == 10_000
    assert bound(bounds, 10_000, ("c1", 1)) == 10_000
    assert bound(bounds, 9_999) == 9_999


def test_a_violation_widens_the_bounds_of_all_conversations() -> None:
    bounds = Bounds()
    bounds.widen(1.5, 0.2)
    assert bound(bounds, 10_000, ("c2", 0)) >= 15_000
    assert bounds.billed_output(300) == 300
    bounds.widen(1.0, 3.0)
    assert bounds.billed_output(300) >= 900


@given(st.floats(1.0, 50.0), st.integers(0, 10**6))
def test_a_cap_that_fits_is_never_billed_for_more_than_fits(factor: float, tokens: int) -> None:
    bounds = Bounds()
    bounds.widen(1.0, factor)
    cap = bounds.cap_within(tokens)
    assert cap == 0 or bounds.billed_output(cap) <= tokens


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=30), st.data())
def test_no_count_at_a_ratio_reported_before_is_above_the_bound(appended: list[int], data: st.DataObject) -> None:
    """The worst ratio first, then any lower one and back, with any part of the fixed bytes not counted."""
    bounds = Bounds()
    size, unseen = 1_500, data.draw(st.integers(0, FIXED_BYTES))
    worst = data.draw(st.fractions(0, 1, max_denominator=100))
    for n, more in enumerate(appended):
        size += more
        ratio = worst if n == 0 else data.draw(st.fractions(0, worst, max_denominator=100))
        tokens = int(ratio * (size - unseen))
        assert tokens <= bound(bounds, size)
        bounds.measure(TALK, size, tokens)
