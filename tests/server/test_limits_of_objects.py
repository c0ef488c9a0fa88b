"""Limits of what belongs to something: runs, messages, files in stores, parts; and of what is changed later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.server.limits import (
    ASSISTANT,
    JSON,
    MESSAGES,
    RUNS,
    STORE,
    THREAD,
    WITH_THREAD,
    Limit,
    chunking,
    each_is_reached_but_not_passed,
    function,
    message,
    pairs,
    reached_but_not_passed,
    run,
    unused,
)


def functions(count: int) -> list[JSON]:
    return [function(f"f{n}") for n in range(count)]


def upload(**more: Any) -> JSON:
    return {"filename": "a", "purpose": "assistants", "bytes": 1, "mime_type": "a/b"} | more


def text(count: int) -> list[JSON]:
    return [{"type": "text", "text": "x"}] * count


def ranked(score: float) -> JSON:
    return {"type": "file_search", "file_search": {"ranking_options": {"score_threshold": score}}}


def kept(seconds: int) -> JSON:
    return {"anchor": "created_at", "seconds": seconds}


def last(count: int) -> JSON:
    return {"type": "last_messages", "last_messages": count}


def named(name: str) -> JSON:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": {}}}


def nested(levels: int) -> JSON:
    return {"a": nested(levels - 1)} if levels > 1 else {"a": 1}


def schema(levels: int) -> JSON:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": nested(levels)}}


def with_metadata(path: str, make: Callable[..., JSON]) -> list[Limit]:
    return [
        (path, "metadata", 16, 17, lambda n: make(metadata=pairs(n))),
        (path, "metadata", 64, 65, lambda n: make(metadata={"k" * n: ""})),
        (path, "metadata.k", 512, 513, lambda n: make(metadata={"k": "v" * n})),
    ]


LIMITS: list[Limit] = [
    ("/assistants", "model", 256, 257, lambda n: {"model": "m" * n}),
    ("/assistants", "tools[0].file_search.max_num_results", 1, 0, lambda n: {
        "model": "m", "tools": [{"type": "file_search", "file_search": {"max_num_results": n}}]
    }),
    ("/assistants", "tools[0].file_search.ranking_options.score_threshold", 1, 2, lambda n: {
        "model": "m", "tools": [ranked(n)]
    }),
    ("/assistants", "tools[0].file_search.ranking_options.score_threshold", 0, -1, lambda n: {
        "model": "m", "tools": [ranked(n)]
    }),
    ("/assistants", "tools[0].function.name", 1, 0, lambda n: {"model": "m", "tools": [function("f" * n)]}),
    ("/assistants", "response_format.json_schema.name", 64, 65, lambda n: {
        "model": "m", "response_format": named("n" * n)
    }),
    ("/assistants", "tools[0].function.parameters", 100, 101, lambda n: {
        "model": "m", "tools": [{"type": "function", "function": {"name": "f", "parameters": nested(n)}}]
    }),
    ("/assistants", "top_p", 0, -1, lambda n: {"model": "m", "top_p": n}),
    (ASSISTANT, "name", 256, 257, lambda n: {"name": "x" * n}),
    (ASSISTANT, "description", 512, 513, lambda n: {"description": "x" * n}),
    (ASSISTANT, "instructions", 256_000, 256_001, lambda n: {"instructions": "x" * n}),
    (ASSISTANT, "tools", 128, 129, lambda n: {"tools": functions(n)}),
    *with_metadata(ASSISTANT, dict),
    *with_metadata("/threads", dict),
    *with_metadata(THREAD, dict),
    (MESSAGES, "content", 256_000, 256_001, lambda n: message(content="x" * n)),
    (MESSAGES, "content", 100, 101, lambda n: message(content=text(n))),
    (MESSAGES, "content", 1, 0, lambda n: message(content=text(n))),
    *with_metadata(MESSAGES, message),
    *with_metadata(f"{MESSAGES}/{{message}}", dict),
    (RUNS, "additional_messages", 100, 101, lambda n: run(additional_messages=[message()] * n)),
    (RUNS, "additional_messages[0].content", 256_000, 256_001, lambda n: run(
        additional_messages=[message(content="x" * n)]
    )),
    (RUNS, "additional_instructions", 256_000, 256_001, lambda n: run(additional_instructions="x" * n)),
    (WITH_THREAD, "thread.messages", 100, 101, lambda n: run(thread={"messages": [message()] * n})),
    (WITH_THREAD, "instructions", 256_000, 256_001, lambda n: run(instructions="x" * n)),
    (WITH_THREAD, "model", 256, 257, lambda n: run(model="m" * n)),
    (WITH_THREAD, "model", 1, 0, lambda n: run(model="m" * n)),
    (WITH_THREAD, "tools", 20, 21, lambda n: run(tools=functions(n))),
    (WITH_THREAD, "response_format.json_schema.schema", 100, 101, lambda n: run(response_format=schema(n))),
    (WITH_THREAD, "temperature", 2, 3, lambda n: run(temperature=n)),
    (WITH_THREAD, "temperature", 0, -1, lambda n: run(temperature=n)),
    (WITH_THREAD, "top_p", 1, 2, lambda n: run(top_p=n)),
    (WITH_THREAD, "top_p", 0, -1, lambda n: run(top_p=n)),
    (WITH_THREAD, "max_prompt_tokens", 256, 255, lambda n: run(max_prompt_tokens=n)),
    (WITH_THREAD, "max_completion_tokens", 256, 255, lambda n: run(max_completion_tokens=n)),
    (WITH_THREAD, "truncation_strategy.last_messages", 1, 0, lambda n: run(truncation_strategy=last(n))),
    *with_metadata(WITH_THREAD, run),
    *with_metadata(f"{RUNS}/{{run}}", dict),
    ("/vector_stores", "description", 512, 513, lambda n: {"description": "x" * n}),
    ("/vector_stores", "chunking_strategy.static.chunk_overlap_tokens", 0, -1, lambda n: {
        "chunking_strategy": chunking(100, n)
    }),
    (STORE, "name", 256, 257, lambda n: {"name": "x" * n}),
    (STORE, "expires_after.days", 365, 366, lambda n: {"expires_after": unused(n)}),
    *with_metadata("/vector_stores", dict),
    *with_metadata(STORE, dict),
    (f"{STORE}/search", "query", 32, 33, lambda n: {"query": ["x"] * n}),
    (f"{STORE}/search", "ranking_options.score_threshold", 0, -1, lambda n: {
        "query": "x", "ranking_options": {"score_threshold": n}
    }),
    (f"{STORE}/files", "attributes", 16, 17, lambda n: {"file_id": "{file}", "attributes": pairs(n)}),
    (f"{STORE}/file_batches", "attributes", 16, 17, lambda n: {"file_ids": ["{file}"], "attributes": pairs(n)}),
    ("/uploads", "expires_after.seconds", 3_600, 3_599, lambda n: upload(expires_after=kept(n))),
    ("/uploads", "bytes", 0, -1, lambda n: upload(bytes=n)),
    ("/uploads", "filename", 1_024, 1_025, lambda n: upload(filename="x" * n)),
    ("/uploads", "filename", 1, 0, lambda n: upload(filename="x" * n)),
]  # fmt: skip


test_a_limit_is_reached_but_not_passed = each_is_reached_but_not_passed(LIMITS)


@pytest.mark.parametrize(("limit", "past"), [(3_600, 3_599), (2_592_000, 2_592_001)])
def test_a_file_is_kept_for_an_hour_at_least_and_for_thirty_days_at_most(
    http: httpx2.Client, limit: int, past: int
) -> None:
    for seconds, expected in ((limit, 200), (past, 400)):
        fields = {"purpose": "assistants", "expires_after[anchor]": "created_at"}
        answer = http.post(
            "/files", files={"file": ("a", b"x")}, data={**fields, "expires_after[seconds]": str(seconds)}
        )
        assert answer.status_code == expected, answer.text


def test_the_name_of_a_file_has_at_most_1024_characters(http: httpx2.Client) -> None:
    for count, expected in ((1_024, 200), (1_025, 400)):
        answer = http.post("/files", files={"file": ("x" * count, b"x")}, data={"purpose": "assistants"})
        assert answer.status_code == expected, answer.text


def test_a_message_has_at_most_20_attachments(http: httpx2.Client, fill: Callable[[Any], Any]) -> None:
    """Also where the files are none for the interpreter, which has a limit of its own."""
    attachment = {"file_id": "{file}", "tools": [{"type": "file_search"}]}
    good, bad = (fill(message(attachments=[attachment] * n)) for n in (20, 21))
    reached_but_not_passed(http, fill(MESSAGES), "attachments", good, bad)


def test_an_assistant_has_at_most_one_store(http: httpx2.Client, fill: Callable[[Any], Any]) -> None:
    ids = [fill("{store}"), http.post("/vector_stores", json={}).json()["id"]]
    for path in ("/assistants", fill(ASSISTANT)):
        good, bad = ({"model": "m", "tool_resources": {"file_search": {"vector_store_ids": ids[:n]}}} for n in (1, 2))
        reached_but_not_passed(http, path, "tool_resources.file_search.vector_store_ids", good, bad)


@pytest.mark.parametrize(
    ("path", "body", "count"),
    [
        ("/threads", lambda ids: {"tool_resources": {"file_search": {"vector_stores": [{"file_ids": ids}]}}}, 10_000),
        (f"{STORE}/file_batches", lambda ids: {"files": [{"file_id": id_} for id_ in ids]}, 2_000),
    ],
)
def test_so_many_files_are_looked_for_and_not_one_more(
    http: httpx2.Client, fill: Callable[[Any], Any], path: str, body: Callable[[list[str]], JSON], count: int
) -> None:
    ids = [f"file-{n}" for n in range(count + 1)]
    assert "No such File" in http.post(fill(path), json=body(ids[:-1])).json()["error"]["message"]
    assert "array too long" in http.post(fill(path), json=body(ids)).json()["error"]["message"]


def test_an_upload_has_at_most_10000_parts(http: httpx2.Client) -> None:
    path = f"/uploads/{http.post('/uploads', json=upload()).json()['id']}/complete"
    ids = [f"part_{n}" for n in range(10_001)]
    assert http.post(path, json={"part_ids": ids[:-1]}).status_code == 404
    assert http.post(path, json={"part_ids": ids}).json()["error"]["code"] == "array_above_max_length"


def test_a_body_has_at_most_32_mib(http: httpx2.Client) -> None:
    content = b'{"model": "m"}'.ljust(32 << 20)
    assert http.post("/assistants", content=content).status_code == 200
    assert http.post("/assistants", content=content + b" ").status_code == 413


@pytest.mark.parametrize("path", [MESSAGES, RUNS, f"{RUNS}/{{run}}/steps", f"{STORE}/files", "/threads"])
def test_a_page_has_at_most_100_objects(http: httpx2.Client, fill: Callable[[Any], Any], path: str) -> None:
    for limit, expected in ((1, 200), (0, 400), (100, 200), (101, 400)):
        assert http.get(fill(path), params={"limit": limit}).status_code == expected
