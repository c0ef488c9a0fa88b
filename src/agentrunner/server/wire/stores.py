"""Vector stores, their files and batches: what may be asked for, and the objects that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from agentrunner.server.faults import bad
from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import (
    Check,
    array,
    boolean,
    either,
    integer,
    mapping,
    nullable,
    number,
    obj,
    one_of,
    text,
)
from agentrunner.server.wire.parts import object_in
from agentrunner.server.wire.tools import FILE_ID, METADATA, chunking, default_chunking, hybrid
from agentrunner.types import JSON

DAY_S = 86_400
FILE_STATUSES = ("in_progress", "completed", "failed", "cancelled")

_EXPIRES_AFTER = nullable(
    obj(
        {"anchor": one_of("last_active_at"), "days": integer(*limits.STORE_DAYS)},
        required=("anchor", "days"),
        open_=True,
    )
)
_NAME = nullable(text(limits.NAME_CHARS))
_ATTRIBUTES = nullable(
    mapping(
        either(
            (str, text(limits.METADATA_VALUE_CHARS)),
            (bool, boolean),
            (int, number()),
            (float, number()),
            expected="a string, a number or a boolean",
        ),
        most=limits.METADATA_PAIRS,
        key_chars=limits.METADATA_KEY_CHARS,
    )
)
_CHUNKING = nullable(chunking)

CREATE: Check = obj(
    {
        "file_ids": nullable(array(FILE_ID, most=limits.FILES_OF_NEW_STORE)),
        "name": _NAME,
        "description": nullable(text(limits.DESCRIPTION_CHARS)),
        "expires_after": _EXPIRES_AFTER,
        "chunking_strategy": _CHUNKING,
        "metadata": METADATA,
    }
)
MODIFY: Check = obj({"name": _NAME, "expires_after": _EXPIRES_AFTER, "metadata": METADATA})

_FILE: dict[str, Check] = {"file_id": FILE_ID, "chunking_strategy": _CHUNKING, "attributes": _ATTRIBUTES}
CREATE_FILE: Check = obj(_FILE, required=("file_id",))
MODIFY_FILE: Check = obj({"attributes": _ATTRIBUTES}, required=("attributes",))

_BATCH: Check = obj(
    {
        "file_ids": nullable(array(FILE_ID, least=1, most=limits.FILES_OF_BATCH)),
        "files": nullable(array(CREATE_FILE, least=1, most=limits.FILES_OF_BATCH)),
        "chunking_strategy": _CHUNKING,
        "attributes": _ATTRIBUTES,
    }
)


def create_batch(value: object, where: str) -> list[JSON]:
    """The files to be added, each with its own options."""
    body: JSON = _BATCH(value, where)
    if (body.get("files") is None) == (body.get("file_ids") is None):
        if body.get("files") is not None:
            raise bad("Give either 'file_ids' or 'files', not both.", "file_ids")
        raise bad("Missing required parameter: 'file_ids'.", "file_ids", "missing_required_parameter")
    files: list[JSON] = body.get("files") or [
        {"file_id": id_, "chunking_strategy": body.get("chunking_strategy"), "attributes": body.get("attributes")}
        for id_ in body["file_ids"]
    ]
    return list({file["file_id"]: file for file in files}.values())


_QUERY = either(
    (str, text(min_chars=1)),
    (list, array(text(min_chars=1), least=1, most=limits.QUERIES)),
    expected="a string or an array of strings",
)
_SEARCH: Check = obj(
    {
        "query": _QUERY,
        "rewrite_query": nullable(boolean),
        "max_num_results": nullable(integer(*limits.RESULTS)),
        "filters": lambda value, where: value,
        "ranking_options": nullable(
            obj(
                {
                    "ranker": one_of("none", "auto", "default-2024-11-15"),
                    "score_threshold": nullable(number(0, 1)),
                    "hybrid_search": nullable(hybrid),
                }
            )
        ),
    },
    required=("query",),
)


def search(value: object, where: str) -> JSON:
    """A search with all its options: `queries`, `limit`, `filters`, `score_threshold`, `weights`."""
    body: JSON = _SEARCH(value, where)
    query = body["query"]
    return {
        "queries": [query] if isinstance(query, str) else query,
        "limit": body.get("max_num_results") or 10,
        "filters": body.get("filters"),
        "score_threshold": object_in(body, "ranking_options").get("score_threshold") or 0.0,
        "weights": object_in(object_in(body, "ranking_options"), "hybrid_search"),
    }


def new_store(id_: str, created_at: int, body: JSON) -> JSON:
    return {
        "id": id_,
        "object": "vector_store",
        "created_at": created_at,
        "name": body.get("name") or "",
        "description": body.get("description"),
        "metadata": object_in(body, "metadata"),
        "last_active_at": created_at,
        "_expires_after": body.get("expires_after"),
        "_bytes": 0,
    }


def modified_store(store: JSON, body: JSON) -> JSON:
    changed = dict(store)
    if "name" in body:
        changed["name"] = body["name"] or ""
    if "metadata" in body:
        changed["metadata"] = object_in(body, "metadata")
    if "expires_after" in body:
        changed["_expires_after"] = body["expires_after"]
    return changed


def expiry_of(store: JSON) -> int | None:
    """When nobody uses it until then, it expires."""
    after = store["_expires_after"]
    return store["last_active_at"] + after["days"] * DAY_S if after else None


def has_expired(store: JSON, now: int) -> bool:
    expires_at = expiry_of(store)
    return expires_at is not None and now >= expires_at


def shown_store(store: JSON, counts: Mapping[str, int], now: int) -> JSON:
    """A store as clients see it. Its state follows from its files and the time, so it cannot lag behind them."""
    status = "in_progress" if counts.get("in_progress") else "completed"
    if has_expired(store, now):
        status = "expired"
    made: JSON = {name: value for name, value in store.items() if not name.startswith("_")}
    made |= {
        "usage_bytes": store["_bytes"],
        "status": status,
        "file_counts": file_counts(counts),
        "expires_at": expiry_of(store),
    }
    return made | ({"expires_after": store["_expires_after"]} if store["_expires_after"] else {})


def file_counts(counts: Mapping[str, int]) -> JSON:
    shown: JSON = {status: counts.get(status, 0) for status in FILE_STATUSES}
    return shown | {"total": sum(shown.values())}


def new_store_file(file_id: str, created_at: int, store_id: str, body: JSON, batch_id: str = "") -> JSON:
    return {
        "id": file_id,
        "object": "vector_store.file",
        "usage_bytes": 0,
        "created_at": created_at,
        "vector_store_id": store_id,
        "status": "in_progress",
        "last_error": None,
        "chunking_strategy": body.get("chunking_strategy") or default_chunking(),
        "attributes": object_in(body, "attributes"),
        "_batch": batch_id,
    }


def new_batch(id_: str, created_at: int, store_id: str) -> JSON:
    return {
        "id": id_,
        "object": "vector_store.files_batch",
        "created_at": created_at,
        "vector_store_id": store_id,
        "status": "in_progress",
    }


def shown_batch(batch: JSON, counts: Mapping[str, int]) -> JSON:
    """A batch as clients see it; like that of a store, its state follows from its files."""
    if batch["status"] == "cancelled":
        status = "cancelled"
    elif counts.get("in_progress"):
        status = "in_progress"
    else:
        status = "failed" if counts.get("failed") and not counts.get("completed") else "completed"
    return batch | {"status": status, "file_counts": file_counts(counts)}


def results(queries: Sequence[str], found: Sequence[JSON]) -> JSON:
    return {
        "object": "vector_store.search_results.page",
        "search_query": list(queries),
        "data": list(found),
        "has_more": False,
        "next_page": None,
    }


def content(pieces: Sequence[str]) -> JSON:
    data = [{"type": "text", "text": piece} for piece in pieces]
    return cast(
        JSON,
        {"object": "vector_store.file_content.page", "data": data, "has_more": False, "next_page": None},
    )
