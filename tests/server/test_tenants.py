"""Each key sees what was made with it, and nothing else, by whatever route it asks."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from typing import Any, cast

import httpx2
import pytest

from agentrunner.server.app import ROUTES as SERVED
from tests.server.running import Running

_NAMES = itertools.count()


@pytest.fixture
def other(shared: Running) -> Iterator[httpx2.Client]:
    """Somebody else."""
    secret = shared.new_key(f"other {next(_NAMES)}")
    with httpx2.Client(base_url=f"{shared.url}/v1", headers={"authorization": f"Bearer {secret}"}) as opened:
        yield opened


@pytest.fixture
def mine(http: httpx2.Client) -> dict[str, str]:
    """One object of each kind."""

    def made(path: str, **body: Any) -> str:
        return http.post(path, json=body).json()["id"]

    file = http.post("/files", files={"file": ("a.txt", b"a secret whale")}, data={"purpose": "assistants"}).json()[
        "id"
    ]
    thread, store = made("/threads"), made("/vector_stores", file_ids=[file])
    upload = made("/uploads", filename="a", bytes=1, purpose="assistants", mime_type="a/b")
    assistant = made("/assistants", model="m")
    talk = made("/threads", messages=[{"role": "user", "content": "x"}])
    run = made(f"/threads/{talk}/runs", assistant_id=assistant)
    steps = _when_done(http, f"/threads/{talk}/runs/{run}")
    return {
        "assistant": assistant,
        "talk": talk,
        "run": run,
        "step": steps[0]["id"],
        "thread": thread,
        "message": made(f"/threads/{thread}/messages", role="user", content="x"),
        "file": file,
        "store": store,
        "batch": made(f"/vector_stores/{store}/file_batches", file_ids=[file]),
        "upload": upload,
        "part": http.post(f"/uploads/{upload}/parts", files={"data": b"x"}).json()["id"],
    }


def _when_done(http: httpx2.Client, path: str) -> list[dict[str, Any]]:
    """The run's steps."""
    deadline = time.monotonic() + 20
    while http.get(path).json()["status"] != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return http.get(f"{path}/steps").json()["data"]


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/assistants/{assistant}", None),
    ("POST", "/assistants/{assistant}", {"name": "stolen"}),
    ("DELETE", "/assistants/{assistant}", None),
    ("GET", "/assistants?after={assistant}", None),
    ("GET", "/threads/{thread}", None),
    ("POST", "/threads/{thread}", {"metadata": {"a": "stolen"}}),
    ("DELETE", "/threads/{thread}", None),
    ("GET", "/threads/{thread}/messages", None),
    ("POST", "/threads/{thread}/messages", {"role": "user", "content": "stolen"}),
    ("GET", "/threads/{thread}/messages/{message}", None),
    ("POST", "/threads/{thread}/messages/{message}", {"metadata": {"a": "stolen"}}),
    ("DELETE", "/threads/{thread}/messages/{message}", None),
    ("POST", "/threads/{talk}/runs", {"assistant_id": "{assistant}"}),
    ("POST", "/threads/runs", {"assistant_id": "{assistant}"}),
    (
        "POST",
        "/threads/runs",
        {"assistant_id": "{own}", "tool_resources": {"code_interpreter": {"file_ids": ["{file}"]}}},
    ),
    ("GET", "/threads/{talk}/runs", None),
    ("GET", "/threads/{talk}/runs/{run}", None),
    ("POST", "/threads/{talk}/runs/{run}", {"metadata": {"a": "stolen"}}),
    ("POST", "/threads/{talk}/runs/{run}/cancel", None),
    ("POST", "/threads/{talk}/runs/{run}/submit_tool_outputs", {"tool_outputs": []}),
    ("GET", "/threads/{talk}/runs/{run}/steps", None),
    ("GET", "/threads/{talk}/runs/{run}/steps/{step}", None),
    ("GET", "/files/{file}", None),
    ("GET", "/files/{file}/content", None),
    ("DELETE", "/files/{file}", None),
    ("GET", "/vector_stores/{store}", None),
    ("POST", "/vector_stores/{store}", {"name": "stolen"}),
    ("DELETE", "/vector_stores/{store}", None),
    ("POST", "/vector_stores/{store}/search", {"query": "whale"}),
    ("GET", "/vector_stores/{store}/files", None),
    ("POST", "/vector_stores/{store}/files", {"file_id": "{file}"}),
    ("GET", "/vector_stores/{store}/files/{file}", None),
    ("POST", "/vector_stores/{store}/files/{file}", {"attributes": {"a": "stolen"}}),
    ("DELETE", "/vector_stores/{store}/files/{file}", None),
    ("GET", "/vector_stores/{store}/files/{file}/content", None),
    ("POST", "/vector_stores/{store}/file_batches", {"file_ids": ["{file}"]}),
    ("GET", "/vector_stores/{store}/file_batches/{batch}", None),
    ("POST", "/vector_stores/{store}/file_batches/{batch}/cancel", None),
    ("GET", "/vector_stores/{store}/file_batches/{batch}/files", None),
    ("POST", "/uploads/{upload}/complete", {"part_ids": ["{part}"]}),
    ("POST", "/uploads/{upload}/cancel", None),
    ("GET", "/threads/{talk}/runs/{run}?stream=true", None),
    # Objects of others inside of one's own.
    ("POST", "/threads/{own_thread}/runs", {"assistant_id": "{assistant}"}),
    ("GET", "/threads/{own_thread}/runs/{run}", None),
    ("GET", "/threads/{own_thread}/runs/{run}?stream=true", None),
    ("POST", "/threads/{own_thread}/runs/{run}/cancel", None),
    ("GET", "/threads/{own_thread}/runs/{run}/steps", None),
    ("GET", "/threads/{own_thread}/messages/{message}", None),
    ("GET", "/threads/{own_thread}/messages?run_id=x&after={message}", None),
    ("POST", "/vector_stores/{own_store}/files", {"file_id": "{file}"}),
    ("POST", "/vector_stores/{own_store}/file_batches", {"file_ids": ["{file}"]}),
    ("GET", "/vector_stores/{own_store}/file_batches/{batch}", None),
    ("GET", "/vector_stores/{own_store}/files/{file}/content", None),
    ("POST", "/uploads/{own_upload}/complete", {"part_ids": ["{part}"]}),
    ("POST", "/threads", {"tool_resources": {"code_interpreter": {"file_ids": ["{file}"]}}}),
    ("POST", "/threads", {"tool_resources": {"file_search": {"vector_store_ids": ["{store}"]}}}),
    ("POST", "/assistants", {"model": "m", "tool_resources": {"file_search": {"vector_store_ids": ["{store}"]}}}),
    (
        "POST",
        "/threads",
        {
            "messages": [
                {
                    "role": "user",
                    "content": "x",
                    "attachments": [{"file_id": "{file}", "tools": [{"type": "file_search"}]}],
                }
            ]
        },
    ),
    (
        "POST",
        "/threads",
        {"messages": [{"role": "user", "content": [{"type": "image_file", "image_file": {"file_id": "{file}"}}]}]},
    ),
    ("POST", "/vector_stores", {"file_ids": ["{file}"]}),
]


