"""Files: keeping one from wherever it comes, and letting go of contents that nobody refers to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from agentrunner.server.ids import new_id
from agentrunner.server.services import Services
from agentrunner.server.storage.blobs import Incoming
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.wire.files import filename_of, new_file
from agentrunner.types import JSON


async def keep(
    services: Services, owner: str, incoming: Incoming, filename: str, purpose: str, seconds: int | None = None
) -> JSON:
    """Make a file of what has come; it expires after so many seconds. The caller closes `incoming`."""
    sha256 = await asyncio.to_thread(incoming.finish)
    now = services.now
    expires_at = None if seconds is None else now + seconds
    file = new_file(new_id("file"), now, filename_of(filename), purpose, incoming.size, sha256, expires_at)

    def add(t: Tenant) -> JSON:
        incoming.keep()
        return add_file(t, file)

    return await services.store.write(owner, add, alone=True)


def add_file(t: Tenant, file: JSON) -> JSON:
    return t.add("file", file, label=file["purpose"], refers_to=file["_sha256"], expires_at=file.get("expires_at"))


def stores_with(t: Tenant, file_id: str) -> list[str]:
    """The vector stores that a file is in."""
    query = (
        "SELECT parent FROM server_objects WHERE refers_to = ? AND owner = ? AND kind = 'store_file' AND deleted = 0"
    )
    return [str(parent) for (parent,) in t.execute(query, (file_id, t.owner))]


async def let_go(services: Services, digests: Iterable[str]) -> None:
    """Remove contents that were referred to by rows that are gone now, unless others refer to them."""
    if wanted := sorted(set(digests)):
        await services.store.write_all(lambda execute: services.blobs.remove_unused(execute, wanted), alone=True)
