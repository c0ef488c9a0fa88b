"""How many tokens a picture can be billed for at most, by the rules that OpenAI publishes for its models.

Two are known: tiles of 512 pixels after the picture was scaled, and patches of 32 pixels times a factor. For models of
others it is the most that any of the usual ways counts.
"""

from __future__ import annotations

import math

from agentrunner.types import Image

_TILES = {
    "gpt-4o-mini": (2833, 5667),
    "gpt-4o": (85, 170),
    "chatgpt-4o": (85, 170),
    "gpt-4.1": (85, 170),
    "gpt-4.5": (85, 170),
    "gpt-4-turbo": (85, 170),
    "o1": (75, 150),
    "o3": (75, 150),
    "gpt-5": (70, 140),
}
"""Tokens of any picture, and of each tile. With detail "low" there are no tiles."""
_PATCHES = {"gpt-4.1-mini": 1.62, "gpt-4.1-nano": 2.46, "gpt-5-mini": 1.62, "gpt-5-nano": 2.46, "o4-mini": 1.72}
"""Tokens of each patch."""
_MOST_PATCHES = 1_536
_MOST_TILES = 8
"""Of a picture that is as long as it can be beside a short side of 768 pixels: 2048."""
_SMALL_PATCH = 28
_MOST_SMALL_PATCHES = 16_384
"""Open models that scale nothing down count a token for 28 by 28 pixels, up to this many."""


def image_tokens(model: str, image: Image) -> int:
    """An upper bound. A size that is not known counts as the largest."""
    name = model.lower().rpartition("/")[2]
    # The longest name that fits: gpt-4o-mini is no gpt-4o, and of gpt-5.1 nothing is known.
    known = max(
        (each for each in (*_TILES, *_PATCHES) if name == each or name.startswith(f"{each}-")), key=len, default=""
    )
    if known in _TILES:
        base, tile = _TILES[known]
        return base if image.detail == "low" else base + tile * _tiles(image)
    if known:
        return math.ceil(_PATCHES[known] * _patches(image, 32, _MOST_PATCHES))
    return max(
        85 + 170 * _tiles(image),
        math.ceil(2.46 * _patches(image, 32, _MOST_PATCHES)),
        _patches(image, _SMALL_PATCH, _MOST_SMALL_PATCHES),
    )


def _tiles(image: Image) -> int:
    """Of the picture with a short side of 768 pixels and a long one of no more than 2048."""
    short, long = sorted((image.width, image.height))
    return _MOST_TILES if short <= 0 else min(_MOST_TILES, 2 * -(-768 * long // (512 * short)))


def _patches(image: Image, side: int, most: int) -> int:
    if not (image.width and image.height):
        return most
    return min(most, -(-image.width // side) * -(-image.height // side))
