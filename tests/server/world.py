"""Objects of every kind on a server, and requests that name them: most ids that are made up would only be unknown."""

from __future__ import annotations

import time
from collections.abc import Iterable
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
_RUN = "/threads/{thread_id}/runs/{run_id}"
USES = {
    f"{_RUN}/submit_tool_outputs": ("tool_call_id",),
    f"{_RUN}/cancel": ("tool_call_id",),
    "/uploads/{upload_id}/complete": ("part_id",),
}
"""Operations on what is in a certain state, told by what else is known of it; they end this state."""
ENDS = ("/uploads/{upload_id}/cancel", "/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel")
_STREAMED = 0.5
_AIMED = 0.9
"""Of the ids in requests so many are of objects that there are, or were."""
_END_S = 20


class World:
    def __init__(self, http: httpx2.Client, random: Random) -> None:
        self.http, self.random = http, random
        self.places: list[dict[str, str]] = []

    def settle(self) -> None:
        """Make at least one object of each kind, and runs in several states."""
        file, table = self._file("a.txt", b"Pens are blue."), self._file("b.csv", b"a,b\n1,2\n")
        plain = self._made("/assistants", model="m")
        asks = self._made("/assistants", model="m", tools=[{"type": "function", "function": {"name": "price"}}])
        store = self._made("/vector_stores", name="s", file_ids=[file])
        self._made(f"/vector_stores/{store}/file_batches", within={"vector_store_id": store}, file_ids=[table])
        self._know({"vector_store_id": store, "file_id": file})
        for assistant, more in ((plain, {}), (asks, {}), (asks, {}), (asks, {"max_completion_tokens": 256})):
            path, run = self._run(assistant, **more)
            self._stopped(f"{path}/{run}")
            thread = path.split("/")[2]
            self.learn(self.http.get(f"{path}/{run}/steps").json(), {"thread_id": thread, "run_id": run})
        path, run = self._run(asks)
        self.http.post(f"{path}/{run}/cancel").raise_for_status()
        upload = self._made("/uploads", filename="u.txt", purpose="assistants", bytes=3, mime_type="text/plain")
        part = self.http.post(f"/uploads/{upload}/parts", files={"data": ("u", b"u v")}).json()
        self.learn(part, {"upload_id": upload})
        self._made("/uploads", filename="v.txt", purpose="assistants", bytes=10_000, mime_type="text/plain")

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
            self._know(within | kept | {name: said["id"]})
        action = said.get("required_action") or {}
        for call in action.get("submit_tool_outputs", {}).get("tool_calls", []):
            self._know({**kept, "run_id": said["id"], "tool_call_id": call["id"]})

    def _know(self, place: dict[str, str]) -> None:
        if place not in self.places:
            self.places.append(place)

    def aim(self, case: Any) -> None:
        """Let a request be about objects that there are."""
        case.path_parameters = place = self._place(case.path_parameters, USES.get(case.operation.path, ()))
        case.path_parameters = {name: place[name] for name in case.path_parameters}
        if "limit" in case.query and self._aims():  # any number is a limit in the specification
            case.query = case.query | {"limit": self.random.randint(1, 100)}
        case.body = self._aimed(case.body, place)
        if case.operation.path.endswith(("/runs", "/submit_tool_outputs")) and isinstance(case.body, dict):
            case.body["stream"] = self.random.random() < _STREAMED

    def heard(self, case: Any, status: int, said: Any) -> None:
        """Learn from an answer; what is gone is asked for now and then only."""
        path = case.operation.path
        given = {name: str(value) for name, value in case.path_parameters.items()}
        self.learn(said, given)
        if given and (case.method == "DELETE" or path in ENDS or status == 404):
            self._forget(given)
        elif path in USES:
            self._forget(given, *USES[path])

    def _forget(self, gone: dict[str, str], *with_: str) -> None:
        if self._aims():
            wanted = set(with_)
            self.places = [
                place for place in self.places if not (gone.items() <= place.items() and wanted <= place.keys())
            ]

    def _place(self, given: dict[str, Any], uses: Iterable[str]) -> dict[str, Any]:
        """These parameters of a path, or those of an object that there is, with what is used of it."""
        if not set(given) & set(PARAMETERS.values()) or not self._aims():
            return given
        names = {*given, *uses}
        if not self._with(names):
            self.settle()
        return self.random.choice(self._with(names))

    def _aimed(self, body: Any, place: dict[str, Any]) -> Any:
        if isinstance(body, list):
            return [self._aimed(each, place) for each in body]
        if not isinstance(body, dict):
            return body
        if "tool_call_id" in place and "tool_outputs" in body:
            return {"tool_outputs": [{"tool_call_id": place["tool_call_id"], "output": "3"}]}
        if "part_id" in place and "part_ids" in body:
            return {"part_ids": [place["part_id"]]}
        return {
            key: self._id(key, value) if key in FIELDS else self._aimed(value, place) for key, value in body.items()
        }

    def _id(self, key: str, value: Any) -> Any:
        if isinstance(value, list):
            return list(dict.fromkeys(self._id(key, each) for each in value if isinstance(each, str))) or value
        known = self._with([FIELDS[key]])
        aimed = known and isinstance(value, str) and self._aims()
        return self.random.choice(known)[FIELDS[key]] if aimed else value

    def _with(self, names: Iterable[str]) -> list[dict[str, str]]:
        return [place for place in self.places if set(names) <= set(place)]

    def _aims(self) -> bool:
        return self.random.random() < _AIMED

    def _made(self, path: str, within: dict[str, str] | None = None, **body: Any) -> str:
        said = self.http.post(path, json=body).raise_for_status().json()
        self.learn(said, within or {})
        return said["id"]

    def _run(self, assistant: str, **more: Any) -> tuple[str, str]:
        """Where the runs of its thread are, and its id."""
        thread = self._made("/threads", messages=[{"role": "user", "content": "Hello"}])
        self._made(f"/threads/{thread}/messages", within={"thread_id": thread}, role="user", content="Well?")
        path = f"/threads/{thread}/runs"
        return path, self._made(path, within={"thread_id": thread}, assistant_id=assistant, **more)

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
