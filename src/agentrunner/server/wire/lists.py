"""Listings: what a query string may ask for, and the envelope of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from agentrunner.server.faults import bad
from agentrunner.server.ids import usable
from agentrunner.server.storage.pages import DEFAULT_LIMIT, MAX_LIMIT, Page
from agentrunner.server.storage.tables import public
from agentrunner.server.wire.checks import integer, one_of
from agentrunner.types import JSON


def page_of(query: Mapping[str, str], *, max_limit: int = MAX_LIMIT, default_limit: int = DEFAULT_LIMIT) -> Page:
    """Raises `ApiError`. An empty cursor is none."""
    limit = default_limit
    if given := query.get("limit"):
        limit = integer(1, max_limit)(_number(given), "limit")
    order = one_of("asc", "desc")(query.get("order") or "desc", "order")
    cursors = [query.get(name, "") for name in ("after", "before")]
    for name, id_ in zip(("after", "before"), cursors, strict=True):
        if id_ and not usable(id_):
            raise bad(f"Invalid '{name}': '{id_[:120]}' is not an ID.", name)
    return Page(limit, cast(Literal["asc", "desc"], order), *cursors)


def listing(found: Sequence[JSON], page: Page) -> JSON:
    """The envelope around what `Tenant.page` found. Without objects the ids are empty, since clients expect text."""
    data = [public(each) for each in found[: page.limit]]
    if page.before and not page.after:
        data.reverse()
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": len(found) > page.limit,
    }


def deleted(id_: str, object_: str) -> JSON:
    return {"id": id_, "object": object_, "deleted": True}


def _number(text: str) -> object:
    return int(text) if text.isascii() and text.lstrip("-").isdigit() and len(text) < 19 else text
