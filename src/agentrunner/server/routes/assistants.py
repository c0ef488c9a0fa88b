"""Assistants: create, list, show, change, delete."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.ids import new_id
from agentrunner.server.requests import json_body, reply
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.stores import checked_resources
from agentrunner.server.wire.assistants import CREATE, MODIFY, modified, new_assistant
from agentrunner.server.wire.lists import deleted, listing, page_of
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    body = await json_body(request, CREATE)
    now = services.now

    def work(t: Tenant) -> JSON:
        resources = checked_resources(t, body.get("tool_resources"), now, body.get("tools"))
        return t.add("assistant", new_assistant(new_id("assistant"), now, body, resources))

    made = await services.store.write(owner_of(request), work)
    services.indexer.wake()
    return reply(public(made))


async def show_all(request: Request) -> Response:
    page = page_of(request.query_params)
    found = await services_of(request).store.read(owner_of(request), lambda t: t.page("assistant", page))
    return reply(listing(found, page))


async def show(request: Request) -> Response:
    id_ = request.path_params["assistant_id"]
    found = await services_of(request).store.read(owner_of(request), lambda t: t.need("assistant", id_))
    return reply(public(found))


async def modify(request: Request) -> Response:
    services = services_of(request)
    id_, body = request.path_params["assistant_id"], await json_body(request, MODIFY)
    now = services.now

    def work(t: Tenant) -> JSON:
        assistant = t.lock("assistant", id_)
        if body.get("tool_resources"):
            body["tool_resources"] = checked_resources(t, body["tool_resources"], now)
        return t.save("assistant", modified(assistant, body))

    return reply(public(await services.store.write(owner_of(request), work)))


async def remove(request: Request) -> Response:
    id_ = request.path_params["assistant_id"]

    def work(t: Tenant) -> None:
        t.lock("assistant", id_)
        t.remove("assistant", id_)

    await services_of(request).store.write(owner_of(request), work)
    return reply(deleted(id_, "assistant.deleted"))


ROUTES = [
    Route("/assistants", create, methods=["POST"]),
    Route("/assistants", show_all, methods=["GET"]),
    Route("/assistants/{assistant_id}", show, methods=["GET"]),
    Route("/assistants/{assistant_id}", modify, methods=["POST"]),
    Route("/assistants/{assistant_id}", remove, methods=["DELETE"]),
]
