"""A server that is killed while it reads files goes on with them when it is started again."""

from __future__ import annotations

import time

import httpx2

from tests.server.running import serving
from tests.support.program import Agent


def test_files_in_progress_are_read_by_the_next_server(agent: Agent) -> None:
    with serving(agent) as first:
        url = f"{first.url}/v1"
        ids: list[str] = []
        for n in range(20):
            sent = {"file": (f"{n}.txt", f"whale {n} sings. ".encode() * 5_000)}
            ids.append(httpx2.post(f"{url}/files", files=sent, data={"purpose": "assistants"}).json()["id"])
        store = httpx2.post(f"{url}/vector_stores", json={"file_ids": ids}).json()["id"]
        first.process.kill()
    with serving(agent) as second:
        url = f"{second.url}/v1/vector_stores/{store}"
        counts = httpx2.get(url).json()["file_counts"]
        assert counts["in_progress"] > 0, "it was killed too late for this test to show anything"
        deadline = time.monotonic() + 60
        while (counts := httpx2.get(url).json()["file_counts"])["in_progress"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert counts["completed"] == 20
        found = httpx2.post(f"{url}/search", json={"query": "whale 17", "max_num_results": 50}).json()["data"]
        assert "17.txt" in {each["filename"] for each in found}
