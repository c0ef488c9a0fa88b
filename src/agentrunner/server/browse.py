"""What the server keeps, of all owners, for whoever runs it: listed, shown and removed from the terminal."""

from __future__ import annotations

from typing import NamedTuple

from agentrunner.errors import UsageError
from agentrunner.journal.database import Execute
from agentrunner.journal.encoding import decode
from agentrunner.server.expiry import remove_file, remove_store
from agentrunner.server.removing import remove_sessions
from agentrunner.server.services import Services
from agentrunner.server.storage.tables import Tenant, public
from agentrunner.server.stores import show_store
from agentrunner.types import JSON


class Kept(NamedTuple):
    owner: str
    shown: JSON
    line: str
    """What a listing says of it."""


def kept(execute: Execute, kind: str, now: int) -> list[Kept]:
    """All objects of a kind, newest first."""
    rows = execute(
        "SELECT owner, data FROM server_objects WHERE kind = ? AND deleted = 0 ORDER BY created_at DESC, seq DESC",
        (kind,),
    ).fetchall()
    return [_kept(execute, kind, str(owner), decode(data), now) for owner, data in rows]


def find(execute: Execute, kind: str, prefix: str, now: int) -> Kept:
    """The one whose id begins so. Raises `UsageError`."""
    rows = [row for row in kept(execute, kind, now) if row.shown["id"].startswith(prefix)]
    found = [row for row in rows if row.shown["id"] == prefix] or rows
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{prefix!r} is ambiguous: {len(found)} ids begin with it", "type more of it")
    raise UsageError(f"there is no {kind} {prefix[:120]!r}", f"'agent {kind}s list' shows all of them")


def with_parts(execute: Execute, kind: str, row: Kept) -> JSON:
    """The object with what belongs to it."""
    t, id_ = Tenant(execute, row.owner), row.shown["id"]
    if kind == "thread":
        return row.shown | {"messages": [public(each) for each in t.all("message", parent=id_)]}
    if kind == "store":
        return row.shown | {"files": [public(each) for each in t.all("store_file", parent=id_)]}
    return row.shown


async def remove(services: Services, kind: str, row: Kept) -> None:
    id_ = row.shown["id"]
    if kind == "file":
        await remove_file(services, row.owner, id_)
    elif kind == "store":
        await remove_store(services, row.owner, id_)
    else:

        def work(t: Tenant) -> list[str]:
            t.lock(kind, id_)
            runs = [run["id"] for run in t.all("run", parent=id_)]
            t.remove_children(id_)
            t.remove(kind, id_)
            return runs

        await remove_sessions(services, row.owner, await services.store.write(row.owner, work))


def _kept(execute: Execute, kind: str, owner: str, data: JSON, now: int) -> Kept:
    if kind == "store":
        data = show_store(Tenant(execute, owner), data, now)
        counts = data["file_counts"]
        line = f"{data['status']}, {counts['completed']} of {counts['total']} files, {data['name']}"
    elif kind == "assistant":
        line = f"{data['model']}, {data['name'] or 'no name'}"
    elif kind == "thread":
        line = f"{sum(Tenant(execute, owner).count('message', parent=data['id']).values())} messages"
    else:
        line = f"{data['bytes']:,} bytes, {data['purpose']}, {data['filename']}"
    return Kept(owner, public(data), line)
