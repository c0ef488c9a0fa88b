"""Answers as messages of the thread while they are written: pictures first, then text in pieces, the last of them with
the annotations, since there are clients that look for annotations only beside text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentrunner.server.deltas import message_delta, text_of
from agentrunner.server.ids import derived_id
from agentrunner.server.marks import Passage, annotations_in
from agentrunner.server.record import Emitted, Record
from agentrunner.server.wire.threads import new_message
from agentrunner.types import JSON


class Writing:
    """The message that is being written, if there is one."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._open: tuple[JSON, JSON] | None = None
        self._held = ""
        """The last character so far: it waits for what comes with it."""

    @property
    def is_open(self) -> bool:
        return self._open is not None

    @property
    def images(self) -> list[str]:
        """The pictures of the message."""
        parts: list[JSON] = [] if self._open is None else self._open[1]["content"]
        return [part["image_file"]["file_id"] for part in parts if part["type"] == "image_file"]

    def begin(self, key: str, images: Sequence[str], attempt: int = 0) -> Emitted:
        """A message for the answer at this journal key, with these pictures first. Each attempt at an answer has its
        own, though most never come to one."""
        record, run = self._record, self._record.run
        again = (attempt,) if attempt else ()
        id_ = derived_id("message", run["id"], key, *again)
        names = {"run_id": run["id"], "assistant_id": run["assistant_id"]}
        message = new_message(id_, record.at, run["thread_id"], {"role": "assistant", "content": []}, **names)
        message |= {"status": "in_progress", "completed_at": None}
        details: JSON = {"type": "message_creation", "message_creation": {"message_id": id_}}
        step, emitted = record.begin_step(key, " ".join(["message", *map(str, again)]), details)
        record.messages[id_] = message
        self._open = step, message
        emitted += [record.told(f"thread.message.{what}", "message", message) for what in ("created", "in_progress")]
        for index, file_id in enumerate(images):
            part: JSON = {"type": "image_file", "image_file": {"file_id": file_id, "detail": "auto"}}
            message["content"].append(part)
            emitted.append(message_delta(message, {"index": index, **part}))
        return emitted

    def write(self, text: str) -> Emitted:
        """A piece of the text, which is not its end."""
        text = self._held + text
        self._held = text[-1:]
        return self._add(text[:-1], [])

    def _add(self, text: str, annotations: list[JSON]) -> Emitted:
        assert self._open is not None
        if not text and not annotations:
            return []
        message = self._open[1]
        parts = message["content"]
        if not parts or parts[-1]["type"] != "text":
            parts.append({"type": "text", "text": {"value": "", "annotations": []}})
        parts[-1]["text"]["value"] += text
        self._record.changed[message["id"]] = "message"
        numbered = [{"index": index, **one} for index, one in enumerate(annotations)]
        piece: JSON = {"value": text, "annotations": numbered}
        return [message_delta(message, {"index": len(parts) - 1, "type": "text", "text": piece})]

    def end(
        self, text: str, passages: Mapping[str, Passage], files: Mapping[str, str], usage: JSON, cut: str = ""
    ) -> Emitted:
        """The whole of the answer is there; `cut` says why it was ended before its end."""
        assert self._open is not None
        step, message = self._open
        written = text_of(message)
        annotations = annotations_in(text, passages, files)
        emitted = self._add(text[len(written) :] if text.startswith(written) else "", annotations)
        content = message["content"][-1] if message["content"] else None
        if content is not None and content["type"] == "text":
            content["text"] = {"value": text, "annotations": annotations}
        self._open, self._held = None, ""
        if cut:
            emitted += self._incomplete(message, cut)
        else:
            message |= {"status": "completed", "completed_at": self._record.at}
            emitted.append(self._record.told("thread.message.completed", "message", message))
        return emitted + self._record.complete_step(step, usage)

    def break_off(self, reason: str) -> Emitted:
        """The run ended before the answer did. Its step is left open."""
        if self._open is None:
            return []
        message, emitted = self._open[1], self._add(self._held, [])
        self._open, self._held = None, ""
        return emitted + self._incomplete(message, reason)

    def _incomplete(self, message: JSON, reason: str) -> Emitted:
        at = self._record.at
        message |= {"status": "incomplete", "incomplete_at": at, "incomplete_details": {"reason": reason}}
        return [self._record.told("thread.message.incomplete", "message", message)]
