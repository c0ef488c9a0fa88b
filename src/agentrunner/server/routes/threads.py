"""Threads: create, list, show, change, delete."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.requests import json_body, reply
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.stores import checked_resources
from agentrunner.server.threads import create_thread
from agentrunner.server.wire.lists import deleted, listing, page_of
from agentrunner.server.wire.threads import CREATE_THREAD, MODIFY_THREAD, modified_thread
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    body = await json_body(request, CREATE_THREAD)
    now = services.now
    made = await services.store.write(owner_of(request), lambda t: create_thread(t, body, now))
    services.indexer.wake()
    return reply(public(made))


async def show_all(request: Request) -> Response:
    """An extension: the original could not say which threads there are."""
    page = page_of(request.query_params)
    found = await services_of(request).store.read(owner_of(request), lambda t: t.page("thread", page))
    return reply(listing(found, page))


async def show(request: Request) -> Response:
    id_ = request.path_params["thread_id"]
    found = await services_of(request).store.read(owner_of(request), lambda t: t.need("thread", id_))
    return reply(public(found))


async def modify(request: Request) -> Response:
    services = services_of(request)
    id_, body = request.path_params["thread_id"], await json_body(request, MODIFY_THREAD)
    now = services.now

    def work(t: Tenant) -> JSON:
        thread = t.lock("thread", id_)
        if body.get("tool_resources"):
            body["tool_resources"] = checked_resources(t, body["tool_resources"], now)
        return t.save("thread", modified_thread(thread, body))

    return reply(public(await services.store.write(owner_of(request), work)))


async def remove(request: Request) -> Response:
    """Also while a run is active: its row is gone then, which is how whoever works on it learns of it."""
    id_ = request.path_params["thread_id"]

    def work(t: Tenant) -> list[str]:
        t.lock("thread", id_)
        runs = [run["id"] for run in t.all("run", parent=id_)]
        t.remove_children(id_)
        t.remove("thread", id_)
        return runs

    services = services_of(request)
    await services.worker.forget(owner_of(request), await services.store.write(owner_of(request), work))
    return reply(deleted(id_, "thread.deleted"))


ROUTES = [
    Route("/threads", create, methods=["POST"]),
    Route("/threads", show_all, methods=["GET"]),
    Route("/threads/{thread_id}", show, methods=["GET"]),
    Route("/threads/{thread_id}", modify, methods=["POST"]),
    Route("/threads/{thread_id}", remove, methods=["DELETE"]),
]
