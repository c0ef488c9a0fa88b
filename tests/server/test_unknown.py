"""Ids of nothing: on every route, in whatever place, they are said to be unknown and nothing else happens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from agentrunner.server.app import ROUTES
from agentrunner.server.ids import PREFIXES
from tests.server.limits import MESSAGES, RUNS, STORE, message, run

KINDS = {
    "assistant_id": "assistant",
    "thread_id": "thread",
    "message_id": "message",
    "run_id": "run",
    "step_id": "step",
    "file_id": "file",
    "upload_id": "upload",
    "vector_store_id": "store",
    "batch_id": "batch",
}
"""What the places in paths are called."""
BODIES: dict[str, Any] = {
    "/threads/{thread_id}/messages": message(),
    "/threads/{thread_id}/runs": run(),
    "/threads/{thread_id}/runs/{run_id}/submit_tool_outputs": {"tool_outputs": []},
    "/uploads/{upload_id}/complete": {"part_ids": ["part_x"]},
    "/vector_stores/{vector_store_id}/search": {"query": "x"},
    "/vector_stores/{vector_store_id}/files": {"file_id": "{file}"},
    "/vector_stores/{vector_store_id}/files/{file_id}": {"attributes": {}},
    "/vector_stores/{vector_store_id}/file_batches": {"file_ids": ["{file}"]},
}
"""That are right, where an empty one is not."""

CASES = [
    (method, route.path, name)
    for route in ROUTES
    for method in sorted((route.methods or set()) - {"HEAD"})
    for name in re.findall(r"\{(\w+)\}", route.path)
    if name in KINDS
]
"""Every place of every route."""


@pytest.mark.parametrize(("method", "path", "name"), CASES, ids=[" ".join(case) for case in CASES])
def test_an_id_of_nothing_is_said_to_be_unknown(
    http: httpx2.Client, fill: Callable[[Any], Any], method: str, path: str, name: str
) -> None:
    def ask(id_: str) -> tuple[int, Any]:
        filled = path.replace(f"{{{name}}}", id_)
        for other, kind in KINDS.items():
            if f"{{{other}}}" in filled:
                filled = filled.replace(f"{{{other}}}", fill(f"{{{kind}}}"))
        if path.endswith("/parts"):
            answer = http.post(filled, files={"data": b"x"})
        else:
            answer = http.request(method, filled, json=fill(BODIES.get(path, {})) if method == "POST" else None)
        return answer.status_code, answer.json()["error"]

    unknown = PREFIXES[KINDS[name]] + "x" * 24
    status, error = ask(unknown)
    assert (status, error["type"]) == (404, "invalid_request_error")
    assert unknown in error["message"]
    # What cannot be an id at all is said to be none; files had names of other kinds once.
    status, error = ask("undefined")
    assert status == (404 if name == "file_id" else 400)
    assert "undefined" in error["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/assistants", {"model": "m", "tool_resources": {"code_interpreter": {"file_ids": ["file-x"]}}}),
        ("/assistants", {"model": "m", "tool_resources": {"file_search": {"vector_store_ids": ["vs_x"]}}}),
        ("/threads", {"tool_resources": {"file_search": {"vector_store_ids": ["vs_x"]}}}),
        ("/threads", {"messages": [message(content=[{"type": "image_file", "image_file": {"file_id": "file-x"}}])]}),
        (MESSAGES, message(attachments=[{"file_id": "file-x", "tools": [{"type": "code_interpreter"}]}])),
        (RUNS, {"assistant_id": "asst_x"}),
        ("/threads/runs", {"assistant_id": "asst_x", "thread": {"messages": [message()]}}),
        ("/vector_stores", {"file_ids": ["file-x"]}),
        (f"{STORE}/files", {"file_id": "file-x"}),
        (f"{STORE}/file_batches", {"file_ids": ["{file}", "file-x"]}),
    ],
)
def test_nothing_is_made_of_what_names_something_unknown(
    http: httpx2.Client, fill: Callable[[Any], Any], path: str, body: Any
) -> None:
    filled = fill(path)
    lists = {"/threads/runs": "/threads", f"{STORE}/file_batches": f"{STORE}/files"}
    listed = fill(lists.get(path, path))
    before = http.get(listed).json()["data"]
    answer = http.post(filled, json=fill(body))

    assert answer.status_code == 404, answer.text
    assert re.search(r"file-x|vs_x|asst_x", answer.json()["error"]["message"])
    assert http.get(listed).json()["data"] == before
