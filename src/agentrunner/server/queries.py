"""Queries as vectors, where the stores that are searched have such; else why they are searched by words alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentrunner.engine import Unpaid
from agentrunner.errors import ProviderError
from agentrunner.retrieval.embedding import Embedder
from agentrunner.retrieval.search import MAX_EMBEDDED_CHARACTERS
from agentrunner.retrieval.vectors import spaces
from agentrunner.server.embedding import Pay
from agentrunner.server.services import Services
from agentrunner.types import JSON


class Weights(NamedTuple):
    """What the two ways of searching count beside each other."""

    embedding: float
    text: float


def weights_of(hybrid_search: JSON) -> Weights:
    """As clients give them; both the same where they say nothing."""
    given = hybrid_search or {"embedding_weight": 1.0, "text_weight": 1.0}
    return Weights(float(given["embedding_weight"]), float(given["text_weight"]))


class Asked(NamedTuple):
    """`embedder` knows the vectors of the queries already. `remark`: why there is none where one was expected."""

    embedder: Embedder | None = None
    remark: str = ""


async def ask_for(services: Services, store_ids: Sequence[str], queries: Sequence[str], pay: Pay) -> Asked:
    """Vectors of these queries, bought where the stores have vectors to compare them with."""
    if services.vectors is None:
        return Asked()
    endpoint = services.vectors.endpoint
    found = spaces(services.indexer.reader, store_ids)
    kept = [space for space in found.values() if space is not None]
    if any(space.model != endpoint.model for space in kept):
        return Asked(None, _alone("their vectors are of another model, and are made again"))
    texts = list(dict.fromkeys(text for query in queries if (text := query[:MAX_EMBEDDED_CHARACTERS]).strip()))
    if not kept or not texts:
        return Asked(None, _alone("their vectors are not made yet") if found and services.vectors.behind else "")
    try:
        vectors = await endpoint.of_queries(texts, pay)
    except (ProviderError, Unpaid) as error:
        what = error.message if isinstance(error, ProviderError) else f"a vector of the query was not bought: {error}"
        return Asked(None, _alone(what))
    if any(len(vector) != space.dimension for space in kept for vector in vectors):
        return Asked(None, _alone(f"{endpoint.model!r} makes vectors of another length than theirs"))
    known = dict(zip(texts, vectors, strict=True))
    return Asked(Embedder(endpoint.model, lambda wanted: [known[text] for text in wanted]))


def _alone(why: str) -> str:
    return f"searched by words alone: {why}"
