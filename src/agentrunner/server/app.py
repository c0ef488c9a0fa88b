"""The server as an ASGI application: every route under every prefix that clients use, and what runs beside them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Router

from agentrunner.errors import AgentError
from agentrunner.server.expiry import sweep_forever
from agentrunner.server.faults import ApiError
from agentrunner.server.guarding import Guarding, Policy
from agentrunner.server.keys import DEFAULT_OWNER
from agentrunner.server.requests import failure
from agentrunner.server.routes import (
    assistants,
    batches,
    files,
    messages,
    models,
    runs,
    steps,
    store_files,
    stores,
    threads,
    uploads,
)
from agentrunner.server.services import Services, owner_of
from agentrunner.server.wire.limits import FILE_BYTES

PREFIXES = ("/v1", "/openai/v1", "/openai")
"""OpenAI's own, and the two of Azure."""

ROUTES = [
    *runs.ROUTES,
    *steps.ROUTES,
    *messages.ROUTES,
    *threads.ROUTES,
    *assistants.ROUTES,
    *files.ROUTES,
    *uploads.ROUTES,
    *stores.ROUTES,
    *store_files.ROUTES,
    *batches.ROUTES,
    *models.ROUTES,
]
"""The first that fits answers; what is asked most often comes first."""

_DRAIN_BYTES = 2 * FILE_BYTES
_DRAIN_S = 60.0
_START_AGAIN_S = 1.0


def make_app(services: Services, policy: Policy) -> Guarding:
    app = Starlette(
        # A redirect would name this server as it calls itself, which is not how a proxy is called.
        routes=[Mount(prefix, Router(ROUTES, redirect_slashes=False)) for prefix in PREFIXES],
        exception_handlers={
            ApiError: _refused,
            HTTPException: _no_route,
            ClientDisconnect: _left,
            AgentError: _broken,
            OSError: _broken,
            Exception: _broken,
        },
        lifespan=functools.partial(_lifespan, services),
    )
    app.router.redirect_slashes = False
    app.state.services = services
    return Guarding(app, policy)


@contextlib.asynccontextmanager
async def _lifespan(services: Services, app: Starlette) -> AsyncGenerator[None]:
    beside = [
        lambda: services.indexer.run(services),
        lambda: sweep_forever(services),
        services.worker.run,
        services.tools.run,
        *([services.vectors.run] if services.vectors else []),
    ]
    await services.worker.catch_up()
    tasks = [asyncio.create_task(_keep_running(start)) for start in beside]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.pool.aclose()


async def _keep_running(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A database that was away for a while must not end what runs beside the requests."""
    while True:
        try:
            await start()
            return
        except Exception:  # the edge of this process: nobody waits for the task who would say what happened
            traceback.print_exc(file=sys.stderr)
        await asyncio.sleep(_START_AGAIN_S)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    if error.status == 413:
        await _drain(request)
    return failure(error)


async def _drain(request: Request) -> None:
    """Let a client send what it has begun to send: it only reads an answer when it is done."""
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while seen < _DRAIN_BYTES and not request.scope["state"]["body_over"]:
                seen += len((await request.receive()).get("body", b""))


async def _left(request: Request, error: Exception) -> Response:
    return failure(ApiError(400, "The request did not come to its end."))  # Nobody is there to read it.


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    shown = f"{request.method} {request.url.path[:200]}"
    if error.status_code == 405:
        return failure(ApiError(405, f"Not allowed to {request.method} on {request.url.path[:200]}."))
    return failure(ApiError(error.status_code, f"Invalid URL ({shown})", code="unknown_url"))


async def _broken(request: Request, error: Exception) -> Response:
    message = "The server had an error while processing your request. What it was stands in the server's own output."
    if isinstance(error, AgentError | OSError):  # a full disk is one of these
        print(f"agent: {error}", file=sys.stderr)
        # It names places of this machine, which are nothing to who is let in with a key.
        message = str(error) if owner_of(request) == DEFAULT_OWNER else message
    return failure(ApiError(500, message, kind="server_error"))
