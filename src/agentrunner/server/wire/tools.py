"""Tools, their resources and response formats: the parts that assistants, threads and runs have in common."""

from __future__ import annotations

import re

from agentrunner.server.faults import bad
from agentrunner.server.wire import limits
from agentrunner.server.wire.checks import (
    Check,
    any_object,
    array,
    boolean,
    by_type,
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
from agentrunner.types import JSON

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]+")

METADATA: Check = nullable(
    mapping(text(limits.METADATA_VALUE_CHARS), most=limits.METADATA_PAIRS, key_chars=limits.METADATA_KEY_CHARS)
)
FILE_ID = text(min_chars=1)
TEMPERATURE = nullable(number(0, 2))
TOP_P = nullable(number(0, 1))
REASONING_EFFORT = nullable(one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"))


def hybrid(value: object, where: str) -> JSON:
    """How much vectors and words count beside each other."""
    weight = number(0, limits.WEIGHT)
    names = ("embedding_weight", "text_weight")
    given: JSON = obj(dict.fromkeys(names, weight), required=names)(value, where)
    if not any(given.values()):
        raise bad(f"Invalid '{where}': one of the two weights must be above 0.", where)
    return given


RANKING = obj(
    {
        "ranker": one_of("auto", "default_2024_08_21"),
        "score_threshold": number(0, 1),
        "hybrid_search": nullable(hybrid),
    },
    required=("score_threshold",),
    open_=True,
)


def function_name(value: object, where: str) -> str:
    name: str = text(limits.FUNCTION_NAME_CHARS, 1)(value, where)
    if not _FUNCTION_NAME.fullmatch(name):
        raise bad(
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern"
            " '^[a-zA-Z0-9_-]+$'.",
            where,
        )
    return name


def _search_tool(value: object, where: str) -> JSON:
    checked: JSON = obj(
        {
            "type": one_of("file_search"),
            "file_search": nullable(
                obj(
                    {"max_num_results": nullable(integer(*limits.RESULTS)), "ranking_options": nullable(RANKING)},
                    open_=True,
                )
            ),
        }
    )(value, where)
    options = checked.get("file_search")
    if options is None:
        return {"type": "file_search"}
    ranking = options.get("ranking_options")
    kept: JSON = {"ranking_options": {"ranker": "auto", **ranking}} if ranking else {}
    if options.get("max_num_results") is not None:
        kept["max_num_results"] = options["max_num_results"]
    return {"type": "file_search", "file_search": kept}


def _function_tool(value: object, where: str) -> JSON:
    function = obj(
        {
            "name": function_name,
            "description": nullable(text()),
            "parameters": nullable(any_object(limits.NESTED)),
            "strict": nullable(boolean),
        },
        required=("name",),
    )
    checked: JSON = obj({"type": one_of("function"), "function": function}, required=("function",))(value, where)
    given = {name: item for name, item in checked["function"].items() if item is not None}
    return {"type": "function", "function": {"strict": False, **given}}


TOOL = by_type(
    {
        "code_interpreter": obj({"type": one_of("code_interpreter")}, open_=True),
        "file_search": _search_tool,
        "function": _function_tool,
    }
)


def tools(value: object, where: str) -> list[JSON]:
    found: list[JSON] = array(TOOL, most=limits.TOOLS)(value, where)
    names = [tool["function"]["name"] for tool in found if tool["type"] == "function"]
    for name in names:
        if names.count(name) > 1:
            raise bad(f"Invalid '{where}': function names must be unique, but '{name}' is there twice.", where)
    for kind in ("code_interpreter", "file_search"):
        if sum(tool["type"] == kind for tool in found) > 1:
            raise bad(f"Invalid '{where}': only one tool of type '{kind}' is allowed.", where)
    return found


def chunking(value: object, where: str) -> JSON:
    """A chunking strategy, as it is kept: always with its numbers."""
    checked: JSON = by_type(
        {
            "auto": obj({"type": one_of("auto")}),
            "static": obj(
                {
                    "type": one_of("static"),
                    "static": obj(
                        {"max_chunk_size_tokens": integer(*limits.CHUNK_TOKENS), "chunk_overlap_tokens": integer(0)},
                        required=("max_chunk_size_tokens", "chunk_overlap_tokens"),
                    ),
                },
                required=("static",),
            ),
        }
    )(value, where)
    if checked["type"] == "auto":
        return default_chunking()
    size, overlap = checked["static"]["max_chunk_size_tokens"], checked["static"]["chunk_overlap_tokens"]
    if overlap > size // 2:
        raise bad(
            f"Invalid '{where}.static.chunk_overlap_tokens': must be at most half of max_chunk_size_tokens"
            f" ({size // 2}), but got {overlap}.",
            f"{where}.static.chunk_overlap_tokens",
        )
    return checked


def default_chunking() -> JSON:
    size, overlap = limits.DEFAULT_CHUNK
    return {"type": "static", "static": {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}}


_FILES = obj({"file_ids": array(FILE_ID, most=limits.FILES_OF_INTERPRETER)}, open_=True)
_STORE_IDS = array(text(min_chars=1), most=limits.STORES_OF_OWNER)
_NEW_STORE = obj(
    {
        "file_ids": array(FILE_ID, most=limits.FILES_OF_STORE),
        "chunking_strategy": nullable(chunking),
        "metadata": METADATA,
    },
    open_=True,
)


def new_resources(value: object, where: str) -> JSON:
    """Tool resources of something that is created: vector stores may be made with it."""
    search = obj(
        {"vector_store_ids": _STORE_IDS, "vector_stores": array(_NEW_STORE, most=limits.STORES_OF_OWNER)}, open_=True
    )
    checked: JSON = _resources(search)(value, where)
    found = object_in(checked, "file_search")
    if found.get("vector_store_ids") and found.get("vector_stores"):
        raise bad(
            f"Invalid '{where}.file_search': give either vector_store_ids or vector_stores, not both.",
            f"{where}.file_search",
        )
    return checked


def resources(value: object, where: str) -> JSON:
    """Tool resources of something that is changed."""
    return _resources(obj({"vector_store_ids": _STORE_IDS}, open_=True))(value, where)


def _resources(search: Check) -> Check:
    return obj({"code_interpreter": nullable(_FILES), "file_search": nullable(search)}, open_=True)


_JSON_SCHEMA = obj(
    {
        "name": function_name,
        "description": nullable(text()),
        "schema": any_object(limits.NESTED),
        "strict": nullable(boolean),
    },
    required=("name",),
)

RESPONSE_FORMAT: Check = nullable(
    either(
        (str, one_of("auto")),
        (
            dict,
            by_type(
                {
                    "text": obj({"type": one_of("text")}),
                    "json_object": obj({"type": one_of("json_object")}),
                    "json_schema": obj(
                        {"type": one_of("json_schema"), "json_schema": _JSON_SCHEMA}, required=("json_schema",)
                    ),
                }
            ),
        ),
        expected="'auto' or an object",
    )
)
