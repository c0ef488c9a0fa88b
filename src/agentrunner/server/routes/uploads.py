"""Uploads in parts: create, add a part, complete, cancel."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentrunner.server.expiry import end_upload
from agentrunner.server.faults import bad
from agentrunner.server.files import add_file, let_go
from agentrunner.server.ids import new_id
from agentrunner.server.multipart import read_form
from agentrunner.server.requests import json_body, reply
from agentrunner.server.services import Services, owner_of, services_of
from agentrunner.server.storage.blobs import Incoming
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.wire import limits
from agentrunner.server.wire.files import COMPLETE_UPLOAD, CREATE_UPLOAD, new_file, new_part, new_upload
from agentrunner.types import JSON


async def create(request: Request) -> Response:
    services = services_of(request)
    body = await json_body(request, CREATE_UPLOAD)
    upload = new_upload(new_id("upload"), services.now, body)
    await services.store.write(owner_of(request), lambda t: t.add("upload", upload, expires_at=upload["expires_at"]))
    return reply(public(upload))


async def add_part(request: Request) -> Response:
    services, owner = services_of(request), owner_of(request)
    upload_id = request.path_params["upload_id"]
    await services.store.read(owner, lambda t: _pending(t.need("upload", upload_id), services.now))
    incoming = services.blobs.incoming()
    try:
        await read_form(request, "data", incoming, limits.PART_BYTES)
        sha256 = await asyncio.to_thread(incoming.finish)
        part = new_part(new_id("part"), services.now, upload_id, sha256, incoming.size)

        def work(t: Tenant) -> JSON:
            upload = _pending(t.lock("upload", upload_id), services.now)
            there = sum(each["_bytes"] for each in t.all("part", parent=upload_id))
            if there + incoming.size > upload["bytes"]:
                raise bad(
                    f"Invalid 'data': the parts would have more than the {upload['bytes']} bytes of the upload.", "data"
                )
            incoming.keep()
            return t.add("part", part, parent=upload_id, refers_to=sha256)

        await services.store.write(owner, work, alone=True)
    finally:
        incoming.close()
    return reply(public(part))


async def complete(request: Request) -> Response:
    services, owner = services_of(request), owner_of(request)
    upload_id, body = request.path_params["upload_id"], await json_body(request, COMPLETE_UPLOAD)

    def look(t: Tenant) -> tuple[JSON, list[JSON]]:
        upload = _pending(t.need("upload", upload_id), services.now)
        ids: list[str] = body["part_ids"]
        if len(set(ids)) < len(ids):
            raise bad("Invalid 'part_ids': a part is named twice.", "part_ids")
        return upload, [t.need("part", id_, upload_id) for id_ in ids]

    upload, parts = await services.store.read(owner, look)
    size = sum(part["_bytes"] for part in parts)
    if size != upload["bytes"]:
        raise bad(
            f"Invalid 'part_ids': the parts have {size} bytes, but the upload was to have {upload['bytes']}.",
            "part_ids",
        )
    incoming = services.blobs.incoming()
    try:
        md5 = await asyncio.to_thread(_join, services, incoming, parts)
        if body.get("md5") is not None and body["md5"].lower() != md5:
            raise bad(f"Invalid 'md5': the file has the MD5 checksum {md5}.", "md5")
        file, gone = await services.store.write(owner, lambda t: _finish(t, services, incoming, upload_id), alone=True)
    finally:
        incoming.close()
    await let_go(services, gone)
    return reply(public(upload | {"status": "completed", "file": public(file)}))


async def cancel(request: Request) -> Response:
    services, owner = services_of(request), owner_of(request)
    upload_id = request.path_params["upload_id"]
    upload = await services.store.read(owner, lambda t: _pending(t.need("upload", upload_id), services.now))
    return reply(public(await end_upload(services, owner, upload, "cancelled")))


def _pending(upload: JSON, now: int) -> JSON:
    """Raises `ApiError` for an upload that has ended."""
    status = "expired" if upload["status"] == "pending" and upload["expires_at"] <= now else upload["status"]
    if status != "pending":
        raise bad(f"Upload {upload['id']} is {status}.", "upload_id", None)
    return upload


def _join(services: Services, incoming: Incoming, parts: Sequence[JSON]) -> str:
    """The MD5 checksum of the whole."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        services.blobs.copy_into(incoming, services.blobs.path(part["_sha256"]), digest.update)
    incoming.finish()
    return digest.hexdigest()


def _finish(t: Tenant, services: Services, incoming: Incoming, upload_id: str) -> tuple[JSON, list[str]]:
    """Make the file, and forget the parts: their contents may be let go of."""
    now = services.now
    upload = _pending(t.lock("upload", upload_id), now)
    after = upload["_expires_after"]
    expires_at = None if after is None else now + after["seconds"]
    name, purpose = upload["filename"], upload["purpose"]
    file = new_file(new_id("file"), now, name, purpose, incoming.size, incoming.sha256, expires_at)
    gone = [part["_sha256"] for part in t.all("part", parent=upload_id)]
    incoming.keep()
    add_file(t, file)
    t.remove_children(upload_id)
    t.save("upload", upload | {"status": "completed", "file": public(file)})
    t.expire_at("upload", upload_id, None)
    return file, gone


ROUTES = [
    Route("/uploads", create, methods=["POST"]),
    Route("/uploads/{upload_id}/parts", add_part, methods=["POST"]),
    Route("/uploads/{upload_id}/complete", complete, methods=["POST"]),
    Route("/uploads/{upload_id}/cancel", cancel, methods=["POST"]),
]
