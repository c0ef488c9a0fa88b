"""Texts as vectors, by whatever model the caller brings, and what makes two vectors comparable. It asks no endpoint and
keeps nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from agentrunner.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedder:
    """A model, and the function that asks it: one vector for each text, in their order, all of one dimension. What it
    costs, and what happens when it fails, is the function's business. With "l2" vectors are brought to length 1 here,
    so that they are compared by their angle; "none" takes them as they are."""

    model: str
    embed: Callable[[Sequence[str]], Sequence[Sequence[float]]]
    normalisation: Literal["l2", "none"] = "l2"


class Space(NamedTuple):
    """What has to be the same before two vectors may be compared."""

    model: str
    dimension: int
    normalisation: str

    def __str__(self) -> str:
        length = "brought to length 1" if self.normalisation == "l2" else "as they come"
        return f"{self.model!r} ({self.dimension} dimensions, {length})"

    def to_json(self) -> str:
        return json.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Space:
        return cls(*json.loads(text))


def embed(embedder: Embedder, texts: Sequence[str]) -> tuple[Space, Floats]:
    """The vectors, one a row. Raises `UsageError` when numpy is not there or what came back cannot be used."""
    np = numpy()
    try:
        found = np.asarray(embedder.embed(texts), dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise _unusable(embedder, "vectors that are not numbers, or not all of one length") from error
    if found.ndim != 2 or found.shape[0] != len(texts) or not found.shape[1]:
        raise _unusable(embedder, f"an array of shape {found.shape} for {len(texts)} texts")
    if not np.isfinite(found).all():
        raise _unusable(embedder, "numbers that are not finite")
    if embedder.normalisation == "l2":
        lengths = np.linalg.norm(found.astype(np.float64), axis=1, keepdims=True)
        # A vector without length has no direction: it stays 0, near to nothing.
        found = (found / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return Space(embedder.model, found.shape[1], embedder.normalisation), found


def check_same(store: str, kept: Space | None, given: Space | Embedder) -> None:
    """Raise `UsageError` when vectors of the one cannot be compared with those that the store keeps."""
    if kept is None:
        return
    same = (kept.model, kept.normalisation) == (given.model, given.normalisation)
    if same and (isinstance(given, Embedder) or given == kept):
        return
    other = f"{given}" if isinstance(given, Space) else f"{given.model!r} ({given.normalisation})"
    raise UsageError(
        f"the store {store!r} has vectors of {kept}, which cannot be compared with those of {other}",
        "search it with the model it was embedded by, or drop its vectors and embed it again",
    )


def numpy():
    """Imported at use: it takes a tenth of a second, and only embeddings need it."""
    try:
        import numpy as np
    except ImportError as error:
        raise UsageError("embeddings need numpy", "install it: pip install 'agentrunner[retrieval]'") from error
    return np


def _unusable(embedder: Embedder, what: str) -> UsageError:
    return UsageError(
        f"the embedding model {embedder.model!r} answered with {what}", "check the model and its endpoint"
    )
