"""Messages of a thread: add, list, show, change, delete."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.faults import missing
from agentrunner.server.ids import usable
from agentrunner.server.requests import json_body, reply, thread_of
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.threads import add_message, not_before, refuse_while_active
from agentrunner.server.wire.lists import deleted, listing, page_of
from agentrunner.server.wire.threads import MODIFY_MESSAGE, create_message
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    thread_id, body = request.path_params["thread_id"], await json_body(request, create_message)
    now = services.now

    def work(t: Tenant) -> JSON:
        thread = t.lock("thread", thread_id)
        refuse_while_active(t, thread_id)
        return add_message(t, thread, body, not_before(t, thread_id, now))

    made = await services.store.write(owner_of(request), work)
    services.indexer.wake()
    return reply(public(made))


async def show_all(request: Request) -> Response:
    thread_id, run_id = await thread_of(request), request.query_params.get("run_id", "")
    page = page_of(request.query_params)
    if run_id and not usable(run_id):
        raise missing("run", run_id)

    def work(t: Tenant) -> list[JSON]:
        t.need("thread", thread_id)
        return t.page("message", page, parent=thread_id, label=run_id)

    return reply(listing(await services_of(request).store.read(owner_of(request), work), page))


async def show(request: Request) -> Response:
    thread_id, id_ = await thread_of(request), request.path_params["message_id"]

    def work(t: Tenant) -> JSON:
        t.need("thread", thread_id)
        return t.need("message", id_, thread_id)

    return reply(public(await services_of(request).store.read(owner_of(request), work)))


async def modify(request: Request) -> Response:
    thread_id, id_ = await thread_of(request), request.path_params["message_id"]
    body = await json_body(request, MODIFY_MESSAGE)

    def work(t: Tenant) -> JSON:
        t.need("thread", thread_id)
        message = t.lock("message", id_, thread_id)
        if "metadata" in body:
            message["metadata"] = body["metadata"] or {}
        return t.save("message", message, parent=thread_id)

    return reply(public(await services_of(request).store.write(owner_of(request), work)))


async def remove(request: Request) -> Response:
    thread_id, id_ = await thread_of(request), request.path_params["message_id"]

    def work(t: Tenant) -> None:
        t.need("thread", thread_id)
        t.lock("message", id_, thread_id)
        t.remove("message", id_, thread_id)

    await services_of(request).store.write(owner_of(request), work)
    return reply(deleted(id_, "thread.message.deleted"))


ROUTES = [
    Route("/threads/{thread_id}/messages", create, methods=["POST"]),
    Route("/threads/{thread_id}/messages", show_all, methods=["GET"]),
    Route("/threads/{thread_id}/messages/{message_id}", show, methods=["GET"]),
    Route("/threads/{thread_id}/messages/{message_id}", modify, methods=["POST"]),
    Route("/threads/{thread_id}/messages/{message_id}", remove, methods=["DELETE"]),
]
