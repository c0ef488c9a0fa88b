"""Deleting what is over: files and stores that somebody deletes, and files, uploads and stores whose time has come."""

from __future__ import annotations

import asyncio
import sys

from agentrunner.errors import AgentError
from agentrunner.server.files import let_go, stores_with
from agentrunner.server.services import Services
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.stores import detach, forget_store
from agentrunner.server.wire.stores import has_expired
from agentrunner.types import JSON

SWEEP_S = 30.0
"""What has expired is no longer shown anyway; this is about its place on the disk."""


async def remove_file(services: Services, owner: str, file_id: str) -> None:
    """Delete a file, also from the vector stores that it is in. Raises `ApiError` when it is not there."""

    def work(t: Tenant) -> tuple[str, list[str]]:
        file = t.lock("file", file_id)
        stores = stores_with(t, file_id)
        for store_id in stores:
            detach(t, store_id, file_id)
        t.remove("file", file_id)
        return file["_sha256"], stores

    sha256, stores = await services.store.write(owner, work)
    for store_id in stores:
        await asyncio.to_thread(services.indexer.index.drop, store_id, file_id)
    await let_go(services, [sha256])


async def remove_store(services: Services, owner: str, store_id: str) -> None:
    await services.store.write(owner, lambda t: forget_store(t, store_id))
    await asyncio.to_thread(services.indexer.index.drop_store, store_id)


async def end_upload(services: Services, owner: str, upload: JSON, status: str) -> JSON:
    """Bring an upload to an end without a file, and let go of its parts."""

    def work(t: Tenant) -> list[str]:
        digests = [part["_sha256"] for part in t.all("part", parent=upload["id"])]
        t.remove_children(upload["id"])
        t.save("upload", upload | {"status": status})
        t.expire_at("upload", upload["id"], None)
        return digests

    await let_go(services, await services.store.write(owner, work))
    return upload | {"status": status}


async def sweep_forever(services: Services) -> None:
    while True:
        try:
            await sweep(services)
        except AgentError as error:
            print(f"agent: {error}", file=sys.stderr)
        await asyncio.sleep(SWEEP_S)


async def sweep(services: Services) -> None:
    """Let go of everything that has expired."""
    await asyncio.to_thread(services.blobs.clear_left)
    now = services.now
    found = await services.store.scan(
        lambda execute: execute(
            "SELECT owner, kind, id FROM server_objects WHERE expires_at <= ? AND deleted = 0", (now,)
        ).fetchall()
    )
    for owner, kind, id_ in found:
        thing = await services.store.read(owner, lambda t, kind=kind, id_=id_: t.get(kind, id_))
        if thing is None:
            continue
        if kind == "file":
            await remove_file(services, owner, id_)
        elif kind == "upload" and thing["status"] == "pending":
            await end_upload(services, owner, thing, "expired")
        elif kind == "store" and has_expired(thing, now):
            # Its entry stays, so that clients can see what became of it.
            await services.store.write(owner, lambda t, id_=id_: t.expire_at("store", id_, None))
            await asyncio.to_thread(services.indexer.index.drop_store, id_)
