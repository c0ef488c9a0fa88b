"""Steps of a run: list, show."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.requests import reply, thread_of
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.wire.lists import listing, page_of
from agentrunner.server.wire.runs import include_of, shown_step
from agentrunner.types import JSON


async def show_all(request: Request) -> Response:
    thread_id, run_id = await thread_of(request), request.path_params["run_id"]
    page, include = page_of(request.query_params), include_of(request.query_params.multi_items())

    def work(t: Tenant) -> list[JSON]:
        t.need("thread", thread_id)
        t.need("run", run_id, thread_id)
        return t.page("step", page, parent=run_id)

    found = await services_of(request).store.read(owner_of(request), work)
    return reply(listing([shown_step(step, include) for step in found], page))


async def show(request: Request) -> Response:
    thread_id = await thread_of(request)
    run_id, id_ = request.path_params["run_id"], request.path_params["step_id"]
    include = include_of(request.query_params.multi_items())

    def work(t: Tenant) -> JSON:
        t.need("thread", thread_id)
        t.need("run", run_id, thread_id)
        return t.need("step", id_, run_id)

    step = await services_of(request).store.read(owner_of(request), work)
    return reply(public(shown_step(step, include)))


ROUTES = [
    Route("/threads/{thread_id}/runs/{run_id}/steps", show_all, methods=["GET"]),
    Route("/threads/{thread_id}/runs/{run_id}/steps/{step_id}", show, methods=["GET"]),
]
