"""Several rankings of the same things as one: weighted reciprocal rank fusion. It only knows places, no scores."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

K = 60
"""How flat the curve is: the value of the original paper (Cormack, Clarke, Büttcher 2009), in use everywhere since."""

T = TypeVar("T", bound=Hashable)


def fuse(rankings: Sequence[tuple[float, Sequence[T]]]) -> list[tuple[T, float]]:
    """Each ranking, best first, with its weight above 0. A score is 1 for what comes first in all of them, and falls
    with its places; what a ranking does not have gets nothing from it. Equal scores keep the order in which the
    rankings, one after the other, have them."""
    scores: dict[T, float] = {}
    for weight, ranking in rankings:
        for place, each in enumerate(ranking, 1):
            scores[each] = scores.get(each, 0.0) + weight / (K + place)
    highest = sum(weight for weight, _ in rankings) / (K + 1)
    ordered = sorted(scores, key=lambda each: -scores[each])
    return [(each, min(1.0, scores[each] / highest)) for each in ordered]
