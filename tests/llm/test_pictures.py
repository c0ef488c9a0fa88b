"""What pictures are billed for at most: the examples that are published, and sizes that are not known."""

from __future__ import annotations

import pytest

from agentrunner.llm.pictures import image_tokens
from agentrunner.types import Image

PUBLISHED = [
    ("gpt-4o", 1024, 1024, "high", 765),
    ("gpt-4o", 2048, 4096, "high", 1105),
    ("gpt-4o", 4096, 8192, "low", 85),
    ("openai/gpt-4o-2024-08-06", 1024, 1024, "auto", 765),
    ("gpt-4o-mini", 1024, 1024, "high", 2833 + 4 * 5667),
    ("o3", 1024, 1024, "high", 675),
    ("gpt-5", 1024, 1024, "high", 630),
    ("gpt-4.1-mini", 1024, 1024, "high", 1659),
    ("o4-mini", 4000, 4000, "high", 2642),
]


@pytest.mark.parametrize(("model", "width", "height", "detail", "tokens"), PUBLISHED)
def test_known_models_count_as_is_published(model: str, width: int, height: int, detail: str, tokens: int) -> None:
    assert image_tokens(model, Image(0, detail=detail, width=width, height=height)) == tokens
    assert image_tokens(model, Image(0, detail=detail, width=height, height=width)) == tokens


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-nano", "gpt-5.1", "qwen-vl"])
def test_a_size_that_is_not_known_counts_as_the_largest(model: str) -> None:
    most = image_tokens(model, Image(0))
    for width in (1, 100, 511, 513, 768, 769, 3000, 30_000):
        for height in (1, 100, 511, 513, 768, 769, 3000, 30_000):
            assert 0 < image_tokens(model, Image(0, width=width, height=height)) <= most


def test_models_that_nobody_knows_count_the_most() -> None:
    picture = Image(0, width=1024, height=1024)
    known = ("gpt-4o", "gpt-5", "o3", "gpt-5-nano", "o4-mini")
    assert image_tokens("gpt-5.1", picture) == image_tokens("qwen-vl", picture)
    assert image_tokens("qwen-vl", picture) >= max(image_tokens(model, picture) for model in known)
