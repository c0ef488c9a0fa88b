"""The pieces of run steps and messages that are streamed, and what tool results look like in them. Pure."""

from __future__ import annotations

from agentrunner.server.wire.parts import list_in
from agentrunner.types import JSON


def message_delta(message: JSON, part: JSON) -> tuple[str, JSON]:
    delta: JSON = {"id": message["id"], "object": "thread.message.delta", "delta": {"content": [part]}}
    return "thread.message.delta", delta


def step_delta(step: JSON, call: JSON) -> tuple[str, JSON]:
    details = {"type": "tool_calls", "tool_calls": [call]}
    delta: JSON = {"id": step["id"], "object": "thread.run.step.delta", "delta": {"step_details": details}}
    return "thread.run.step.delta", delta


def outputs_of(content: str, detail: JSON) -> list[JSON]:
    """What a cell of the code interpreter brought; where it did not come to run, what the model was told."""
    logs = str(detail.get("logs", content))
    images: list[str] = list_in(detail, "images")
    outputs: list[JSON] = [{"type": "logs", "logs": logs}] if logs else []
    return outputs + [{"type": "image", "image": {"file_id": file_id}} for file_id in images]


def usage_of(usage: JSON) -> JSON:
    """Tokens in the words of the API; nothing is zero."""
    prompt, completion = int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def text_of(message: JSON) -> str:
    """The text that a message has so far."""
    parts = [part["text"]["value"] for part in message["content"] if part["type"] == "text"]
    return "".join(parts)
