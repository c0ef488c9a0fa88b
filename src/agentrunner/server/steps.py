"""A run as clients see it, made from its session's events: the run, its steps, its messages, and what is streamed.

Pure: the same events give the same objects with the same ids. `see` and `say` return what happened as (event name,
data) in the documented order; `changed` says which objects are to be stored.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentrunner.server.deltas import message_delta, outputs_of, step_delta, text_of, usage_of
from agentrunner.server.ids import derived_id
from agentrunner.server.marks import Passage, annotations_in
from agentrunner.server.storage.tables import public
from agentrunner.server.wire.parts import list_in, object_in
from agentrunner.server.wire.runs import OWN_NAMES, TERMINAL, new_step
from agentrunner.server.wire.threads import new_message
from agentrunner.types import JSON, Event

Emitted = list[tuple[str, JSON]]


@dataclass
class RunView:
    """`run` is changed in place. `files` says which file was made of a path that an answer names."""

    run: JSON
    steps: dict[str, JSON] = field(default_factory=dict[str, JSON])
    messages: dict[str, JSON] = field(default_factory=dict[str, JSON])
    files: dict[str, str] = field(default_factory=dict[str, str])
    changed: dict[str, str] = field(default_factory=dict[str, str])
    """Kind of object by id."""
    expired: bool = False
    """A cancellation that comes now is the run's expiry."""

    def __post_init__(self) -> None:
        self._own = {OWN_NAMES[t["type"]]: t["type"] for t in self.run["tools"] if t["type"] in OWN_NAMES}
        self._asking = ""
        self._at = self.run["created_at"]
        self._writing: tuple[JSON, JSON] | None = None
        self._images: list[str] = []
        self._passages: dict[str, Passage] = {}
        self._calls: dict[str, tuple[JSON, int]] = {}
        self._usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._cost_usd = 0.0

    def see(self, event: Event) -> Emitted:
        self._at = int(datetime.fromisoformat(event.at).timestamp())
        match event.type:
            case "session.claimed":
                return self._began()
            case "request.sent" if event.data["label"] == "step":
                self._asking = event.key
                return []
            case "completion.received":
                return self._answered(event)
            case "tool.finished":
                return self._result(event)
            case "session.finished":
                return self._ended(event.data)
            case _:
                return []

    def say(self, text: str) -> Emitted:
        """A piece of the answer that is on its way."""
        emitted = [] if self._writing else self._open_message(self._asking)
        return emitted + self._write(text)

    def cancelling(self) -> Emitted:
        self.run["status"] = "cancelling"
        return [self._told("thread.run.cancelling", "run", self.run)]

    def submitted(self, outputs: Mapping[str, str]) -> Emitted:
        """The client's outputs have come: they are in the steps before the session goes on from them."""
        emitted: Emitted = []
        for step in self.steps.values():
            if step["status"] != "in_progress" or step["type"] != "tool_calls":
                continue
            for index, call in enumerate(step["step_details"]["tool_calls"]):
                if index in step["_open"] and call["type"] == "function" and call["id"] in outputs:
                    call["function"]["output"] = outputs[call["id"]]
                    emitted += self._has_result(step, index)
        self.run |= {"status": "queued", "required_action": None}
        return [*emitted, self._told("thread.run.queued", "run", self.run)]

    def so_far(self) -> Emitted:
        """For whoever comes late: the run as it is, and what is open, so that what follows can be understood."""
        open_steps = [step for step in self.steps.values() if step["status"] == "in_progress"]
        open_messages = [message for message in self.messages.values() if message["status"] == "in_progress"]
        told: Emitted = [(f"thread.run.{self.run['status']}", self.run)]
        told += [("thread.run.step.created", step) for step in open_steps]
        told += [("thread.message.created", message) for message in open_messages]
        return [(name, copy.deepcopy(public(data))) for name, data in told]

    # --- the run -------------------------------------------------------------------------------------------------

    def _began(self) -> Emitted:
        if self.run["status"] not in ("queued", "requires_action"):
            return []
        self.run |= {
            "status": "in_progress",
            "required_action": None,
            "started_at": self.run["started_at"] or self._at,
        }
        return [self._told("thread.run.in_progress", "run", self.run)]

    def _ended(self, end: JSON) -> Emitted:
        status, reason = str(end["status"]), str(end["reason"])
        if reason == "interrupted":  # The server was stopped: the next one goes on with it.
            return []
        if status == "requires_action":
            return self._wait()
        if status == "cancelled":
            return self._close("expired" if self.expired else "cancelled", None)
        if status == "completed":
            return self._close("completed", None)
        if end["message"] in ("max_prompt_tokens", "max_completion_tokens"):
            self.run["incomplete_details"] = {"reason": end["message"]}
            return self._close("incomplete", None)
        limited = reason.startswith("budget_") or "429" in str(end["message"])
        code = "rate_limit_exceeded" if limited else "server_error"
        return self._close("failed", {"code": code, "message": str(end["message"]) or reason})

    def expire(self, now: int) -> Emitted:
        """The end of a run that nobody works on."""
        self._at = now
        return self._close("expired", None)

    def cancel(self, now: int) -> Emitted:
        """The end of a run that did not even begin."""
        self._at = now
        return self._close("expired" if self.expired else "cancelled", None)

    def fail(self, now: int, message: str) -> Emitted:
        """The end of a run that could not even begin."""
        self._at = now
        return self._close("failed", {"code": "server_error", "message": message})

    def _wait(self) -> Emitted:
        calls = [call for step in self.steps.values() for call in step["step_details"].get("tool_calls", ())]
        open_ = [call for call in calls if call["type"] == "function" and call["function"]["output"] is None]
        asked: list[JSON] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]},
            }
            for call in open_
        ]
        self.run["status"] = "requires_action"
        self.run["required_action"] = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": asked}}
        return [self._told("thread.run.requires_action", "run", self.run)]

    def _close(self, status: str, error: JSON | None) -> Emitted:
        emitted: Emitted = []
        if status != "completed":
            emitted = self._break_off(status, error)
        self.run |= {"status": status, "required_action": None, "expires_at": None, "last_error": error}
        self.run["usage"] = dict(self._usage) | ({"cost_usd": round(self._cost_usd, 8)} if self._cost_usd else {})
        if f"{status}_at" in self.run:
            self.run[f"{status}_at"] = self._at
        return [*emitted, self._told(f"thread.run.{status}", "run", self.run)]

    def _break_off(self, status: str, error: JSON | None) -> Emitted:
        """What was open when the run ended otherwise."""
        emitted: Emitted = []
        if self._writing is not None:
            message = self._writing[1]
            reason = {"incomplete": "max_tokens"}.get(status, f"run_{status}")
            emitted += self._incomplete(message, reason)
            self._writing = None
        ended = {"incomplete": "completed"}.get(status, status)
        for step in self.steps.values():
            if step["status"] == "in_progress":
                step |= {"status": ended, f"{ended}_at": self._at, "last_error": error}
                emitted.append(self._told(f"thread.run.step.{ended}", "step", step))
        return emitted

    # --- answers -------------------------------------------------------------------------------------------------

    def _answered(self, event: Event) -> Emitted:
        data, emitted = event.data, Emitted()
        usage = usage_of(data["usage"])
        for name in self._usage:
            self._usage[name] += usage[name]
        self._cost_usd += data.get("cost_usd") or 0.0
        if data["label"] != "step":
            return []
        if (data["text"] and not data["_problem"]) or self._writing:
            emitted += self._message(event, {} if data["tool_calls"] else usage)
        if data["tool_calls"] and data["_finish"] != "length":
            emitted += self._tool_step(event, usage)
        return emitted

    def _message(self, event: Event, usage: JSON) -> Emitted:
        text = str(event.data["text"])
        emitted = [] if self._writing else self._open_message(event.key)
        assert self._writing is not None
        step, message = self._writing
        written = text_of(message)
        emitted += self._write(text[len(written) :]) if text.startswith(written) and text != written else []
        content = message["content"][-1] if message["content"] else None
        if content is not None and content["type"] == "text":
            content["text"] = {"value": text, "annotations": annotations_in(text, self._passages, self.files)}
            emitted += self._annotate(message, content["text"]["annotations"])
        self._writing = None
        if event.data["_finish"] == "length":
            emitted += self._incomplete(message, "max_tokens")
        else:
            message |= {"status": "completed", "completed_at": self._at}
            emitted.append(self._told("thread.message.completed", "message", message))
        return emitted + self._complete(step, usage)

    def _open_message(self, key: str) -> Emitted:
        id_ = derived_id("message", self.run["id"], key)
        names = {"run_id": self.run["id"], "assistant_id": self.run["assistant_id"]}
        message = new_message(id_, self._at, self.run["thread_id"], {"role": "assistant", "content": []}, **names)
        message |= {"status": "in_progress", "completed_at": None}
        details = {"type": "message_creation", "message_creation": {"message_id": id_}}
        step = new_step(derived_id("step", self.run["id"], key, "message"), self._at, self.run, details)
        self.steps[step["id"]], self.messages[id_] = step, message
        self._writing = step, message
        emitted = [
            self._told("thread.run.step.created", "step", step),
            self._told("thread.run.step.in_progress", "step", step),
            self._told("thread.message.created", "message", message),
            self._told("thread.message.in_progress", "message", message),
        ]
        for index, file_id in enumerate(self._images):
            part: JSON = {"type": "image_file", "image_file": {"file_id": file_id, "detail": "auto"}}
            message["content"].append(part)
            emitted.append(message_delta(message, {"index": index, **part}))
        self._images = []
        return emitted

    def _write(self, text: str) -> Emitted:
        assert self._writing is not None
        if not text:
            return []
        _, message = self._writing
        parts = message["content"]
        if not parts or parts[-1]["type"] != "text":
            parts.append({"type": "text", "text": {"value": "", "annotations": []}})
        parts[-1]["text"]["value"] += text
        self.changed[message["id"]] = "message"
        delta: JSON = {"index": len(parts) - 1, "type": "text", "text": {"value": text, "annotations": []}}
        return [message_delta(message, delta)]

    def _annotate(self, message: JSON, annotations: list[JSON]) -> Emitted:
        if not annotations:
            return []
        numbered = [{"index": index, **one} for index, one in enumerate(annotations)]
        delta: JSON = {"index": len(message["content"]) - 1, "type": "text", "text": {"annotations": numbered}}
        return [message_delta(message, delta)]

    def _incomplete(self, message: JSON, reason: str) -> Emitted:
        message |= {"status": "incomplete", "incomplete_at": self._at, "incomplete_details": {"reason": reason}}
        return [self._told("thread.message.incomplete", "message", message)]

    # --- tools ---------------------------------------------------------------------------------------------------

    def _tool_step(self, event: Event, usage: JSON) -> Emitted:
        details: JSON = {"type": "tool_calls", "tool_calls": []}
        step = new_step(derived_id("step", self.run["id"], event.key, "tools"), self._at, self.run, details)
        step |= {"_usage": usage, "_open": list(range(len(event.data["tool_calls"])))}
        self.steps[step["id"]] = step
        emitted = [
            self._told("thread.run.step.created", "step", step),
            self._told("thread.run.step.in_progress", "step", step),
        ]
        branch, _, ordinal = event.key.rpartition("/llm:")
        raw: list[Any] = event.data["_message"].get("tool_calls") or []
        for index, call in enumerate(event.data["tool_calls"]):
            shown = self._call(call, raw[index] if index < len(raw) else None)
            details["tool_calls"].append(shown)
            self._calls[f"{branch}/tool:{ordinal}:{index}"] = step, index
            emitted.append(step_delta(step, {"index": index, **copy.deepcopy(shown)}))
        return emitted

    def _call(self, call: JSON, raw: JSON | None) -> JSON:
        kind = self._own.get(call["name"], "function")
        if kind == "code_interpreter":
            code = str(call["arguments"].get("code", ""))
            return {"id": call["id"], "type": kind, "code_interpreter": {"input": code, "outputs": []}}
        if kind == "file_search":
            return {"id": call["id"], "type": kind, "file_search": {}}
        arguments: object = object_in(raw, "function").get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps(call["arguments"], ensure_ascii=False)
        function = {"name": call["name"], "arguments": arguments, "output": None}
        return {"id": call["id"], "type": "function", "function": function}

    def _result(self, event: Event) -> Emitted:
        found = self._calls.get(event.key)
        if found is None:
            return []
        step, index = found
        call, data = step["step_details"]["tool_calls"][index], event.data
        detail: JSON = data.get("_detail") or {}
        delta: JSON = {"index": index, "type": call["type"]}
        if call["type"] == "code_interpreter":
            outputs = outputs_of(data["content"], detail)
            call["code_interpreter"]["outputs"] = outputs
            self._images += list_in(detail, "images")
            numbered = [{"index": place, **output} for place, output in enumerate(outputs)]
            delta["code_interpreter"] = {"outputs": numbered}
        elif call["type"] == "file_search":
            call["file_search"] = detail.get("file_search", {"results": []})
            self._passages |= {mark: Passage(*passage) for mark, passage in detail.get("passages", {}).items()}
            delta["file_search"] = copy.deepcopy(call["file_search"])
        elif call["function"]["output"] is None:
            call["function"]["output"] = data["content"]
            delta["function"] = {"output": data["content"]}
        else:
            return []  # It was submitted, and stands there.
        return [step_delta(step, delta), *self._has_result(step, index)]

    def _has_result(self, step: JSON, index: int) -> Emitted:
        step["_open"] = [one for one in step["_open"] if one != index]
        self.changed[step["id"]] = "step"
        return [] if step["_open"] else self._complete(step, step["_usage"])

    def _complete(self, step: JSON, usage: JSON) -> Emitted:
        step |= {"status": "completed", "completed_at": self._at, "usage": usage or usage_of({})}
        return [self._told("thread.run.step.completed", "step", step)]

    def _told(self, name: str, kind: str, data: JSON) -> tuple[str, JSON]:
        self.changed[data["id"]] = kind
        return name, copy.deepcopy(public(data))

    @property
    def over(self) -> bool:
        return self.run["status"] in TERMINAL
