"""Runs: create, also with a thread, list, show, change, cancel, submit outputs; each stream of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agentrunner.server.attempt import least_usd
from agentrunner.server.feed import Feed, Item, server_sent
from agentrunner.server.requests import json_body, reply, thread_of
from agentrunner.server.runs import accept_outputs, add_run, ask_to_cancel
from agentrunner.server.services import Services, owner_of, services_of
from agentrunner.server.spending import refuse_when_spent
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.threads import create_thread
from agentrunner.server.wire.lists import listing, page_of
from agentrunner.server.wire.runs import MODIFY_RUN, SUBMIT, create_run, create_thread_and_run, include_of
from agentrunner.types import JSON

POLL_AFTER_MS = 50
"""How soon a client should ask again for a run: it costs little here, and most of what it waits for is a model."""
HOLD_S = 1.0
"""A client that only waits for the end of a run gets its answer then, or after so long: less than what anybody waits
for an answer, and than what the server gives open requests when it stops."""
POLL_AFTER_MS_PER_RUN = 2
"""Where many runs go on, their clients' questions must not keep the server from working on them."""


async def create(request: Request) -> Response:
    services, thread_id = services_of(request), request.path_params["thread_id"]
    include = include_of(request.query_params.multi_items())
    body = await json_body(request, create_run) | {"_include": include}
    now = services.now

    def work(t: Tenant) -> tuple[JSON, list[JSON]]:
        made = add_run(t, thread_id, body, now)
        refuse_when_spent(t.execute, t.owner, least_usd(services, made[0]))
        return made

    run, cancelled = await services.store.write(owner_of(request), work)
    if body.get("additional_messages"):
        services.indexer.wake()
    for before in cancelled:
        services.worker.cancel(owner_of(request), before)
    return _begun(request, services, run, [("thread.run.created", run), ("thread.run.queued", run)])


async def create_with_thread(request: Request) -> Response:
    services = services_of(request)
    body = await json_body(request, create_thread_and_run)
    now = services.now

    def work(t: Tenant) -> tuple[JSON, JSON]:
        thread = create_thread(t, body.get("thread") or {}, now)
        run, _ = add_run(t, thread["id"], body, now)
        refuse_when_spent(t.execute, t.owner, least_usd(services, run))
        return thread, run

    thread, run = await services.store.write(owner_of(request), work)
    services.indexer.wake()
    first = [("thread.created", thread), ("thread.run.created", run), ("thread.run.queued", run)]
    return _begun(request, services, run, first)


async def submit(request: Request) -> Response:
    services = services_of(request)
    thread_id, id_ = request.path_params["thread_id"], request.path_params["run_id"]
    body = await json_body(request, SUBMIT)

    def work(t: Tenant) -> JSON:
        run = accept_outputs(t, thread_id, id_, body)
        return t.save("run", run | {"_stream": bool(body.get("stream"))}, parent=thread_id)

    run = await services.store.write(owner_of(request), work)
    return _begun(request, services, run, [])


async def cancel(request: Request) -> Response:
    thread_id, id_ = await thread_of(request), request.path_params["run_id"]
    services, owner = services_of(request), owner_of(request)
    run = await services.store.write(owner, lambda t: ask_to_cancel(t, thread_id, id_))
    services.worker.cancel(owner, run)
    return _shown(services, run)


async def show_all(request: Request) -> Response:
    thread_id, page = await thread_of(request), page_of(request.query_params)

    def work(t: Tenant) -> list[JSON]:
        t.need("thread", thread_id)
        return t.page("run", page, parent=thread_id)

    return reply(listing(await services_of(request).store.read(owner_of(request), work), page))


async def show(request: Request) -> Response:
    """With `stream=true`, an extension: what happens from now on, for a client that lost its stream. The helper of
    OpenAI's clients that asks until a run has ended says so in a header, and may be answered later."""
    services, follow = services_of(request), request.query_params.get("stream") == "true"
    live = services.worker.live(request.path_params["run_id"])
    ours = live is not None and live.owner == owner_of(request) and live.thread_id == request.path_params["thread_id"]
    if live is not None and ours and not follow:
        if request.headers.get("x-stainless-poll-helper") == "true":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOLD_S):
                    await live.settled.wait()
        # Where another server turned out to work on it, it is no longer here, and only its row knows.
        if live.shown is not None and services.worker.live(live.view.run["id"]) is live:
            return _shown(services, live.shown)
    thread_id, id_ = await thread_of(request), request.path_params["run_id"]

    def work(t: Tenant) -> JSON:
        t.need("thread", thread_id)
        return t.need("run", id_, thread_id)

    run = await services.store.read(owner_of(request), work)
    return _followed(services, run) if follow else _shown(services, run)


def _followed(services: Services, run: JSON) -> Response:
    live = services.worker.live(run["id"])
    if live is None or live.ending:
        feed = Feed()
        feed.end()
        return _streamed(feed, [(f"thread.run.{run['status']}", public(run))])
    return _streamed(live.feed, live.view.so_far())


async def modify(request: Request) -> Response:
    thread_id, id_ = await thread_of(request), request.path_params["run_id"]
    body = await json_body(request, MODIFY_RUN)

    def work(t: Tenant) -> JSON:
        t.need("thread", thread_id)
        run = t.lock("run", id_, thread_id)
        if "metadata" in body:
            run["metadata"] = body["metadata"] or {}
        return t.save("run", run, parent=thread_id)

    services = services_of(request)
    run = await services.store.write(owner_of(request), work)
    if live := services.worker.live(id_):
        live.view.run["metadata"] = run["metadata"]
    return _shown(services, run)


def _begun(request: Request, services: Services, run: JSON, first: list[Item]) -> Response:
    live = services.worker.begin(owner_of(request), run)
    if not run["_stream"]:
        return _shown(services, run)
    return _streamed(live.feed, [(name, public(data)) for name, data in first])


def _streamed(feed: Feed, first: Sequence[Item]) -> Response:
    stream = server_sent(feed, feed.follow(first))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-cache"})


def _shown(services: Services, run: JSON) -> Response:
    after_ms = max(POLL_AFTER_MS, POLL_AFTER_MS_PER_RUN * services.worker.count)
    return reply(public(run), poll_after_ms=after_ms)


ROUTES = [
    Route("/threads/runs", create_with_thread, methods=["POST"]),
    Route("/threads/{thread_id}/runs", create, methods=["POST"]),
    Route("/threads/{thread_id}/runs", show_all, methods=["GET"]),
    Route("/threads/{thread_id}/runs/{run_id}", show, methods=["GET"]),
    Route("/threads/{thread_id}/runs/{run_id}", modify, methods=["POST"]),
    Route("/threads/{thread_id}/runs/{run_id}/cancel", cancel, methods=["POST"]),
    Route("/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", submit, methods=["POST"]),
]
