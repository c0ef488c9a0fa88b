"""A run as clients see it, made from events by hand."""

from __future__ import annotations

from typing import Any

from agentrunner.server.steps import RunView
from agentrunner.server.wire.runs import new_run
from agentrunner.types import Event

JSON = dict[str, Any]
USAGE = {"input_tokens": 3, "cached_tokens": 0, "output_tokens": 2, "reasoning_tokens": 0}


def view() -> RunView:
    assistant = {"id": "asst_a", "model": "any", "tools": [{"type": "code_interpreter"}]}
    return RunView(new_run("run_a", 100, {"id": "thread_a"}, assistant, {}))


def event(type_: str, key: str = "", **data: Any) -> Event:
    return Event("run_a", 1, "2026-11-22T10:00:00.000Z", type_, key, data)


def sent(key: str, label: str = "step") -> Event:
    return event("request.sent", key, label=label)


def answered(key: str, text: str = "", *calls: JSON, label: str = "step", finish: str = "stop") -> Event:
    common: JSON = {"label": label, "usage": USAGE, "cost_usd": 0.5, "_problem": "", "_finish": finish}
    return event("completion.received", key, text=text, tool_calls=list(calls), _message={}, **common)


def names(*told: list[tuple[str, JSON]]) -> list[str]:
    return [name.removeprefix("thread.") for some in told for name, _ in some]


def test_what_a_run_asks_for_its_own_use_is_no_message() -> None:
    seen = view()
    seen.see(event("session.claimed"))
    seen.see(sent("/llm:1", "compact"))
    assert seen.say("a summary of the thread") == []
    assert seen.see(answered("/llm:1", "a summary of the thread", label="compact")) == []
    seen.see(event("session.finished", status="completed", reason="goal_met", message=""))

    assert (seen.record.messages, seen.run["usage"]["total_tokens"], seen.run["usage"]["cost_usd"]) == ({}, 5, 0.5)


def test_a_piece_opens_the_message_and_the_answer_ends_it() -> None:
    seen = view()
    seen.see(sent("/llm:1"))
    first, second, end = seen.say("one "), seen.say("two"), seen.see(answered("/llm:1", "one two three"))

    created = ["run.step.created", "run.step.in_progress", "message.created", "message.in_progress"]
    assert names(first, second) == [*created, "message.delta", "message.delta"]
    assert names(end) == ["message.delta", "message.completed", "run.step.completed"]
    pieces = [data["delta"]["content"][0]["text"]["value"] for _, data in [*first, *second, *end] if "delta" in data]
    assert pieces == ["one", " tw", "o three"]


def test_the_same_events_give_the_same_ids() -> None:
    one, two = view(), view()
    for seen in (one, two):
        seen.see(answered("/llm:1", "hi"))

    assert list(one.record.messages) == list(two.record.messages)
    assert list(one.record.steps) == list(two.record.steps)


def test_a_run_that_is_cancelled_leaves_nothing_open() -> None:
    seen = view()
    seen.see(sent("/llm:1"))
    seen.say("half")
    told = seen.see(event("session.finished", status="cancelled", reason="cancelled", message=""))

    assert names(told) == ["message.delta", "message.incomplete", "run.step.cancelled", "run.cancelled"]
    [message] = seen.record.messages.values()
    assert message["incomplete_details"] == {"reason": "run_cancelled"}


def test_pictures_come_before_the_text_that_follows_them() -> None:
    seen = view()
    call = {"id": "c", "name": "python", "arguments": {"code": "plot()"}}
    seen.see(answered("/llm:1", "", call))
    told = seen.see(event("tool.finished", "/tool:1:0", content="ok", _detail={"images": ["file-a"], "logs": "drawn"}))
    seen.see(answered("/llm:2", "Look."))

    assert names(told) == ["run.step.delta", "run.step.completed"]
    [message] = seen.record.messages.values()
    assert [part["type"] for part in message["content"]] == ["image_file", "text"]


def test_a_server_that_was_stopped_ends_nothing() -> None:
    seen = view()
    seen.see(event("session.claimed"))

    assert seen.see(event("session.finished", status="cancelled", reason="interrupted", message="")) == []
    assert seen.run["status"] == "in_progress"


def test_an_attempt_that_broke_off_leaves_its_message_and_the_next_one_has_another() -> None:
    seen = view()
    seen.see(sent("/llm:1"))
    seen.say("half")
    assert seen.see(event("request.failed", "/llm:1")) == []
    broken = seen.see(sent("/llm:1"))
    told = [*seen.say("all of it"), *seen.see(answered("/llm:1", "all of it"))]

    assert names(broken) == ["message.delta", "message.incomplete", "run.step.failed"]
    assert [name for name in names(told) if name.startswith("message.")] == [
        "message.created", "message.in_progress", "message.delta", "message.delta", "message.completed",
    ]  # fmt: skip
    first, second = seen.record.messages.values()
    assert (first["status"], first["incomplete_details"]) == ("incomplete", {"reason": "run_failed"})
    assert [message["content"][0]["text"]["value"] for message in (first, second)] == ["half", "all of it"]
    again = view()
    for one in (sent("/llm:1"), event("request.failed", "/llm:1"), sent("/llm:1"), answered("/llm:1", "all of it")):
        again.see(one)
    assert list(again.record.messages) == [second["id"]]


def test_a_server_that_was_stopped_in_the_middle_of_a_message_goes_on_with_that_message() -> None:
    """Whether it was told to end, and could say so, or was killed."""
    seen = view()
    seen.see(sent("/llm:1"))
    seen.say("half")
    [begun] = seen.record.messages
    stopped = [event("request.failed", "/llm:1"), event("session.finished", status="cancelled", reason="interrupted")]
    for what_came in (stopped, []):
        later = view()
        for one in (sent("/llm:1"), *what_came, event("session.claimed"), sent("/llm:1"), answered("/llm:1", "all")):
            later.see(one)
        assert list(later.record.messages) == [begun]
