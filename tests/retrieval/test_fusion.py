"""Reciprocal rank fusion, by its formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.retrieval.fusion import fuse

RANKINGS = st.lists(
    st.tuples(st.floats(0.01, 100), st.lists(st.integers(0, 20), unique=True, max_size=15)), min_size=1, max_size=4
)


def test_a_place_counts_one_by_sixty_and_itself() -> None:
    fused = dict(fuse([(2.0, ["a", "b"]), (1.0, ["b"])]))
    highest = 3 / 61
    assert fused == pytest.approx({"a": 2 / 61 / highest, "b": (2 / 62 + 1 / 61) / highest})


@given(RANKINGS)
def test_scores_lie_between_0_and_1_and_fall(rankings: list[tuple[float, list[int]]]) -> None:
    fused = fuse(rankings)
    scores = [score for _, score in fused]
    assert all(0 < score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert {each for each, _ in fused} == {each for _, ranking in rankings for each in ranking}


@given(st.floats(0.01, 100), st.lists(st.integers(), unique=True))
def test_one_ranking_alone_keeps_its_order(weight: float, ranking: list[int]) -> None:
    assert [each for each, _ in fuse([(weight, ranking)])] == ranking