def test_nothing_of_another_key_is_seen_or_changed_by_any_route(
    http: httpx2.Client, other: httpx2.Client, mine: dict[str, str]
) -> None:
    own = {
        "own": other.post("/assistants", json={"model": "m"}).json()["id"],
        "own_thread": other.post("/threads", json={}).json()["id"],
        "own_store": other.post("/vector_stores", json={}).json()["id"],
        "own_upload": other.post(
            "/uploads", json={"filename": "a", "bytes": 1, "purpose": "assistants", "mime_type": "a/b"}
        ).json()["id"],
    }
    ids = mine | own
    for method, path, body in ROUTES:
        answer = other.request(method, _filled(path, ids), json=_filled(body, ids))
        assert answer.status_code in (400, 404), (method, path, answer.text)
        assert "whale" not in answer.text
    part = other.post(_filled("/uploads/{upload}/parts", mine), files={"data": b"x"})
    assert part.status_code == 404
    for path, known in (
        ("assistants", ["own"]),
        ("threads", ["own_thread"]),
        ("files", []),
        ("vector_stores", ["own_store"]),
    ):
        assert [each["id"] for each in other.get(f"/{path}").json()["data"]] == [own[name] for name in known], path
    # All of it is still there, and none of it has become another.
    assert http.get(_filled("/assistants/{assistant}", mine)).json()["name"] is None
    assert http.get(_filled("/threads/{thread}", mine)).json()["metadata"] == {}
    assert len(http.get(_filled("/threads/{thread}/messages", mine)).json()["data"]) == 1
    assert http.get(_filled("/files/{file}/content", mine)).content == b"a secret whale"
    assert http.get(_filled("/vector_stores/{store}", mine)).json()["name"] == ""
    assert http.post(_filled("/uploads/{upload}/complete", mine), json={"part_ids": [mine["part"]]}).status_code == 200


def test_every_route_with_an_id_is_among_those_that_were_tried() -> None:
    def shape(path: str) -> str:
        return re.sub(r"\{.*?\}", "{}", path.partition("?")[0])

    tried = {(method, shape(path)) for method, path, _ in ROUTES} | {("POST", "/uploads/{}/parts")}
    there = {
        (method, shape(route.path))
        for route in SERVED
        for method in (route.methods or set()) - {"HEAD"}
        if "{" in route.path and not route.path.startswith("/models")
    }
    assert there - tried == set()


def _filled(what: Any, ids: dict[str, str]) -> Any:
    if isinstance(what, str):
        for name, id_ in ids.items():
            what = what.replace(f"{{{name}}}", id_)
        return what
    if isinstance(what, dict):
        return {key: _filled(value, ids) for key, value in cast(dict[str, Any], what).items()}
    return [_filled(each, ids) for each in cast(list[Any], what)] if isinstance(what, list) else what
