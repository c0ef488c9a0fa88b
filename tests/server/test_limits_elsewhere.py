"""The same limits at every other place where they are documented: what is changed later, what is made with something
else, what a run says in place of its assistant."""

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
    reached_but_not_passed,
    run,
    unused,
)

SIZES = "chunking_strategy.static.max_chunk_size_tokens"
OVERLAP = "chunking_strategy.static.chunk_overlap_tokens"
SEARCH = "tool_resources.file_search"
ONE_STORE = f"{SEARCH}.vector_stores"


def with_store(**more: Any) -> JSON:
    return {"tool_resources": {"file_search": {"vector_stores": [more]}}}


def stores(count: int) -> JSON:
    return {"tool_resources": {"file_search": {"vector_stores": [{}] * count}}}


def searching(**options: Any) -> list[JSON]:
    return [{"type": "file_search", "file_search": options}]


def chosen(name: str) -> JSON:
    return {"type": "function", "function": {"name": name}}


def of_chunks(path: str, where: str, make: Callable[[JSON], JSON]) -> list[Limit]:
    """All that is documented of chunks, in a body that `make` puts the strategy into."""
    return [
        (path, where + SIZES, 4_096, 4_097, lambda n: make(chunking(n, 0))),
        (path, where + SIZES, 100, 99, lambda n: make(chunking(n, 0))),
        (path, where + OVERLAP, 50, 51, lambda n: make(chunking(100, n))),
        (path, where + OVERLAP, 2_048, 2_049, lambda n: make(chunking(4_096, n))),
        (path, where + OVERLAP, 0, -1, lambda n: make(chunking(100, n))),
    ]


def of_options(path: str, make: Callable[..., JSON]) -> list[Limit]:
    """What models are told, where an assistant or a run says it."""
    return [
        (path, "temperature", 2, 3, lambda n: make(temperature=n)),
        (path, "temperature", 0, -1, lambda n: make(temperature=n)),
        (path, "top_p", 1, 2, lambda n: make(top_p=n)),
        (path, "top_p", 0, -1, lambda n: make(top_p=n)),
        (path, "model", 256, 257, lambda n: make(model="m" * n)),
        (path, "model", 1, 0, lambda n: make(model="m" * n)),
        (path, "instructions", 256_000, 256_001, lambda n: make(instructions="x" * n)),
        (path, "tools[0].file_search.max_num_results", 50, 51, lambda n: make(tools=searching(max_num_results=n))),
        (path, "tools[0].file_search.max_num_results", 1, 0, lambda n: make(tools=searching(max_num_results=n))),
        (path, "tools[0].function.name", 64, 65, lambda n: make(tools=[function("f" * n)])),
    ]


LIMITS: list[Limit] = [
    *of_options(ASSISTANT, dict),
    *of_options(RUNS, run),
    (RUNS, "tools", 20, 21, lambda n: run(tools=[function(f"f{i}") for i in range(n)])),
    (RUNS, "max_prompt_tokens", 256, 255, lambda n: run(max_prompt_tokens=n)),
    (RUNS, "max_completion_tokens", 256, 255, lambda n: run(max_completion_tokens=n)),
    (RUNS, "truncation_strategy.last_messages", 1, 0, lambda n: run(
        truncation_strategy={"type": "last_messages", "last_messages": n}
    )),
    (RUNS, "metadata.k", 512, 513, lambda n: run(metadata={"k": "v" * n})),
    (RUNS, "tool_choice.function.name", 64, 65, lambda n: run(
        tools=[function("f" * 64)], tool_choice=chosen("f" * n)
    )),
    (RUNS, "additional_messages[0].attachments", 20, 21, lambda n: run(additional_messages=[
        message(attachments=[{"file_id": "{file}", "tools": [{"type": "file_search"}]}] * n)
    ])),
    (WITH_THREAD, "thread.messages[0].content", 256_000, 256_001, lambda n: run(
        thread={"messages": [message(content="x" * n)]}
    )),
    (WITH_THREAD, f"thread.{ONE_STORE}", 1, 2, lambda n: run(thread=stores(n))),
    ("/assistants", ONE_STORE, 1, 2, lambda n: {"model": "m"} | stores(n)),
    ("/threads", ONE_STORE, 1, 2, stores),
    *of_chunks("/threads", f"{ONE_STORE}[0].", lambda how: with_store(chunking_strategy=how)),
    *of_chunks("/assistants", f"{ONE_STORE}[0].", lambda how: {"model": "m"} | with_store(chunking_strategy=how)),
    *of_chunks("/vector_stores", "", lambda how: {"chunking_strategy": how}),
    *of_chunks(f"{STORE}/files", "", lambda how: {"file_id": "{file}", "chunking_strategy": how}),
    *of_chunks(f"{STORE}/file_batches", "", lambda how: {"file_ids": ["{file}"], "chunking_strategy": how}),
    *of_chunks(f"{STORE}/file_batches", "files[0].", lambda how: {
        "files": [{"file_id": "{file}", "chunking_strategy": how}]
    }),
    (STORE, "expires_after.days", 1, 0, lambda n: {"expires_after": unused(n)}),
    (f"{MESSAGES}/{{message}}", "metadata", 16, 17, lambda n: {"metadata": {str(i): "" for i in range(n)}}),
    (f"{STORE}/files", "attributes.k", 512, 513, lambda n: {"file_id": "{file}", "attributes": {"k": "v" * n}}),
    (f"{STORE}/files", "attributes", 64, 65, lambda n: {"file_id": "{file}", "attributes": {"k" * n: 1}}),
    (f"{STORE}/search", "max_num_results", 50, 51, lambda n: {"query": "x", "max_num_results": n}),
    (f"{STORE}/search", "max_num_results", 1, 0, lambda n: {"query": "x", "max_num_results": n}),
    (f"{STORE}/search", "query", 1, 0, lambda n: {"query": "x" * n}),
]  # fmt: skip


