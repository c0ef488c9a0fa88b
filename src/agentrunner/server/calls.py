"""Tool calls of answers as steps of the run: what is called, and what came of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentrunner.server.deltas import outputs_of, step_delta
from agentrunner.server.marks import Passage
from agentrunner.server.record import Emitted, Record
from agentrunner.server.wire.parts import copied, list_in, object_in
from agentrunner.server.wire.runs import OWN_NAMES, shown_search
from agentrunner.types import JSON, Event


class Calls:
    """`images` were made since the last message; `passages` are those that an answer may cite, by their marks."""

    def __init__(self, record: Record) -> None:
        self._record = record
        kinds = [tool["type"] for tool in record.run["tools"]]
        self._own = {OWN_NAMES[kind]: kind for kind in kinds if kind in OWN_NAMES}
        self._places: dict[str, tuple[JSON, int]] = {}
        self.images: list[str] = []
        self.passages: dict[str, Passage] = {}

    def begin(self, event: Event, usage: JSON) -> Emitted:
        """A step for the calls of an answer. Where only one may be made at a time, the others are between the model and
        the session."""
        calls: list[JSON] = event.data["tool_calls"][: 1 if self._record.run["parallel_tool_calls"] is False else None]
        details: JSON = {"type": "tool_calls", "tool_calls": []}
        step, emitted = self._record.begin_step(event.key, "tools", details)
        step |= {"_usage": usage, "_open": list(range(len(calls))), "_queries": _queries(calls)}
        branch, _, ordinal = event.key.rpartition("/llm:")
        raw: list[Any] = event.data["_message"].get("tool_calls") or []
        for index, call in enumerate(calls):
            shown = self._shown(call, raw[index] if index < len(raw) else None)
            details["tool_calls"].append(shown)
            self._places[f"{branch}/tool:{ordinal}:{index}"] = step, index
            emitted.append(step_delta(step, {"index": index, **copied(shown)}))
        return emitted

    def result(self, event: Event) -> Emitted:
        found = self._places.get(event.key)
        if found is None:
            return []
        step, index = found
        call, data = step["step_details"]["tool_calls"][index], event.data
        detail: JSON = data.get("_detail") or {}
        delta: JSON = {"index": index, "type": call["type"]}
        if call["type"] == "code_interpreter":
            outputs = outputs_of(data["content"], detail)
            call["code_interpreter"]["outputs"] = outputs
            self.images += list_in(detail, "images")
            numbered = [{"index": place, **output} for place, output in enumerate(outputs)]
            delta["code_interpreter"] = {"outputs": numbered}
        elif call["type"] == "file_search":
            call["file_search"] = detail.get("file_search", {"results": []})
            self.passages |= {mark: Passage(*passage) for mark, passage in object_in(detail, "passages").items()}
            delta["file_search"] = copied(shown_search(call["file_search"], list_in(self._record.run, "_include")))
        elif call["function"]["output"] is None:
            call["function"]["output"] = data["content"]
            delta["function"] = {"output": data["content"]}
        else:
            return []  # It was submitted, and stands there.
        return [step_delta(step, delta), *self._has_result(step, index)]

    def submitted(self, outputs: Mapping[str, str]) -> Emitted:
        """The client's outputs, by call id."""
        emitted: Emitted = []
        for step, index in self._places.values():
            call = step["step_details"]["tool_calls"][index]
            if index in step["_open"] and call["type"] == "function" and call["id"] in outputs:
                call["function"]["output"] = outputs[call["id"]]
                emitted += self._has_result(step, index)
        return emitted

    def awaited(self) -> list[JSON]:
        """The functions whose outputs the client owes."""
        calls = [step["step_details"]["tool_calls"][index] for step, index in self._places.values()]
        return [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
            }
            for call in calls
            if call["type"] == "function" and call["function"]["output"] is None
        ]

    def _shown(self, call: JSON, raw: JSON | None) -> JSON:
        kind = self._own.get(call["name"], "function")
        if kind == "code_interpreter":
            code = str(call["arguments"].get("code", ""))
            return {"id": call["id"], "type": kind, "code_interpreter": {"input": code, "outputs": []}}
        if kind == "file_search":
            return {"id": call["id"], "type": kind, "file_search": {}}
        arguments: object = object_in(raw, "function").get("arguments")
        if not isinstance(arguments, str) or not arguments.strip():
            arguments = json.dumps(call["arguments"], ensure_ascii=False)
        function = {"name": call["name"], "arguments": arguments, "output": None}
        return {"id": call["id"], "type": "function", "function": function}

    def _has_result(self, step: JSON, index: int) -> Emitted:
        step["_open"] = [one for one in step["_open"] if one != index]
        self._record.changed[step["id"]] = "step"
        return [] if step["_open"] else self._record.complete_step(step, step["_usage"])


def _queries(calls: list[JSON]) -> dict[str, str]:
    """What is searched, by call id: clients are told only what is found, later runs need both."""
    return {call["id"]: str(call["arguments"].get("query", "")) for call in calls if call["name"] == "file_search"}
