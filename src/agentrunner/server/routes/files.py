"""Files: upload, list, show, delete, download."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from agentrunner.server.expiry import remove_file
from agentrunner.server.faults import ApiError
from agentrunner.server.files import keep
from agentrunner.server.multipart import read_form
from agentrunner.server.requests import reply
from agentrunner.server.services import owner_of, services_of
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.stores import live_file
from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import one_of
from agentrunner.server.wire.files import LISTED_PURPOSES, create_file
from agentrunner.server.wire.lists import deleted, listing, page_of
from agentrunner.server.wire.parts import object_in
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    incoming = services.blobs.incoming()
    try:
        form = await read_form(request, "file", incoming, limits.FILE_BYTES)
        body = create_file(form.fields)
        seconds = object_in(body, "expires_after").get("seconds")
        assert form.filename is not None
        file = await keep(services, owner_of(request), incoming, form.filename, body["purpose"], seconds)
    finally:
        incoming.close()
    return reply(public(file))


async def show_all(request: Request) -> Response:
    services = services_of(request)
    page = page_of(request.query_params, max_limit=limits.FILES_LISTED, default_limit=limits.FILES_LISTED)
    purpose = request.query_params.get("purpose", "")
    if purpose:
        one_of(*LISTED_PURPOSES)(purpose, "purpose")
    found = await services.store.read(owner_of(request), lambda t: t.page("file", page, label=purpose))
    return reply(listing(found, page))


async def show(request: Request) -> Response:
    return reply(public(await _file(request)))


async def remove(request: Request) -> Response:
    services = services_of(request)
    file = await _file(request)
    await remove_file(services, owner_of(request), file["id"])
    return reply(deleted(file["id"], "file"))


async def content(request: Request) -> Response:
    file = await _file(request)
    path = services_of(request).blobs.path(file["_sha256"])
    if not await asyncio.to_thread(path.is_file):
        raise ApiError(500, f"The content of {file['id']} is no longer on the server's disk.", kind="server_error")
    return FileResponse(path, media_type="application/octet-stream", filename=file["filename"])


async def _file(request: Request) -> JSON:
    services = services_of(request)
    id_, now = request.path_params["file_id"], services.now

    def work(t: Tenant) -> JSON:
        return live_file(t, id_, now)

    return await services.store.read(owner_of(request), work)


ROUTES = [
    Route("/files", create, methods=["POST"]),
    Route("/files", show_all, methods=["GET"]),
    Route("/files/{file_id}", show, methods=["GET"]),
    Route("/files/{file_id}", remove, methods=["DELETE"]),
    Route("/files/{file_id}/content", content, methods=["GET"]),
]
