"""Models: the one that this server speaks to. Any name works, since it is the endpoint that knows its models."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.faults import ApiError
from agentrunner.server.requests import reply
from agentrunner.server.services import services_of
from agentrunner.types import JSON

_CREATED = 0
"""Nobody knows when a model was made."""


async def show_all(request: Request) -> Response:
    services = services_of(request)
    return reply({"object": "list", "data": [_model(services.model_override or services.settings.model)]})


async def show(request: Request) -> Response:
    return reply(_model(request.path_params["model"]))


async def remove(request: Request) -> Response:
    name = request.path_params["model"][:120]
    raise ApiError(
        404, f"The model '{name}' cannot be deleted: it is not kept here.", param="model", code="model_not_found"
    )


def _model(name: str) -> JSON:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "agentrunner"}


ROUTES = [
    Route("/models", show_all, methods=["GET"]),
    Route("/models/{model:path}", show, methods=["GET"]),
    Route("/models/{model:path}", remove, methods=["DELETE"]),
]
