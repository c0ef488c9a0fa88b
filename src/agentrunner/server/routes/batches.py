"""Files put into a vector store together: create, show, cancel, list."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.ids import new_id
from agentrunner.server.requests import POLL_AFTER_MS, json_body, reply
from agentrunner.server.routes.store_files import listed
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.stores import attach_all, show_batch
from agentrunner.server.wire import stores as wire
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    store_id, files = request.path_params["vector_store_id"], await json_body(request, wire.create_batch)
    now = services.now

    def work(t: Tenant) -> JSON:
        store = t.lock("store", store_id)
        batch = t.add("batch", wire.new_batch(new_id("batch"), now, store_id), parent=store_id)
        attach_all(t, store, files, now, batch["id"])
        return show_batch(t, batch)

    made = await services.store.write(owner_of(request), work)
    services.indexer.wake()
    return reply(made, poll_after_ms=POLL_AFTER_MS)


async def show(request: Request) -> Response:
    store_id, id_ = request.path_params["vector_store_id"], request.path_params["batch_id"]

    def work(t: Tenant) -> JSON:
        t.need("store", store_id)
        return show_batch(t, t.need("batch", id_, store_id))

    return reply(await services_of(request).store.read(owner_of(request), work), poll_after_ms=POLL_AFTER_MS)


async def cancel(request: Request) -> Response:
    """Files that are not indexed yet will not be; those that are stay."""
    store_id, id_ = request.path_params["vector_store_id"], request.path_params["batch_id"]

    def work(t: Tenant) -> JSON:
        t.lock("store", store_id)
        batch = t.lock("batch", id_, store_id)
        waiting = t.all("store_file", parent=store_id, status="in_progress", label=id_)
        for file in waiting:
            t.save("store_file", file | {"status": "cancelled"}, parent=store_id)
        if waiting:
            batch = t.save("batch", batch | {"status": "cancelled"}, parent=store_id)
        return show_batch(t, batch)

    return reply(await services_of(request).store.write(owner_of(request), work), poll_after_ms=POLL_AFTER_MS)


async def show_files(request: Request) -> Response:
    return await listed(request, request.path_params["vector_store_id"], request.path_params["batch_id"])


ROUTES = [
    Route("/vector_stores/{vector_store_id}/file_batches", create, methods=["POST"]),
    Route("/vector_stores/{vector_store_id}/file_batches/{batch_id}", show, methods=["GET"]),
    Route("/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel", cancel, methods=["POST"]),
    Route("/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", show_files, methods=["GET"]),
]
