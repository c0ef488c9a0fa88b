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
from agentrunner.server.faults import bad
from agentrunner.server.services import Services
from agentrunner.server.stores import is_touched, touch
from agentrunner.types import JSON

SMALL_CHUNKS = 100
MAX_TOUCHED = 1_000
"""Stores of which it is known when they were used last."""
SHORT_CHARACTERS = 500
"""Of all queries. So few words are looked for in so few chunks in about a millisecond; to wake a thread and to come
back from it takes as long where the process is busy."""


class Found(NamedTuple):
    """A passage. `place` says where in the file it stands."""

    file_id: str
    filename: str
    score: float
    text: str
    place: str
    attributes: JSON


async def search_stores(
    services: Services,
    owner: str,
    store_ids: Sequence[str],
    queries: Sequence[str],
    *,
    limit: int,
    filters: object = None,
    score_threshold: float = 0.0,
) -> list[Found]:
    """At most `limit` passages, best first. Raises `ApiError` for a store that has expired or is not there, and for
    filters that are none."""
    await _touch(services, owner, store_ids)

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
            ):
                place = (hit.source, hit.chunk.start)
                if place not in best or best[place].score < hit.score:
                    best[place] = hit
        return sorted(best.values(), key=lambda hit: -hit.score)[:limit]

    try:
        indexer = services.indexer
        short = sum(map(len, queries)) <= SHORT_CHARACTERS
        small = short and indexer.reader.size(store_ids) <= SMALL_CHUNKS
        hits = look(indexer.reader) if small else await asyncio.to_thread(look, indexer.index)
    except UsageError as error:
        raise bad(f"Invalid 'filters': {error.message}; {error.hint}", "filters") from None
    files = await services.store.read(owner, lambda t: {hit.source: t.get("file", hit.source) for hit in hits})
    # A file that was deleted a moment ago may still be in the index.
    return [
        Found(hit.source, file["filename"], hit.score, hit.chunk.text, hit.chunk.place, dict(hit.attributes))
        for hit in hits
        if (file := files[hit.source]) is not None
    ]


async def _touch(services: Services, owner: str, store_ids: Sequence[str]) -> None:
    """Note that these stores are used, once a second at most. Raises `ApiError` for one that has expired."""
    now, touched = services.now, services.touched
    if all(touched.get(id_) == (owner, now) for id_ in store_ids):
        return
    if not await services.store.read(owner, lambda t: all(is_touched(t, id_, now) for id_ in store_ids)):
        await services.store.write(owner, lambda t: [touch(t, id_, now) for id_ in store_ids])
    if len(touched) > MAX_TOUCHED:
        touched.clear()
    touched |= dict.fromkeys(store_ids, (owner, now))


async def stores_ready(services: Services, owner: str, store_ids: Sequence[str], timeout_s: float = 60.0) -> bool:
    """Wait until none of these stores has files in progress. Whether it came to that in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        busy = await services.store.read(
            owner, lambda t: any(t.count("store_file", parent=id_).get("in_progress") for id_ in store_ids)
        )
        left = deadline - time.monotonic()
        if not busy or left <= 0:
            return not busy
        await services.indexer.wait_for_change(min(left, 0.5))
