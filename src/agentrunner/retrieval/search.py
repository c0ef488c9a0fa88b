"""The passages of one or more stores that answer a query, best first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agentrunner.errors import UsageError
from agentrunner.retrieval.embedding import Embedder, Space, check_same, embed
from agentrunner.retrieval.file import Execute
from agentrunner.retrieval.filters import compile_filter
from agentrunner.retrieval.fusion import fuse
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.passages import Hit
from agentrunner.retrieval.tables import from_blob, to_blob, to_chunk
from agentrunner.retrieval.terms import terms
from agentrunner.retrieval.vectors import nearest
from agentrunner.retrieval.words import Found, by_words

if TYPE_CHECKING:
    from agentrunner.retrieval.embedding import Floats

CANDIDATES = 50
"""Of each way of searching, when two are fused: what comes later in one of them hardly wins by it any more."""

HITS_AT_ONCE = 20
"""Read by one statement: what most searches ask for at most."""

MAX_EMBEDDED_CHARACTERS = 8_000
"""Of a query. Models take some 8,000 tokens, and a character of Chinese may be a token."""


def search(
    index: Index,
    query: str,
    *,
    stores: Sequence[str],
    limit: int = 10,
    filters: object = None,
    score_threshold: float = 0.0,
    embedder: Embedder | None = None,
    embedding_weight: float = 1.0,
    text_weight: float = 1.0,
) -> list[Hit]:
    """At most `limit` passages with a score of at least `score_threshold`, best first; none from stores that are not
    there. Any text is a query. Raises `UsageError` for filters that are none (see `filters`), for weights that leave
    nothing, and for an embedder whose vectors are not those of a store.

    Scores are between 0 and 1. By words alone, a score is the share of the highest BM25 that the query could have
    reached: a passage of usual length that says every word of the query once has about 0.45. By vectors alone it is the
    cosine. By both, the two rankings are fused, and a score says how far up a passage stands in them: 1 is first in
    both. Without an embedder, or where no store has vectors, there are only words; a weight of 0 leaves that way out.
    """
    if not (embedding_weight >= 0 and text_weight >= 0 and 0 < embedding_weight + text_weight < float("inf")):
        raise UsageError(
            f"the weights {embedding_weight!r} and {text_weight!r} cannot be used",
            "give two numbers from 0, one above 0",
        )
    condition = None if filters is None else compile_filter(filters)
    wanted = terms(query)
    vector = _vector(index, query, stores, embedder) if embedder is not None and embedding_weight else None
    each_way = max(CANDIDATES, limit) if vector is not None else limit

    def work(execute: Execute) -> list[Hit]:
        said: list[Found] = []
        near: list[Found] = []
        for store in _stores(execute, stores):
            if vector is None or text_weight:
                said += by_words(execute, store.id, store.chunks, wanted, condition, each_way)
            if vector is not None and store.space is not None:
                check_same(store.name, store.space, vector.space)
                near += nearest(index, execute, store.id, vector.values, condition, each_way)
        found = _best(said, near, each_way, text_weight, embedding_weight if vector is not None else 0.0)
        return _hits(execute, [each for each in found if each.score >= score_threshold][:limit])

    return index.read(work)


class _Store(NamedTuple):
    id: int
    name: str
    chunks: int
    space: Space | None


class _Vector(NamedTuple):
    space: Space
    values: Floats


def _stores(execute: Execute, names: Sequence[str]) -> list[_Store]:
    """Those that are there, in the order of the names."""
    found: list[_Store] = []
    for name in dict.fromkeys(names):
        row = execute("SELECT id, chunks, space FROM stores WHERE name = ?", (to_blob(name),)).fetchone()
        if row:
            found.append(_Store(row[0], name, row[1], Space.from_json(row[2]) if row[2] else None))
    return found


def _vector(index: Index, query: str, stores: Sequence[str], embedder: Embedder) -> _Vector | None:
    """The query as a vector; None, and the model is not asked, when there is nothing to compare it with."""
    kept = [store for store in index.read(lambda execute: _stores(execute, stores)) if store.space is not None]
    for store in kept:
        check_same(store.name, store.space, embedder)
    text = query[:MAX_EMBEDDED_CHARACTERS]
    if not kept or not text.strip():
        return None
    space, vectors = embed(embedder, [text])
    return _Vector(space, vectors[0])


def _best(said: list[Found], near: list[Found], limit: int, text_weight: float, embedding_weight: float) -> list[Found]:
    """What was found in all stores, as one ranking."""
    by_words = sorted(said, key=lambda each: -each.score)[:limit]
    by_vectors = sorted(near, key=lambda each: -each.score)[:limit]
    if not embedding_weight:
        return by_words
    if not text_weight:
        return by_vectors
    ways = [(text_weight, by_words), (embedding_weight, by_vectors)]
    return [Found(*each) for each in fuse([(weight, [each.chunk for each in found]) for weight, found in ways])]


def _hits(execute: Execute, found: Sequence[Found]) -> list[Hit]:
    rows: dict[int, Any] = {}
    for first in range(0, len(found), HITS_AT_ONCE):
        ids = [each.chunk for each in found[first : first + HITS_AT_ONCE]]
        query = (
            "SELECT c.id, s.name, s.attributes, c.first, c.last, c.place, c.text FROM chunks c"  # noqa: S608 - marks
            f" JOIN sources s ON s.id = c.source WHERE c.id IN ({', '.join('?' * len(ids))})"
        )
        rows |= {id_: row for id_, *row in execute(query, ids)}
    hits: list[Hit] = []
    for id_, score in found:
        name, attributes, *passage = rows[id_]
        hits.append(Hit(from_blob(name), to_chunk(*passage), score, json.loads(attributes)))
    return hits
