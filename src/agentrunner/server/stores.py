"""Vector stores: making them, putting files in and taking them out. What a file says, `indexing` finds out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from agentrunner.server.faults import bad, missing
from agentrunner.server.ids import new_id
from agentrunner.server.storage.tables import Tenant, row_id
from agentrunner.server.wire import limits
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.server.wire.stores import expiry_of, has_expired, new_store, new_store_file, shown_batch, shown_store
from agentrunner.types import JSON


def make_store(t: Tenant, body: JSON, now: int) -> JSON:
    """A new store, with the files that were named."""
    store = new_store(new_id("store"), now, body)
    t.add("store", store, expires_at=expiry_of(store))
    wanted = dict.fromkeys(list_in(body, "file_ids"))
    attach_all(t, store, [{"file_id": id_, "chunking_strategy": body.get("chunking_strategy")} for id_ in wanted], now)
    return store


def attach_all(t: Tenant, store: JSON, bodies: Sequence[JSON], now: int, batch_id: str = "") -> None:
    """Put files into a store; they are indexed afterwards. One that is there already is indexed anew. The caller has
    locked the store."""
    if has_expired(store, now):
        raise bad(f"Vector store {store['id']} has expired.", "vector_store_id", None)
    room = limits.FILES_OF_STORE - sum(t.count("store_file", parent=store["id"]).values())
    for body in bodies:
        file = live_file(t, body["file_id"], now)
        old = t.get("store_file", file["id"], store["id"])
        room -= old is None
        if room < 0:
            raise bad(f"Vector store {store['id']} can have at most {limits.FILES_OF_STORE} files.")
        if old is not None:
            take_bytes(t, store, -old["usage_bytes"])
        _attach(t, store, file, body, now, batch_id)


def attach(t: Tenant, store: JSON, body: JSON, now: int) -> JSON:
    """The same for one file. Its entry in the store."""
    attach_all(t, store, [body], now)
    return t.need("store_file", body["file_id"], store["id"])


def _attach(t: Tenant, store: JSON, file: JSON, body: JSON, now: int, batch_id: str) -> None:
    name = row_id("store_file", file["id"], store["id"])
    t.execute("DELETE FROM server_objects WHERE id = ? AND owner = ?", (name, t.owner))
    made = new_store_file(file["id"], now, store["id"], body, batch_id)
    made |= {"_filename": file["filename"], "_sha256": file["_sha256"], "_token": secrets.token_hex(8)}
    t.add("store_file", made, parent=store["id"], label=batch_id, refers_to=file["id"])


def live_file(t: Tenant, file_id: str, now: int) -> JSON:
    """A file that has not expired. Raises `ApiError` for any other."""
    file = t.need("file", file_id)
    if "expires_at" in file and file["expires_at"] <= now:
        raise missing("file", file_id)
    return file


def detach(t: Tenant, store_id: str, file_id: str) -> None:
    """Take a file out of a store. The caller drops it from the index."""
    store = t.lock("store", store_id)
    gone = t.need("store_file", file_id, store_id)
    t.remove("store_file", file_id, store_id)
    take_bytes(t, store, -gone["usage_bytes"])


def take_bytes(t: Tenant, store: JSON, more: int) -> None:
    if more:
        store["_bytes"] = max(0, store["_bytes"] + more)
        t.save("store", store)


def is_touched(t: Tenant, store_id: str, now: int) -> bool:
    """Whether it is noted already that a store is used at this time: many runs may search one."""
    store = t.get("store", store_id)
    return store is not None and store["last_active_at"] == now and not has_expired(store, now)


def touch(t: Tenant, store_id: str, now: int) -> JSON:
    """Note that a store is used. Raises `ApiError` when it has expired."""
    store = t.lock("store", store_id)
    if has_expired(store, now):
        raise bad(f"Vector store {store_id} has expired.", "vector_store_id", None)
    store["last_active_at"] = now
    t.expire_at("store", store_id, expiry_of(store))
    return t.save("store", store)


def show_store(t: Tenant, store: JSON, now: int) -> JSON:
    return shown_store(store, t.count("store_file", parent=store["id"]), now)


def show_batch(t: Tenant, batch: JSON) -> JSON:
    return shown_batch(batch, t.count("store_file", parent=batch["vector_store_id"], label=batch["id"]))


def checked_resources(t: Tenant, given: JSON | None, now: int, tools: list[JSON] | None = None) -> JSON:
    """Tool resources as they are kept: what they name is there, and stores that were described are made."""
    made: JSON = {}
    kinds = {tool["type"] for tool in tools or []}
    if (given or {}).get("code_interpreter") is not None or "code_interpreter" in kinds:
        files = list(dict.fromkeys(list_in(object_in(given, "code_interpreter"), "file_ids")))
        for file_id in files:
            live_file(t, file_id, now)
        made["code_interpreter"] = {"file_ids": files}
    if (given or {}).get("file_search") is not None or "file_search" in kinds:
        search = object_in(given, "file_search")
        stores: list[str] = list_in(search, "vector_store_ids").copy()
        for store_id in stores:
            t.need("store", store_id)
        stores += [make_store(t, described, now)["id"] for described in list_in(search, "vector_stores")]
        made["file_search"] = {"vector_store_ids": stores}
    return made


def forget_store(t: Tenant, store_id: str) -> None:
    """Delete a store with its files' entries; assistants and threads that name it do so no longer. The caller drops it
    from the index."""
    t.lock("store", store_id)
    t.remove_children(store_id)
    t.remove("store", store_id)
    for kind in ("assistant", "thread"):
        query = "SELECT id FROM server_objects WHERE owner = ? AND kind = ? AND deleted = 0 AND data LIKE ?"
        for (id_,) in t.execute(query, (t.owner, kind, f"%{store_id}%")).fetchall():
            naming = t.lock(kind, str(id_))
            named = list_in(object_in(object_in(naming, "tool_resources"), "file_search"), "vector_store_ids")
            if store_id in named:
                named.remove(store_id)
                t.save(kind, naming)
