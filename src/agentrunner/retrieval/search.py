"""The passages of one or more stores that answer a query, best first."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentrunner.retrieval.file import Execute
from agentrunner.retrieval.filters import compile_filter
from agentrunner.retrieval.index import Index, from_blob, to_blob, to_chunk
from agentrunner.retrieval.passages import Hit
from agentrunner.retrieval.terms import terms
from agentrunner.retrieval.words import Found, by_words

CANDIDATES = 50
"""Of each way of searching, when two are fused: what comes later in one of them cannot win by it any more."""


def search(
    index: Index,
    query: str,
    *,
    stores: Sequence[str],
    limit: int = 10,
    filters: object = None,
    score_threshold: float = 0.0,
) -> list[Hit]:
    """At most `limit` passages with a score of at least `score_threshold`, best first; none from stores that are not
    there. Any text is a query. Raises `UsageError` for filters that are none, see `filters`.

    A score is between 0 and 1: the share of the highest BM25 that the query could have reached. A passage of usual
    length that says every word of the query once has about 0.45.
    """
    condition = None if filters is None else compile_filter(filters)
    wanted = terms(query)

    def work(execute: Execute) -> list[Hit]:
        found: list[Found] = []
        for id_, chunks in _stores(execute, stores):
            found += by_words(execute, id_, chunks, wanted, condition, limit)
        found.sort(key=lambda each: -each.score)
        return _hits(execute, [each for each in found if each.score >= score_threshold][:limit])

    return index.read(work)


def _stores(execute: Execute, names: Sequence[str]) -> list[tuple[int, int]]:
    """Id and number of chunks of each store that is there, in the order of the names."""
    query = "SELECT id, chunks FROM stores WHERE name = ?"
    found = (execute(query, (to_blob(name),)).fetchone() for name in dict.fromkeys(names))
    return [row for row in found if row]


def _hits(execute: Execute, found: Sequence[Found]) -> list[Hit]:
    query = (
        "SELECT s.name, s.attributes, c.first, c.last, c.place, c.text FROM chunks c JOIN sources s ON s.id = c.source"
        " WHERE c.id = ?"
    )
    hits: list[Hit] = []
    for id_, score in found:
        name, attributes, *passage = execute(query, (id_,)).fetchone()
        hits.append(Hit(from_blob(name), to_chunk(*passage), score, json.loads(attributes)))
    return hits
