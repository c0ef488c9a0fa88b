"""Objects of every kind on a server, and requests that name them: most ids that are made up would only be unknown."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import httpx2

JSON = dict[str, Any]

SCRIPT = """
- calls: [{name: price, arguments: {of: pens}}]
  usage: {input_tokens: 300, output_tokens: 300}
- text: They cost 3.
- text: They still cost 3.
"""
"""A run whose assistant has the function waits for its output; any other is told that there is none, and ends."""

PARAMETERS = {
    "assistant": "assistant_id",
    "thread": "thread_id",
    "thread.message": "message_id",
    "thread.run": "run_id",
    "thread.run.step": "step_id",
    "file": "file_id",
    "upload": "upload_id",
    "vector_store": "vector_store_id",
    "vector_store.file": "file_id",
    "vector_store.files_batch": "batch_id",
    "upload.part": "part_id",
}
"""What paths call the id of such an object."""
FIELDS = {
    "assistant_id": "assistant_id",
    "file_id": "file_id",
    "file_ids": "file_id",
    "vector_store_ids": "vector_store_id",
    "part_ids": "part_id",
    "tool_call_id": "tool_call_id",
}
"""What bodies call it."""
_AIMED = 0.9
"""Of the ids in requests so many are of objects that there are, or were."""
_END_S = 20


class World:
    def __init__(self, http: httpx2.Client, random: Random) -> None:
        self.http, self.random = http, random
        self.places: list[dict[str, str]] = []

    def settle(self) -> None:
        """Forget what was known; make at least one object of each kind, and runs in several states."""
        self.places.clear()
        file, table = self._file("a.txt", b"Pens are blue."), self._file("b.csv", b"a,b\n1,2\n")
        plain = self._made("/assistants", model="m")
        asks = self._made("/assistants", model="m", tools=[{"type": "function", "function": {"name": "price"}}])
        store = self._made("/vector_stores", name="s", file_ids=[file])
        self._made(f"/vector_stores/{store}/file_batches", within={"vector_store_id": store}, file_ids=[table])
        self.places.append({"vector_store_id": store, "file_id": file})
        for assistant, more in ((plain, {}), (asks, {}), (asks, {}), (asks, {"max_completion_tokens": 256})):
            thread = self._made("/threads", messages=[{"role": "user", "content": "Hello"}])
            self._made(f"/threads/{thread}/messages", within={"thread_id": thread}, role="user", content="Well?")
            path = f"/threads/{thread}/runs"
            run = self._made(path, within={"thread_id": thread}, assistant_id=assistant, **more)
            self._stopped(f"{path}/{run}")
            self.learn(self.http.get(f"{path}/{run}/steps").json(), {"thread_id": thread, "run_id": run})
        self.http.post(f"{path}/{run}/cancel")  # of what has ended, this is refused
        upload = self._made("/uploads", filename="u.txt", purpose="assistants", bytes=3, mime_type="text/plain")
        part = self.http.post(f"/uploads/{upload}/parts", files={"data": ("u", b"u v")}).json()
        self.learn(part, {"upload_id": upload})

    def learn(self, said: Any, within: dict[str, str]) -> None:
        """Remember what an answer to a request with these ids tells of."""
        if isinstance(said, list):
            for each in said:
                self.learn(each, within)
        if not isinstance(said, dict):
            return
        self.learn(said.get("data"), within)
        kept = {name: said[name] for name in ("thread_id", "run_id") if isinstance(said.get(name), str)}
        if (name := PARAMETERS.get(said.get("object", ""))) and isinstance(said.get("id"), str):
            self.places.append(within | kept | {name: said["id"]})
        action = said.get("required_action") or {}
        for call in action.get("submit_tool_outputs", {}).get("tool_calls", []):
            self.places.append({"tool_call_id": call["id"]})

    def aim_path(self, given: dict[str, Any]) -> dict[str, Any]:
        """These parameters of a path, or those of an object that there is."""
        fitting = [place for place in self.places if set(given) <= set(place)]
        if not fitting or self.random.random() > _AIMED:
            return given
        place = self.random.choice(fitting)
        return {name: place[name] for name in given}

    def aim(self, body: Any) -> Any:
        """The same body with ids of objects that there are."""
        if isinstance(body, list):
            return [self.aim(each) for each in body]
        if not isinstance(body, dict):
            return body
        return {key: self._id(key, value) if key in FIELDS else self.aim(value) for key, value in body.items()}

    def _id(self, key: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._id(key, each) for each in value]
        known = [place[FIELDS[key]] for place in self.places if FIELDS[key] in place]
        aimed = known and isinstance(value, str) and self.random.random() < _AIMED
        return self.random.choice(known) if aimed else value

    def _made(self, path: str, within: dict[str, str] | None = None, **body: Any) -> str:
        said = self.http.post(path, json=body).raise_for_status().json()
        self.learn(said, within or {})
        return said["id"]

    def _file(self, name: str, content: bytes) -> str:
        said = self.http.post("/files", files={"file": (name, content)}, data={"purpose": "assistants"}).json()
        self.learn(said, {})
        return said["id"]

    def _stopped(self, path: str) -> None:
        deadline = time.monotonic() + _END_S
        while True:
            run = self.http.get(path).json()
            if run["status"] not in ("queued", "in_progress"):
                self.learn(run, {})
                return
            assert time.monotonic() < deadline, run
            time.sleep(0.02)


def ids_in(path: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in path.items()}
