"""Transcripts become threads."""

from __future__ import annotations

import json

import httpx2
import pytest

from agentrunner.errors import UsageError
from agentrunner.server.importing import Transcript, read_transcripts
from tests.server.running import serving
from tests.support.program import Agent


def said(transcript: Transcript) -> list[tuple[str, str]]:
    return [(each["role"], each["content"][0]["text"]["value"]) for each in transcript.messages]


def message(role: str, content: object, **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


def test_every_form_of_transcript_is_read() -> None:
    hello, hi = message("user", "hello"), message("assistant", "hi")
    lines = [json.dumps(each) for each in (hello, hi)]
    expected = [("user", "hello"), ("assistant", "hi")]
    for text in (json.dumps([hello, hi]), "\n".join(lines), "\n\n".join(lines), json.dumps({"messages": [hello, hi]})):
        (transcript,) = read_transcripts(text)
        assert said(transcript) == expected
    both = read_transcripts(json.dumps([{"messages": [hello], "metadata": {"a": "b"}}, {"messages": [hi]}]))
    assert [said(each) for each in both] == [expected[:1], expected[1:]]
    assert both[0].metadata == {"a": "b"}
    grouped = read_transcripts("\n".join(json.dumps(hello | {"thread_id": id_}) for id_ in "abab"))
    assert [len(each.messages) for each in grouped] == [2, 2]


def test_messages_as_the_api_lists_them_are_turned_round() -> None:
    def listed(at: int, value: str) -> dict[str, object]:
        return message("user", [{"type": "text", "text": {"value": value, "annotations": []}}], created_at=at)

    (transcript,) = read_transcripts(json.dumps([listed(3, "c"), listed(2, "b"), listed(1, "a")]))
    assert [text for _, text in said(transcript)] == ["a", "b", "c"]


@pytest.mark.parametrize("at", ["1e999", "NaN", "1e300", "-1", "true", '"yesterday"'])
def test_a_time_that_is_none_is_not_known(at: str) -> None:
    (transcript,) = read_transcripts('{"role": "user", "content": "x", "created_at": ' + at + "}")
    assert transcript.messages[0]["created_at"] is None


def test_what_a_thread_cannot_hold_is_left_out_and_counted() -> None:
    image = {"type": "image_file", "image_file": {"file_id": "file-x"}}
    messages = [
        message("system", "be nice"),
        message("user", [image, {"type": "text", "text": "look"}]),
        message("assistant", None, tool_calls=[]),
        message("tool", "42"),
    ]
    (transcript,) = read_transcripts(json.dumps(messages))
    assert said(transcript) == [("user", "look")]
    assert transcript.left_out == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "7",
        '{"a": 1}',
        '[["x"]]',
        '{"messages": [1]}',
        '{"role": "user", "content": "x"}\n{',
        "[" * 100_000,
    ],
)
def test_what_is_no_transcript_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(UsageError):
        read_transcripts(text)


def test_a_message_that_is_too_long_is_named() -> None:
    with pytest.raises(UsageError, match="message 2 of the thread"):
        read_transcripts(json.dumps([message("user", "x"), message("user", "x" * 256_001)]))


def test_imported_threads_are_served(agent: Agent) -> None:
    lines = [message("user", "hello", created_at=5), message("assistant", "hi", created_at=6), message("user", "and?")]
    (agent.folder / "log.jsonl").write_text("\n".join(json.dumps(each) for each in lines))
    done = agent("threads", "import", "log.jsonl")
    thread = done.out.split()[0]
    with serving(agent) as server:
        assert httpx2.get(f"{server.url}/v1/threads/{thread}").json()["created_at"] == 5
        listed = httpx2.get(f"{server.url}/v1/threads/{thread}/messages?order=asc").json()["data"]
        assert [each["content"][0]["text"]["value"] for each in listed] == ["hello", "hi", "and?"]
    piped = agent("threads", "import", "-", stdin=b'{"role": "user", "content": "x"}')
    assert piped.out.endswith("  1 messages\n")
    assert agent("threads", "import", "gone.json").code == 2
    assert agent("threads", "import", "log.jsonl", "--key", "nobody").code == 2
