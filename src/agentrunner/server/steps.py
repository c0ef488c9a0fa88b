"""A run as clients see it, made from its session's events: the run, its steps, its messages, and what is streamed.

Pure: the same events give the same objects with the same ids. What happened is returned as (event name, data) in the
documented order; `record.changed` says which objects are to be stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agentrunner.server.calls import Calls
from agentrunner.server.deltas import usage_of
from agentrunner.server.record import Emitted, Record
from agentrunner.server.storage.tables import public
from agentrunner.server.wire.parts import copied
from agentrunner.server.wire.runs import TERMINAL
from agentrunner.server.writing import Writing
from agentrunner.types import JSON, Event

__all__ = ["Emitted", "RunView"]
CUT = {"length": "max_tokens", "content_filter": "content_filter"}
"""Why an answer was ended before its end: in the words of endpoints, and in those of messages."""


class RunView:
    """`run` is changed in place. `files` says which file was made of a path that an answer names; with `expired`, a
    cancellation that comes now is the run's expiry."""

    def __init__(self, run: JSON) -> None:
        self.run = run
        self.record = Record(run, at=run["created_at"])
        self.files: dict[str, str] = {}
        self.expired = False
        self._writing = Writing(self.record)
        self._calls = Calls(self.record)
        self._asking = ""
        self.spent_usd = 0.0
        self.ended = False
        """Whether its session is at an end, for now or for ever."""
        self._failures = 0
        """Attempts at this request that failed."""
        self._usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._cost_usd = 0.0

    @property
    def over(self) -> bool:
        return self.run["status"] in TERMINAL

    def see(self, event: Event) -> Emitted:
        self.record.at = max(self.record.at, int(datetime.fromisoformat(event.at).timestamp()))
        match event.type:
            case "session.claimed":
                self.ended = False
                return self._began()
            case "request.sent":
                return self._asked(event)
            case "request.failed":
                self._failures += 1
                return []
            case "completion.received":
                return self._answered(event)
            case "purchase.settled":
                self.spent_usd = event.data["spent_usd"]
                self._cost_usd += event.data["cost_usd"]
                return []
            case "tool.finished":
                return self._calls.result(event)
            case "session.finished":
                self.spent_usd, self.ended = event.data.get("spent_usd", self.spent_usd), True
                return self._ended(event.data)
            case _:
                return []

    def say(self, text: str) -> Emitted:
        """A piece of the answer that is on its way. What is asked for the run's own use is nobody's message."""
        if not self._asking:
            return []
        begun = [] if self._writing.is_open else self._open_message(self._asking)
        return begun + self._writing.write(text)

    def cancelling(self) -> Emitted:
        self.run["status"] = "cancelling"
        return [self.record.told("thread.run.cancelling", "run", self.run)]

    def submitted(self, outputs: Mapping[str, str]) -> Emitted:
        """The client's outputs have come: they are in the steps before the session goes on from them."""
        emitted = self._calls.submitted(outputs)
        self.run |= {"status": "queued", "required_action": None}
        return [*emitted, self.record.told("thread.run.queued", "run", self.run)]

    def so_far(self) -> Emitted:
        """For whoever comes late: the run as it is, and what is open, so that what follows can be understood."""
        told: Emitted = [(f"thread.run.{self.run['status']}", self.run)]
        for name, objects in (("run.step", self.record.steps), ("message", self.record.messages)):
            told += [(f"thread.{name}.created", one) for one in objects.values() if one["status"] == "in_progress"]
        return [(name, copied(public(data))) for name, data in told]

    def expire(self, now: int) -> Emitted:
        """The end of a run that nobody works on."""
        self.record.at = now
        return self._close("expired", None)

    def cancel(self, now: int) -> Emitted:
        """The end of a run that did not even begin."""
        self.record.at = now
        return self._close("expired" if self.expired else "cancelled", None)

    def fail(self, now: int, message: str) -> Emitted:
        """The end of a run that could not begin."""
        self.record.at = now
        return self._close("failed", {"code": "server_error", "message": message})

    # --- what its session does -----------------------------------------------------------------------------------

    def _began(self) -> Emitted:
        if self.run["status"] not in ("queued", "requires_action"):
            return []
        started = self.run["started_at"] or self.record.at
        self.run |= {"status": "in_progress", "required_action": None, "started_at": started}
        return [self.record.told("thread.run.in_progress", "run", self.run)]

    def _asked(self, event: Event) -> Emitted:
        """What an earlier attempt has said of its answer cannot be taken back: that message is over, and there will be
        another."""
        emitted: Emitted = []
        if self._writing.is_open:
            self._calls.images = self._writing.images + self._calls.images
            emitted = self._writing.break_off("run_failed")
            error = {"code": "server_error", "message": "the model's answer broke off; it is asked again"}
            emitted += self.record.break_off_steps("failed", error)
        self._failures = self._failures if event.key == self._asking else 0
        self._asking = event.key if event.data["label"] == "step" else ""
        return emitted

    def _answered(self, event: Event) -> Emitted:
        data, emitted = event.data, Emitted()
        self.spent_usd = data.get("spent_usd", self.spent_usd)
        usage = usage_of(data["usage"])
        for name in self._usage:
            self._usage[name] += usage[name]
        self._cost_usd += data.get("cost_usd") or 0.0
        if data["label"] != "step":
            return []
        cut = CUT.get(data["_finish"], "")
        if (data["text"] and not data["_problem"]) or self._writing.is_open:
            emitted += [] if self._writing.is_open else self._open_message(event.key)
            of_message = {} if data["tool_calls"] else usage
            emitted += self._writing.end(str(data["text"]), self._calls.passages, self.files, of_message, cut)
        if data["tool_calls"] and cut != "max_tokens":
            emitted += self._calls.begin(event, usage)
        return emitted

    def _open_message(self, key: str) -> Emitted:
        images, self._calls.images = self._calls.images, []
        return self._writing.begin(key, images, self._failures)

    def _ended(self, end: JSON) -> Emitted:
        status, reason = str(end["status"]), str(end["reason"])
        if reason == "interrupted":  # The server was stopped: the next one goes on with it, also with its message.
            self._failures = max(0, self._failures - 1)
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

    def _wait(self) -> Emitted:
        awaited = {"tool_calls": self._calls.awaited()}
        action = {"type": "submit_tool_outputs", "submit_tool_outputs": awaited}
        self.run |= {"status": "requires_action", "required_action": action}
        return [self.record.told("thread.run.requires_action", "run", self.run)]

    def _close(self, status: str, error: JSON | None) -> Emitted:
        emitted: Emitted = []
        if status != "completed":
            reason = {"incomplete": "max_tokens"}.get(status, f"run_{status}")
            emitted = self._writing.break_off(reason)
            emitted += self.record.break_off_steps({"incomplete": "completed"}.get(status, status), error)
        self.run |= {"status": status, "required_action": None, "expires_at": None, "last_error": error}
        self.run["usage"] = dict(self._usage) | ({"cost_usd": round(self._cost_usd, 8)} if self._cost_usd else {})
        if f"{status}_at" in self.run:
            self.run[f"{status}_at"] = self.record.at
        return [*emitted, self.record.told(f"thread.run.{status}", "run", self.run)]