test_a_limit_is_reached_but_not_passed = each_is_reached_but_not_passed(LIMITS)


@pytest.mark.parametrize(
    ("path", "make"),
    [
        (ASSISTANT, lambda resources: {"tool_resources": resources}),
        (THREAD, lambda resources: {"tool_resources": resources}),
        (WITH_THREAD, lambda resources: run(tool_resources=resources)),
        (WITH_THREAD, lambda resources: run(thread={"tool_resources": resources})),
    ],
    ids=["assistant", "thread", "run with thread", "thread of a run"],
)
def test_twenty_files_and_one_store_are_the_most_wherever_they_are_given(
    http: httpx2.Client, fill: Callable[[Any], Any], path: str, make: Callable[[JSON], JSON]
) -> None:
    where = "thread.tool_resources" if "thread" in make({}) else "tool_resources"
    files = [http.post("/files", files={"file": ("a", b"x")}, data={"purpose": "assistants"}) for _ in range(21)]
    ids = [answer.json()["id"] for answer in files]
    good, bad = (fill(make({"code_interpreter": {"file_ids": ids[:count]}})) for count in (20, 21))
    reached_but_not_passed(http, fill(path), f"{where}.code_interpreter.file_ids", good, bad)
    of_two = [http.post("/vector_stores", json={}).json()["id"] for _ in range(2)]
    good, bad = (fill(make({"file_search": {"vector_store_ids": of_two[:count]}})) for count in (1, 2))
    reached_but_not_passed(http, fill(path), f"{where}.file_search.vector_store_ids", good, bad)


def test_files_that_are_gone_do_not_count_among_the_twenty_of_a_thread(
    http: httpx2.Client, fill: Callable[[Any], Any]
) -> None:
    def attach(count: int) -> httpx2.Response:
        files = [http.post("/files", files={"file": ("a", b"x")}, data={"purpose": "assistants"}) for _ in range(count)]
        ids.extend(answer.json()["id"] for answer in files)
        attachments = [{"file_id": id_, "tools": [{"type": "code_interpreter"}]} for id_ in ids[-count:]]
        return http.post(fill(MESSAGES), json=message(attachments=attachments))

    ids: list[str] = []
    assert attach(20).status_code == 200
    assert attach(1).status_code == 400
    for id_ in ids[:2]:
        http.delete(f"/files/{id_}")
    assert attach(2).status_code == 200
    assert attach(1).status_code == 400
    kept = http.get(fill(THREAD)).json()["tool_resources"]["code_interpreter"]["file_ids"]
    assert kept == [*ids[2:20], *ids[21:23]]


@pytest.mark.parametrize("path", ["/assistants", "/vector_stores", f"{STORE}/file_batches/{{batch}}/files"])
def test_a_page_has_at_most_100_objects(http: httpx2.Client, fill: Callable[[Any], Any], path: str) -> None:
    batch = http.post(fill(f"{STORE}/file_batches"), json={"file_ids": [fill("{file}")]}).json()["id"]
    for limit, expected in ((1, 200), (0, 400), (100, 200), (101, 400)):
        answer = http.get(fill(path).replace("{batch}", batch), params={"limit": limit})
        assert (answer.status_code, len(answer.json().get("data", [])) <= 100) == (expected, True)
