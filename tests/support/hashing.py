"""An embedding model without a model: words and parts of words, hashed. The same texts always get the same vectors.

It knows no meaning; texts with the same words, or nearly the same, are near to each other.
"""

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np

from agentrunner.retrieval.embedding import Embedder

DIMENSIONS = 512


@cache
def _place(feature: str) -> tuple[int, float]:
    """Where a feature is counted, and with which sign: what collides should cancel out rather than add up."""
    number = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
    return number % DIMENSIONS, 1.0 if number & 0x80000000 else -1.0


def embed(texts: Sequence[str]) -> list[list[float]]:
    vectors = np.zeros((len(texts), DIMENSIONS))
    for row, text in zip(vectors, texts, strict=True):
        words = re.findall(r"\w{3,}", text.lower())
        parts = (word[at : at + 5] for word in words for at in range(max(1, len(word) - 4)))
        for feature, times in Counter(parts).items():
            place, sign = _place(feature)
            row[place] += sign * (1 + np.log(times))
    return vectors.tolist()


def noise(texts: Sequence[str]) -> list[list[float]]:
    """Vectors that have nothing to do with the texts, but are the same for the same text."""
    seeds = (zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts)
    return [np.random.default_rng(seed).normal(size=64).tolist() for seed in seeds]


HASHING = Embedder("hashing", embed)
NOISE = Embedder("noise", noise)
