"""Writes a session's answers as a script that `--script` can play again. It records answers only, not tool results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentrunner.errors import UsageError
from agentrunner.types import JSON, Event


class Recorder:
    """A listener. One entry per line; the file is opened and closed for each, so every answer is on disk when it was
    journalled. An existing file is begun anew. `problem` says why recording ended early, "" if it did not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problem = ""
        try:
            path.write_bytes(b"")
        except OSError as error:
            raise UsageError(
                f"cannot write the script {str(path)!r}: {error.strerror}", "give --record a file in a folder of yours"
            ) from error

    def __call__(self, event: Event) -> None:
        if event.type != "completion.received" or self.problem:
            return
        try:
            with self._path.open("ab") as file:
                file.write(_line(to_entry(event.data)))
        except OSError as error:
            self.problem = f"the script {str(self._path)!r} ends early, cannot write: {error.strerror}"


def to_entry(data: JSON) -> JSON:
    """The script entry that gives the answer of a `completion.received` event again."""
    entry: JSON = {"label": data.get("label") or ""}
    if (branch := str(data.get("branch") or "").strip("/")) and entry["label"] != "wrap_up":
        entry["branch"] = branch
    thoughts: JSON | None = data.get("thoughts")
    calls = _calls(data)
    if thoughts is not None:
        entry["thoughts"] = {key: thoughts[key] for key in _THOUGHTS if key in thoughts}
    if data.get("text") or not (calls or thoughts):
        entry["text"] = data.get("text") or ""
    if calls:
        entry["calls"] = calls
    usage: JSON | None = data.get("usage")
    if usage is not None and data.get("_reported", True):  # else it is the bound that was booked instead
        entry["usage"] = {key: usage[key] for key in _USAGE if key in usage}
    for key, source in (("model", "model"), ("finish", "_finish"), ("problem", "_problem")):
        if data.get(source):
            entry[key] = data[source]
    if _holds_braces(entry):
        entry["literal"] = True
    return entry


_THOUGHTS = ("text", "reasoning", "plan", "criticism", "revise")
_USAGE = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")


def _calls(data: JSON) -> list[JSON]:
    said: list[JSON] = data.get("tool_calls") or []
    calls: list[JSON] = [{"name": call["name"], "arguments": call.get("arguments") or {}} for call in said]
    for call, problem in zip(calls, data.get("_problems") or (), strict=False):
        if problem:
            call["problem"] = problem
    return calls


def _holds_braces(value: Any) -> bool:
    return "{{" in json.dumps(value, ensure_ascii=False)


def _line(entry: JSON) -> bytes:
    try:
        return (json.dumps(entry, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        # A lone surrogate, which models can send as an escape, has no UTF-8 form; escaped it survives.
        return (json.dumps(entry) + "\n").encode()
