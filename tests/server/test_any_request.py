"""Whatever is sent, the answer is an object or the envelope of an error, and never a fault of the server."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.parts import Clock, server, upload

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)

GOOD: dict[str, list[Any]] = {
    "/assistants": [
        {
            "model": "m",
            "name": "n",
            "description": "d",
            "instructions": "i",
            "tools": [
                {"type": "code_interpreter"},
                {
                    "type": "file_search",
                    "file_search": {"max_num_results": 3, "ranking_options": {"score_threshold": 0}},
                },
                {"type": "function", "function": {"name": "f", "parameters": {}, "strict": None}},
            ],
            "tool_resources": {"code_interpreter": {"file_ids": ["{file}"]}, "file_search": {"vector_store_ids": []}},
            "metadata": {"a": "b"},
            "temperature": 1,
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        }
    ],
    "/assistants/{assistant}": [{"name": "x", "tools": [], "metadata": None, "tool_resources": {}}],
    "/threads": [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "x"}],
                    "attachments": [{"file_id": "{file}", "tools": [{"type": "file_search"}]}],
                }
            ],
            "tool_resources": {"file_search": {"vector_stores": [{"file_ids": ["{file}"]}]}},
        }
    ],
    "/threads/{thread}": [{"metadata": {"a": "b"}, "tool_resources": {"code_interpreter": {"file_ids": []}}}],
    "/threads/{thread}/messages": [{"role": "user", "content": "x", "metadata": {}}],
    "/vector_stores": [{"name": "n", "file_ids": ["{file}"], "expires_after": {"anchor": "last_active_at", "days": 1}}],
    "/vector_stores/{store}": [{"name": None, "expires_after": None}],
    "/vector_stores/{store}/search": [
        {
            "query": ["x", "y"],
            "max_num_results": 5,
            "filters": {"type": "and", "filters": [{"type": "in", "key": "a", "value": [1, "b"]}]},
            "ranking_options": {"ranker": "auto", "score_threshold": 0.1},
            "rewrite_query": True,
        }
    ],
    "/vector_stores/{store}/files": [
        {
            "file_id": "{file}",
            "attributes": {"a": 1},
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0},
            },
        }
    ],
    "/vector_stores/{store}/file_batches": [{"file_ids": ["{file}"]}, {"files": [{"file_id": "{file}"}]}],
    "/uploads": [{"filename": "a", "purpose": "assistants", "bytes": 1, "mime_type": "a/b"}],
    "/uploads/{upload}/complete": [{"part_ids": ["part_x"], "md5": "x"}],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of `value` with `new` at `path`."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any]:
    """A good request with one or two places changed into anything."""
    path = draw(st.sampled_from(sorted(GOOD)))
    body = draw(st.sampled_from(GOOD[path]))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(places(body))))
        body = changed(body, place, draw(JSON_VALUES))
    return path, body


def test_no_body_makes_the_server_fail(tmp_path: Path) -> None:
    number = itertools.count()

    async def ids_of(client: httpx2.AsyncClient) -> dict[str, str]:
        async def made(path: str, **body: Any) -> str:
            return (await client.post(path, json=body)).json()["id"]

        return {
            "file": await upload(client, "a.txt", b"x y z"),
            "assistant": await made("/assistants", model="m"),
            "thread": await made("/threads"),
            "store": await made("/vector_stores"),
            "upload": await made("/uploads", filename="a", bytes=1, purpose="assistants", mime_type="a/b"),
        }

    with asyncio.Runner() as runner:
        context = server(tmp_path / "home", Clock(), indexing=False)
        client, _ = runner.run(context.__aenter__())
        ids = runner.run(ids_of(client))

        def filled(text: str) -> str:
            for name, id_ in ids.items():
                text = text.replace(f"{{{name}}}", id_)
            return text

        @settings(max_examples=300, suppress_health_check=list(HealthCheck))
        @given(requests())
        def check(request: tuple[str, Any]) -> None:
            next(number)
            path, body = request
            content = filled(json.dumps(body)).encode()
            answer = runner.run(client.post(filled(path), content=content))
            assert answer.status_code in (200, 400, 404), (path, content, answer.text)
            said = answer.json()
            if answer.status_code == 200:
                assert said["object"]
            else:
                assert set(said["error"]) == {"message", "type", "param", "code"}
                assert said["error"]["message"]

        check()
        assert next(number) >= 300
        runner.run(context.__aexit__(None, None, None))
