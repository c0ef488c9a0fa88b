"""Chunks of one store that hold the words of a query, best first: BM25 over SQLite's FTS5. It knows no vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from agentrunner.retrieval.file import Execute
from agentrunner.retrieval.filters import Condition
from agentrunner.retrieval.terms import Term

MAX_TELLING_TERMS = 48
"""The rarest terms of a query, which decide the order. It bounds the time that a whole page as a query takes."""

MANY = 100
"""Chunks of a store from which on it can be said which words are common in it. What more than half of them hold is like
a stopword, whatever the language: it decides next to nothing, and going through them all takes the most time."""

TERMS_AT_ONCE = 16
"""Counted by one statement: most queries have fewer, and few statements have to be prepared."""

HIGHEST = 2.2
"""How often a term's weight BM25 can give at most, however often the chunk holds it: k1 + 1, in FTS5 1.2 + 1."""


class Found(NamedTuple):
    chunk: int
    score: float


def by_words(
    execute: Execute, store: int, chunks: int, terms: Sequence[Term], condition: Condition | None, limit: int
) -> list[Found]:
    """The best `limit` of a store with so many chunks. A score is the share, above 0 and at most 1, of the highest BM25
    that any chunk could have for these terms; terms that the store does not know count, so a score says how much of the
    query was found, and scores of several stores compare.

    FTS5 gives nothing to a term that half of the chunks hold, which in a store of three is every other. So the terms
    are asked for one by one, and weighed by the formula of Lucene, which never gets to 0.
    """
    counts = [
        count
        for first in range(0, len(terms), TERMS_AT_ONCE)
        for count in _counts(execute, store, terms[first : first + TERMS_AT_ONCE])
    ]
    weighed = sorted(map(_weigh, terms, counts, repeat(chunks)), key=lambda each: -each.weight)
    if chunks >= MANY and any(0 < each.chunks <= chunks / 2 for each in weighed):
        weighed = [each for each in weighed if each.chunks <= chunks / 2]
    total = sum(each.weight for each in weighed)
    asked = [each for each in weighed if each.chunks][:MAX_TELLING_TERMS]
    if not asked or limit < 1:
        return []
    # Stands for one term: the table's hidden column `rank` is its BM25, below 0, with both columns weighing the same.
    one = f"SELECT rowid AS id, -rank * ? AS score FROM words_{store} WHERE words_{store} MATCH ?"  # noqa: S608
    parameters: list[object] = []
    for each in asked:
        parameters += [each.weight / each.fts5, each.term.match]
    only = ""
    if condition is not None:
        allowed = f"SELECT s.id FROM sources s WHERE s.store = ? AND {condition.sql}"  # noqa: S608 - our own words
        only = f"JOIN chunks c ON c.id = found.id WHERE c.source IN ({allowed})"
        parameters += [store, *condition.parameters]
    rows = execute(
        f"SELECT found.id, sum(found.score) AS score FROM ({' UNION ALL '.join([one] * len(asked))}) found {only}"  # noqa: S608
        " GROUP BY found.id ORDER BY score DESC, found.id LIMIT ?",
        (*parameters, limit),
    )
    highest = HIGHEST * total
    return [Found(int(id_), min(1.0, score / highest)) for id_, score in rows]


class _Weighed(NamedTuple):
    term: Term
    chunks: int
    weight: float
    fts5: float
    """The weight that FTS5 has given this term already."""


def _counts(execute: Execute, store: int, terms: Sequence[Term]) -> Sequence[int]:
    """How many chunks hold each of these terms."""
    one = f"(SELECT count(*) FROM words_{store} WHERE words_{store} MATCH ?)"  # noqa: S608 - a number
    query = f"SELECT {', '.join([one] * len(terms))}"
    return execute(query, [term.match for term in terms]).fetchone()


def _weigh(term: Term, count: int, chunks: int) -> _Weighed:
    odds = (chunks - count + 0.5) / (count + 0.5)
    # FTS5 puts this in the place of weights that are not above 0.
    fts5 = math.log(odds) if odds > 1 else 1e-6
    return _Weighed(term, count, math.log1p(odds), fts5)
