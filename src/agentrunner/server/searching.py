"""Finding passages in vector stores: what both the search of a store and the file search of a run are made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from agentrunner.errors import UsageError
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.passages import Hit
from agentrunner.retrieval.search import search
from agentrunner.server.embedding import Pay
from agentrunner.server.faults import bad
from agentrunner.server.queries import Asked, Weights, ask_for
from agentrunner.server.services import Services, Used
from agentrunner.server.stores import is_touched, touch
from agentrunner.types import JSON

SMALL_CHUNKS = 100
MAX_USED = 1_000
"""Stores of which it is known when they were used last."""
SHORT_CHARACTERS = 500
"""Of all queries. So few words are looked for in so few chunks in about a millisecond; to wake a thread and to come
back from it takes as long where the process is busy."""
READY_S = 60.0
"""What a run waits at most for files of its stores that are being read: it has ten minutes in all."""


class Found(NamedTuple):
    """A passage. `place` says where in the file it stands."""

    file_id: str
    filename: str
    score: float
    text: str
    place: str
    attributes: JSON


class Searched(NamedTuple):
    """The passages, and what else there is to know of the search."""

    found: list[Found]
    remark: str


async def search_stores(
    services: Services,
    owner: str,
    store_ids: Sequence[str],
    queries: Sequence[str],
    *,
    limit: int,
    filters: object = None,
    score_threshold: float = 0.0,
    weights: Weights,
    pay: Pay,
) -> Searched:
    """At most `limit` passages, best first; `pay` is where vectors of the queries are bought. Raises `ApiError` for a
    store that has expired or is not there, and for filters that are none."""
    size = await _touched(services, owner, store_ids)
    asked = await ask_for(services, store_ids, queries, pay) if weights.embedding else Asked()

    def look(index: Index) -> list[Hit]:
        best: dict[tuple[str, int], Hit] = {}
        for query in queries:
            for hit in search(
                index,
                query,
                stores=store_ids,
                limit=limit,
                filters=filters,
                score_threshold=score_threshold,
                embedder=asked.embedder,
                embedding_weight=weights.embedding,
                text_weight=weights.text,
            ):
                place = (hit.source, hit.chunk.start)
                if place not in best or best[place].score < hit.score:
                    best[place] = hit
        return sorted(best.values(), key=lambda hit: -hit.score)[:limit]

    try:
        indexer = services.indexer
        small = asked.embedder is None and size <= SMALL_CHUNKS and sum(map(len, queries)) <= SHORT_CHARACTERS
        hits = look(indexer.reader) if small else await asyncio.to_thread(look, indexer.index)
    except UsageError as error:
        raise bad(f"Invalid 'filters': {error.message}; {error.hint}", "filters") from None
    files = await services.store.read(
        owner, lambda t: {id_: t.get("file", id_) for id_ in {hit.source for hit in hits}}
    )
    # A file that was deleted a moment ago may still be in the index.
    found = [
        Found(hit.source, file["filename"], hit.score, hit.chunk.text, hit.chunk.place, dict(hit.attributes))
        for hit in hits
        if (file := files[hit.source]) is not None
    ]
    return Searched(found, asked.remark)


async def _touched(services: Services, owner: str, store_ids: Sequence[str]) -> int:
    """Note that these stores are used, once a second at most. How many chunks they have, or had a moment ago. Raises
    `ApiError` for one that has expired."""
    now, used = services.now, services.used
    known = [used.get(id_) for id_ in store_ids]
    if all(one is not None and (one.owner, one.at) == (owner, now) for one in known):
        return sum(one.chunks for one in known if one is not None)
    if not await services.store.read(owner, lambda t: all(is_touched(t, id_, now) for id_ in store_ids)):
        await services.store.write(owner, lambda t: [touch(t, id_, now) for id_ in store_ids])
    if len(used) > MAX_USED:
        used.clear()
    found = {id_: Used(owner, now, services.indexer.reader.size([id_])) for id_ in store_ids}
    used |= found
    return sum(one.chunks for one in found.values())


async def stores_ready(services: Services, owner: str, store_ids: Sequence[str]) -> None:
    """Wait until none of these stores has files in progress, but not for ever: what is there can be searched."""
    deadline = time.monotonic() + READY_S
    while True:
        busy = await services.store.read(
            owner, lambda t: any(t.count("store_file", parent=id_).get("in_progress") for id_ in store_ids)
        )
        left = deadline - time.monotonic()
        if not busy or left <= 0:
            return
        await services.indexer.wait_for_change(min(left, 0.5))
