"""Files of a vector store: put in, list, show, change, take out, and what was read of them."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.retrieval.passages import Chunk
from agentrunner.server.requests import POLL_AFTER_MS, json_body, reply
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.stores import attach, detach
from agentrunner.server.wire import stores as wire
from agentrunner.server.wire.checks import one_of
from agentrunner.server.wire.lists import deleted, listing, page_of
from agentrunner.server.wire.parts import object_in
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    store_id, body = request.path_params["vector_store_id"], await json_body(request, wire.CREATE_FILE)
    now = services.now
    made = await services.store.write(owner_of(request), lambda t: attach(t, t.lock("store", store_id), body, now))
    services.indexer.wake()
    return reply(public(made), poll_after_ms=POLL_AFTER_MS)


async def show_all(request: Request) -> Response:
    return await listed(request, request.path_params["vector_store_id"])


async def listed(request: Request, store_id: str, batch_id: str = "") -> Response:
    """The files of a store, or only those of one batch."""
    page, status = page_of(request.query_params), request.query_params.get("filter", "")
    if status:
        one_of(*wire.FILE_STATUSES)(status, "filter")

    def work(t: Tenant) -> list[JSON]:
        t.need("store", store_id)
        if batch_id:
            t.need("batch", batch_id, store_id)
        return t.page("store_file", page, parent=store_id, status=status, label=batch_id)

    return reply(listing(await services_of(request).store.read(owner_of(request), work), page))


async def show(request: Request) -> Response:
    return reply(public(await _file(request)), poll_after_ms=POLL_AFTER_MS)


async def modify(request: Request) -> Response:
    services = services_of(request)
    store_id, file_id = request.path_params["vector_store_id"], request.path_params["file_id"]
    body = await json_body(request, wire.MODIFY_FILE)
    attributes = object_in(body, "attributes")

    def work(t: Tenant) -> JSON:
        t.lock("store", store_id)
        file = t.lock("store_file", file_id, store_id)
        return t.save("store_file", file | {"attributes": attributes}, parent=store_id)

    changed = await services.store.write(owner_of(request), work)
    await asyncio.to_thread(services.indexer.index.describe, store_id, file_id, attributes)
    return reply(public(changed))


async def remove(request: Request) -> Response:
    services = services_of(request)
    store_id, file_id = request.path_params["vector_store_id"], request.path_params["file_id"]
    await services.store.write(owner_of(request), lambda t: detach(t, store_id, file_id))
    await asyncio.to_thread(services.indexer.index.drop, store_id, file_id)
    return reply(deleted(file_id, "vector_store.file.deleted"))


async def content(request: Request) -> Response:
    """The text that was read of a file, whole and in order; none before it is indexed."""
    file = await _file(request)
    index = services_of(request).indexer.index
    found = await asyncio.to_thread(index.chunks, file["vector_store_id"], file["id"])
    return reply(wire.content(_without_overlap(found)))


def _without_overlap(chunks: list[Chunk]) -> list[str]:
    pieces: list[str] = []
    end = 0
    for chunk in chunks:
        if chunk.end > end:
            pieces.append(chunk.text[max(0, end - chunk.start) :])
            end = chunk.end
    return pieces


async def _file(request: Request) -> JSON:
    store_id, file_id = request.path_params["vector_store_id"], request.path_params["file_id"]

    def work(t: Tenant) -> JSON:
        t.need("store", store_id)
        return t.need("store_file", file_id, store_id)

    return await services_of(request).store.read(owner_of(request), work)


ROUTES = [
    Route("/vector_stores/{vector_store_id}/files", create, methods=["POST"]),
    Route("/vector_stores/{vector_store_id}/files", show_all, methods=["GET"]),
    Route("/vector_stores/{vector_store_id}/files/{file_id}", show, methods=["GET"]),
    Route("/vector_stores/{vector_store_id}/files/{file_id}", modify, methods=["POST"]),
    Route("/vector_stores/{vector_store_id}/files/{file_id}", remove, methods=["DELETE"]),
    Route("/vector_stores/{vector_store_id}/files/{file_id}/content", content, methods=["GET"]),
]
