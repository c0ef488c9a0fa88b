"""Every documented limit: what is at it is taken, what is one past it is refused and says which field is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.server.limits import JSON, Limit, chunking, function, message, pairs, reached_but_not_passed, unused

LIMITS: list[Limit] = [
    # path, param, at the limit, past it, body
    ("/assistants", "name", 256, 257, lambda n: {"model": "m", "name": "x" * n}),
    ("/assistants", "description", 512, 513, lambda n: {"model": "m", "description": "x" * n}),
    ("/assistants", "instructions", 256_000, 256_001, lambda n: {"model": "m", "instructions": "x" * n}),
    ("/assistants", "model", 1, 0, lambda n: {"model": "x" * n}),
    ("/assistants", "tools", 128, 129, lambda n: {"model": "m", "tools": [function(f"f{i}") for i in range(n)]}),
    ("/assistants", "tools[0].function.name", 64, 65, lambda n: {"model": "m", "tools": [function("f" * n)]}),
    ("/assistants", "temperature", 2, 3, lambda n: {"model": "m", "temperature": n}),
    ("/assistants", "temperature", 0, -1, lambda n: {"model": "m", "temperature": n}),
    ("/assistants", "top_p", 1, 2, lambda n: {"model": "m", "top_p": n}),
    ("/assistants", "metadata", 16, 17, lambda n: {"model": "m", "metadata": pairs(n)}),
    ("/assistants", "metadata", 64, 65, lambda n: {"model": "m", "metadata": {"k" * n: ""}}),
    ("/assistants", "metadata.k", 512, 513, lambda n: {"model": "m", "metadata": {"k": "v" * n}}),
    (
        "/assistants",
        "tools[0].file_search.max_num_results",
        50,
        51,
        lambda n: {"model": "m", "tools": [{"type": "file_search", "file_search": {"max_num_results": n}}]},
    ),
    ("/threads", "messages", 100, 101, lambda n: {"messages": [message()] * n}),
    ("/threads", "messages[0].content", 256_000, 256_001, lambda n: {"messages": [message(content="x" * n)]}),
    (
        "/threads",
        "messages[0].content",
        1_000,
        1_001,
        lambda n: (
            {"messages": [message(content=[{"type": "text", "text": "x" * 256 * n}])]}
            if n == 1_000
            else {"messages": [message(content=[{"type": "text", "text": "x" * 128_001}] * 2)]}
        ),
    ),
    ("/threads", "messages[0].content", 1, 0, lambda n: {"messages": [message(content="x" * n)]}),
    (
        "/threads",
        "messages[0].metadata",
        16,
        17,
        lambda n: {"messages": [message(metadata=pairs(n))]},
    ),
    ("/vector_stores", "name", 256, 257, lambda n: {"name": "x" * n}),
    (
        "/vector_stores",
        "expires_after.days",
        365,
        366,
        lambda n: {"expires_after": unused(n)},
    ),
    (
        "/vector_stores",
        "expires_after.days",
        1,
        0,
        lambda n: {"expires_after": unused(n)},
    ),
    (
        "/vector_stores",
        "chunking_strategy.static.max_chunk_size_tokens",
        4096,
        4097,
        lambda n: {"chunking_strategy": chunking(n, 0)},
    ),
    (
        "/vector_stores",
        "chunking_strategy.static.max_chunk_size_tokens",
        100,
        99,
        lambda n: {"chunking_strategy": chunking(n, 0)},
    ),
    (
        "/vector_stores",
        "chunking_strategy.static.chunk_overlap_tokens",
        400,
        401,
        lambda n: {"chunking_strategy": chunking(800, n)},
    ),
    (
        "/uploads",
        "bytes",
        8 << 30,
        (8 << 30) + 1,
        lambda n: {"filename": "a", "purpose": "assistants", "bytes": n, "mime_type": "a/b"},
    ),
    (
        "/uploads",
        "expires_after.seconds",
        2_592_000,
        2_592_001,
        lambda n: {
            "filename": "a",
            "purpose": "assistants",
            "bytes": 1,
            "mime_type": "a/b",
            "expires_after": {"anchor": "created_at", "seconds": n},
        },
    ),
]


@pytest.mark.parametrize(
    ("path", "param", "limit", "past", "body"), LIMITS, ids=[f"{p} {name} {n}" for p, name, n, _, _ in LIMITS]
)
def test_a_limit_is_reached_but_not_passed(
    http: httpx2.Client, path: str, param: str, limit: int, past: int, body: Callable[[int], JSON]
) -> None:
    reached_but_not_passed(http, path, param, body(limit), body(past))


@pytest.fixture
def uploaded(http: httpx2.Client) -> Callable[[int], list[str]]:
    def upload(count: int) -> list[str]:
        files = [{"file": (f"{n}.txt", f"text {n}".encode())} for n in range(count)]
        return [http.post("/files", files=each, data={"purpose": "assistants"}).json()["id"] for each in files]

    return upload


def test_an_interpreter_has_at_most_20_files(http: httpx2.Client, uploaded: Callable[[int], list[str]]) -> None:
    ids = uploaded(21)
    for path, body in (("/threads", {}), ("/assistants", {"model": "m"})):
        for count, expected in ((20, 200), (21, 400)):
            resources = {"code_interpreter": {"file_ids": ids[:count]}}
            answer = http.post(path, json={**body, "tool_resources": resources})
            assert answer.status_code == expected, answer.text
    tools = [{"type": "code_interpreter"}]
    attachments = [{"file_id": id_, "tools": tools} for id_ in ids]
    assert http.post("/threads", json={"messages": [message(attachments=attachments)]}).status_code == 400
    made = http.post("/threads", json={"messages": [message(attachments=attachments[:20])]})
    assert made.status_code == 200
    past = http.post(f"/threads/{made.json()['id']}/messages", json=message(attachments=attachments[20:]))
    assert past.status_code == 400
    assert len(http.get(f"/threads/{made.json()['id']}/messages").json()["data"]) == 1


def test_a_thread_has_at_most_one_store(http: httpx2.Client) -> None:
    stores = [http.post("/vector_stores", json={}).json()["id"] for _ in range(2)]
    for count, expected in ((1, 200), (2, 400)):
        resources = {"file_search": {"vector_store_ids": stores[:count]}}
        assert http.post("/threads", json={"tool_resources": resources}).status_code == expected
    both = {"file_search": {"vector_store_ids": stores[:1], "vector_stores": [{}]}}
    assert http.post("/threads", json={"tool_resources": both}).status_code == 400


def test_attributes_have_limits_too(http: httpx2.Client, uploaded: Callable[[int], list[str]]) -> None:
    store, (file,) = http.post("/vector_stores", json={}).json()["id"], uploaded(1)
    for attributes, expected in (
        ({str(n): n for n in range(16)}, 200),
        ({str(n): n for n in range(17)}, 400),
        ({"k" * 64: True}, 200),
        ({"k" * 65: True}, 400),
        ({"k": "v" * 512}, 200),
        ({"k": "v" * 513}, 400),
        ({"k": [1]}, 400),
        ({"k": None}, 400),
    ):
        answer = http.post(f"/vector_stores/{store}/files", json={"file_id": file, "attributes": attributes})
        assert answer.status_code == expected, (attributes, answer.text)


def test_batches_and_new_stores_take_so_many_files(http: httpx2.Client) -> None:
    """The files need not be there to see which limit was passed first."""
    store = http.post("/vector_stores", json={}).json()["id"]
    ids = [f"file-{n}" for n in range(2_001)]
    for path, body, expected in (
        (f"/vector_stores/{store}/file_batches", {"file_ids": ids[:2_000]}, "No such File"),
        (f"/vector_stores/{store}/file_batches", {"file_ids": ids}, "array too long"),
        (f"/vector_stores/{store}/file_batches", {"file_ids": []}, "empty array"),
        (f"/vector_stores/{store}/file_batches", {}, "Missing required parameter: 'file_ids'"),
        (f"/vector_stores/{store}/file_batches", {"files": [{"file_id": "x"}], "file_ids": ["x"]}, "not both"),
        ("/vector_stores", {"file_ids": ids[:500]}, "No such File"),
        ("/vector_stores", {"file_ids": ids[:501]}, "array too long"),
    ):
        assert expected in http.post(path, json=body).json()["error"]["message"]


def test_a_search_has_limits_too(http: httpx2.Client) -> None:
    store = http.post("/vector_stores", json={}).json()["id"]
    for body, expected in (
        ({"query": "x", "max_num_results": 50}, 200),
        ({"query": "x", "max_num_results": 51}, 400),
        ({"query": "x", "max_num_results": 1}, 200),
        ({"query": "x", "max_num_results": 0}, 400),
        ({"query": "x", "ranking_options": {"score_threshold": 1}}, 200),
        ({"query": "x", "ranking_options": {"score_threshold": 1.1}}, 400),
        ({"query": "x", "ranking_options": {"ranker": "best"}}, 400),
        ({"query": ""}, 400),
        ({"query": []}, 400),
        ({"query": 1}, 400),
        ({}, 400),
    ):
        assert http.post(f"/vector_stores/{store}/search", json=body).status_code == expected, body


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("/assistants", {}, "missing_required_parameter", "model"),
        ("/assistants", {"model": 1}, "invalid_type", "model"),
        ("/assistants", {"model": None}, "invalid_type", "model"),
        ("/assistants", {"model": "m", "colour": "red"}, "unknown_parameter", "colour"),
        ("/assistants", {"model": "m", "tools": [{"type": "browser"}]}, "invalid_value", "tools[0].type"),
        ("/assistants", {"model": "m", "tools": [{}]}, "missing_required_parameter", "tools[0].type"),
        ("/assistants", {"model": "m", "tools": [function("a b")]}, "invalid_value", "tools[0].function.name"),
        ("/assistants", {"model": "m", "tools": [function("a")] * 2}, "invalid_value", "tools"),
        ("/assistants", {"model": "m", "metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ("/assistants", {"model": "m", "response_format": "json"}, "invalid_value", "response_format"),
        ("/assistants", {"model": "m", "temperature": "hot"}, "invalid_type", "temperature"),
        ("/threads", {"messages": [{"role": "system", "content": "x"}]}, "invalid_value", "messages[0].role"),
        ("/threads", {"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ("/threads", {"messages": [message(content=[])]}, "empty_array", "messages[0].content"),
        ("/threads", {"messages": [message(content=7)]}, "invalid_type", "messages[0].content"),
        (
            "/threads",
            {"messages": [message(attachments=[{"file_id": "file-x"}])]},
            "invalid_value",
            "messages[0].attachments[0].tools",
        ),
        ("/threads", [], "invalid_type", None),
        (
            "/vector_stores",
            {"expires_after": unused(1) | {"anchor": "x"}},
            "invalid_value",
            "expires_after.anchor",
        ),
    ],
)
def test_what_is_wrong_is_named(http: httpx2.Client, path: str, body: Any, code: str, param: str | None) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param), error


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[" * 100_000,
        b'{"model": NaN}',
        b"\xff\xfe",
        b'{"model": ' + b"1" * 5_000,
        b'{"model": "m", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"maximum": 1e999}}}]}',
    ],
)
def test_what_is_no_json_is_refused(http: httpx2.Client, content: bytes) -> None:
    answer = http.post("/assistants", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_body_that_is_too_long_is_refused_before_it_is_read(http: httpx2.Client) -> None:
    answer = http.post("/assistants", content=b" " * ((32 << 20) + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "content_too_large"


def test_any_text_comes_back_as_it_was(http: httpx2.Client) -> None:
    text = "\u0000 \ud800 \U0001f427 \u2028 </script> '\"\\ %s ?"
    content = b'{"messages": [{"role": "user", "content": %s}], "metadata": {"\\u0000": "\\ud800"}}'
    import json

    made = http.post("/threads", content=content % json.dumps(text).encode())
    assert made.status_code == 200, made.text
    assert made.json()["metadata"] == {"\x00": "\ud800"}
    (message,) = http.get(f"/threads/{made.json()['id']}/messages").json()["data"]
    assert message["content"][0]["text"]["value"] == text
