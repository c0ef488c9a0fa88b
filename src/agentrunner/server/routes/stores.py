"""Vector stores: create, list, show, change, delete, search."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.embedding import account_of
from agentrunner.server.expiry import remove_store
from agentrunner.server.faults import bad
from agentrunner.server.queries import weights_of
from agentrunner.server.requests import json_body, reply
from agentrunner.server.searching import search_stores
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.stores import make_store, show_store
from agentrunner.server.wire import stores as wire
from agentrunner.server.wire.lists import deleted, listing, page_of
from agentrunner.types import JSON

REMARK = "x-search-remark"
"""Header of an answer: the original has no place for what is to be known of a search."""


async def create(request: Request) -> Response:
    services = services_of(request)
    body = await json_body(request, wire.CREATE)
    now = services.now
    made = await services.store.write(owner_of(request), lambda t: show_store(t, make_store(t, body, now), now))
    services.indexer.wake()
    return reply(made)


async def show_all(request: Request) -> Response:
    services = services_of(request)
    page, now = page_of(request.query_params), services.now

    def work(t: Tenant) -> list[JSON]:
        return [show_store(t, store, now) for store in t.page("store", page)]

    return reply(listing(await services.store.read(owner_of(request), work), page))


async def show(request: Request) -> Response:
    services = services_of(request)
    id_, now = request.path_params["vector_store_id"], services.now
    found = await services.store.read(owner_of(request), lambda t: show_store(t, t.need("store", id_), now))
    return reply(found)


async def modify(request: Request) -> Response:
    services = services_of(request)
    id_, body = request.path_params["vector_store_id"], await json_body(request, wire.MODIFY)
    now = services.now

    def work(t: Tenant) -> JSON:
        store = t.lock("store", id_)
        if wire.has_expired(store, now):
            raise bad(f"Vector store {id_} has expired.", "vector_store_id", None)
        store = t.save("store", wire.modified_store(store, body))
        t.expire_at("store", id_, wire.expiry_of(store))
        return show_store(t, store, now)

    return reply(await services.store.write(owner_of(request), work))


async def remove(request: Request) -> Response:
    id_ = request.path_params["vector_store_id"]
    await remove_store(services_of(request), owner_of(request), id_)
    return reply(deleted(id_, "vector_store.deleted"))


async def search(request: Request) -> Response:
    id_, body = request.path_params["vector_store_id"], await json_body(request, wire.search)
    services, owner = services_of(request), owner_of(request)
    searched = await search_stores(
        services,
        owner,
        [id_],
        body["queries"],
        limit=body["limit"],
        filters=body["filters"],
        score_threshold=body["score_threshold"],
        weights=weights_of(body["weights"]),
        pay=account_of(services, owner),
    )
    data: list[JSON] = [
        {
            "file_id": each.file_id,
            "filename": each.filename,
            "score": each.score,
            "attributes": each.attributes,
            "content": [{"type": "text", "text": each.text}],
        }
        for each in searched.found
    ]
    answer = reply(wire.results(body["queries"], data))
    if searched.remark:
        answer.headers[REMARK] = " ".join(searched.remark.encode("ascii", "backslashreplace").decode().split())
    return answer


ROUTES = [
    Route("/vector_stores", create, methods=["POST"]),
    Route("/vector_stores", show_all, methods=["GET"]),
    Route("/vector_stores/{vector_store_id}", show, methods=["GET"]),
    Route("/vector_stores/{vector_store_id}", modify, methods=["POST"]),
    Route("/vector_stores/{vector_store_id}", remove, methods=["DELETE"]),
    Route("/vector_stores/{vector_store_id}/search", search, methods=["POST"]),
]
