"""File search as a tool of a run: passages of its vector stores, each with a mark by which an answer cites it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache
from typing import Any

from agentrunner.engine import Purse
from agentrunner.server.faults import ApiError
from agentrunner.server.marks import mark_of
from agentrunner.server.queries import weights_of
from agentrunner.server.searching import Found, Searched, search_stores
from agentrunner.server.services import Services
from agentrunner.server.wire.parts import object_in
from agentrunner.tools import Context, Output, Tool, ToolError, tool
from agentrunner.types import JSON

USUAL_RESULTS = 20
RANKER = "default_2024_08_21"
PLACES_OF_CALL = 50
"""No search finds more, so passages of several searches of one answer have different marks."""
MAX_BYTES = 64 * 1024
"""Of all passages of one search: about 16,000 tokens."""


@cache
def search_form() -> Tool:
    """The tool as a model sees it. It is made once: its schema and its checks are the same for all runs."""

    @tool(effect="pure")
    async def file_search(query: str, context: Context) -> Output:
        """Find passages in the user's files. Ask for what the passage says, in words that may stand in it."""
        raise ToolError("There is nothing to search.")

    return file_search


def search_tool(services: Services, owner: str, run: JSON, purse: Purse, marks_after: int = 0) -> Tool:
    """`purse` pays for vectors of queries; `marks_after`: the highest number in the marks of the thread so far."""
    options = next(object_in(one, "file_search") for one in run["tools"] if one["type"] == "file_search")
    limit = int(options.get("max_num_results") or USUAL_RESULTS)
    wanted = object_in(options, "ranking_options")
    ranking: JSON = {"ranker": RANKER, "score_threshold": float(wanted.get("score_threshold") or 0)}
    weights = weights_of(object_in(wanted, "hybrid_search"))
    stores: list[str] = run["tool_resources"]["file_search"]["vector_store_ids"]

    async def file_search(query: str, context: Context) -> Output:
        if not query.strip():
            raise ToolError("`query` is empty. Call file_search again with what to look for.")
        if not stores:
            return Output("The user gave no files to search.", detail=_detail(ranking, []))

        async def pay(usd: float, work: Callable[[], Awaitable[tuple[Any, float]]]) -> Any:
            return await purse.pay(context.key, usd, work)

        try:
            searched = await search_stores(
                services,
                owner,
                stores,
                [query],
                limit=limit,
                score_threshold=ranking["score_threshold"],
                weights=weights,
                pay=pay,
            )
        except ApiError as error:
            raise ToolError(error.message) from None
        return _told(searched, context.key, marks_after, ranking)

    return replace(search_form(), function=file_search)


def _told(searched: Searched, key: str, marks_after: int, ranking: JSON) -> Output:
    number, _, position = key.rpartition("/tool:")[2].partition(":")
    first = int(position) * PLACES_OF_CALL
    passages: dict[str, list[str]] = {}
    shown: list[str] = []
    size = 0
    for place, one in enumerate(searched.found, first):
        size += len(one.text.encode())
        if size > MAX_BYTES:
            break
        mark = mark_of(marks_after + int(number), place)
        passages[mark] = [one.file_id, one.filename, one.text]
        shown.append(f"【{mark}†source】 {one.filename}{', ' + one.place if one.place else ''}\n{one.text}")
    results = [_result(one) for one in searched.found[: len(shown)]]
    detail = _detail(ranking, results) | {"passages": passages}
    remarks = [f"({searched.remark})"] if searched.remark else []
    return Output("\n\n".join([*(shown or ["Nothing was found. Try other words."]), *remarks]), detail=detail)


def _detail(ranking: JSON, results: list[JSON]) -> JSON:
    return {"file_search": {"ranking_options": ranking, "results": results}}


def _result(one: Found) -> JSON:
    return {
        "file_id": one.file_id,
        "file_name": one.filename,
        "score": min(1.0, max(0.0, one.score)),
        "content": [{"type": "text", "text": one.text}],
    }
