"""Images in messages: models are shown them, whatever becomes of their files, and nothing carries them twice."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import base64
import contextlib
import struct
import zlib
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from agentrunner.journal import open_journal
from tests.runs.conftest import JSON, PRICES, Server, assistant, server_in
from tests.support.endpoint import Answer, Endpoint, error
from tests.support.program import Agent
from tests.support.speech import usage

URL = "https://images.example/cat.jpg?size=large"


def png(width: int = 1024, height: int = 1024, noise: int = 0) -> bytes:
    """A black picture, with so many bytes of something that cannot be compressed beside it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\0" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    beside = chunk(b"teXt", Random(1).randbytes(noise))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + beside + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def upload(client: OpenAI, content: bytes, name: str = "a.png", purpose: Any = "vision") -> str:
    return client.files.create(file=(name, content), purpose=purpose).id


def part(file_id: str, **more: Any) -> JSON:
    return {"type": "image_file", "image_file": {"file_id": file_id, **more}}


def shows(client: OpenAI, *content: Any, role: Any = "user") -> str:
    """A thread with this message."""
    parts: list[Any] = [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]
    return client.beta.threads.create(messages=[{"role": role, "content": parts}]).id


def ask(client: OpenAI, talk: str, *tools: JSON, **more: Any) -> Any:
    made = assistant(client, *tools)
    return client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made, **more)


def data_of(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def test_a_model_is_shown_files_and_addresses_in_their_order(client: OpenAI, endpoint: Endpoint) -> None:
    file_id = upload(client, png())
    address = {"type": "image_url", "image_url": {"url": URL}}
    run = ask(client, shows(client, "Is this", part(file_id, detail="low"), "the same as", address, "?"))

    assert run.status == "completed"
    [said] = endpoint.requests[-1].json["messages"]
    assert said["content"] == [
        {"type": "text", "text": f"Is this\n\n[image {file_id}]"},
        {"type": "image_url", "image_url": {"url": data_of(png()), "detail": "low"}},
        {"type": "text", "text": "the same as"},
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "text", "text": "?"},
    ]


def test_an_image_needs_no_words(client: OpenAI, endpoint: Endpoint) -> None:
    assert ask(client, shows(client, {"type": "image_url", "image_url": {"url": URL}})).status == "completed"
    [said] = endpoint.requests[-1].json["messages"]
    assert said["content"] == [{"type": "image_url", "image_url": {"url": URL}}]


def test_models_of_the_responses_api_are_shown_them_too(tmp_path: Path) -> None:
    with Endpoint([Answer("a cat")]) as endpoint, server_in(tmp_path, endpoint) as server:
        server.stop()
        server.env = {"AGENT_API": "responses"}
        server.start()
        client = server.client()
        file_id = upload(client, png(8, 8))
        address = {"type": "image_url", "image_url": {"url": URL, "detail": "high"}}
        assert ask(client, shows(client, part(file_id), address)).status == "completed"
        [said] = endpoint.requests[-1].json["input"]
    assert said["content"] == [
        {"type": "input_text", "text": f"[image {file_id}]"},
        {"type": "input_image", "image_url": data_of(png(8, 8)), "detail": "auto"},
        {"type": "input_image", "image_url": URL, "detail": "high"},
    ]


def test_a_run_goes_on_with_an_image_whose_file_is_gone_and_whose_server_was_killed(tmp_path: Path) -> None:
    def calls_once(request: JSON) -> Answer:
        answered = any(message["role"] == "tool" for message in request["messages"])
        billed = usage(2_000, 20)
        return Answer("a cat", usage=billed) if answered else Answer(calls=(("price", {"of": "cats"}),), usage=billed)

    big = png(noise=1 << 20)
    with Endpoint(calls_once) as endpoint, server_in(tmp_path, endpoint, "--price", "1,1") as server:
        client = server.client()
        file_id = upload(client, big)
        run = ask(client, shows(client, "What is it?", part(file_id)), *PRICES)
        client.files.delete(file_id)
        server.kill()
        server.start()
        again = server.client()
        [call] = run.required_action.submit_tool_outputs.tool_calls
        run = again.beta.threads.runs.submit_tool_outputs_and_poll(
            run_id=run.id, thread_id=run.thread_id, tool_outputs=[{"tool_call_id": call.id, "output": "7"}]
        )

        assert run.status == "completed", run.last_error
        first, second = (request.json["messages"][0]["content"] for request in endpoint.requests)
        assert first[1]["image_url"]["url"] == data_of(big)
        assert second == first
        assert server.agent("replay", run.id).code == 0
        with contextlib.closing(open_journal(server.agent.home)) as journal:
            events = journal.load(run.id)
        # A picture of 1 MiB is billed by its size in pixels, and stands nowhere in the journal.
        bounds = [event.data["input_tokens_bound"] for event in events if event.type == "request.sent"]
        assert max(bounds) < 10_000
        assert sum(len(str(event.data)) for event in events) < 40_000
        assert kept_bytes(server) < 1.2 * len(big)
        again.beta.threads.delete(run.thread_id)
        assert kept_bytes(server) < 0.2 * len(big)


def test_a_run_that_was_exported_is_the_same_elsewhere_with_its_pictures_and_without(tmp_path: Path) -> None:
    shown = png(noise=1 << 20)
    with Endpoint([Answer("a cat")]) as endpoint, server_in(tmp_path / "here", endpoint) as server:
        client = server.client()
        run = ask(client, shows(client, "What is it?", part(upload(client, shown))))
        bare = server.agent("sessions", "export", run.id).out
        whole = server.agent("sessions", "export", run.id, "--with-files").out
    assert len(bare) < 50_000
    without, there = Agent(tmp_path / "without"), Agent(tmp_path / "there")
    for agent, lines in ((without, bare), (there, whole)):
        done = agent("sessions", "import", "-", "--workspace", "w", stdin=lines.encode())
        assert done.code == 0, done.err
        replayed = agent("replay", run.id)
        assert (replayed.code, replayed.err) == (0, ""), replayed
    [kept] = (there.home / "sessions" / run.id / "pictures").iterdir()
    assert kept.read_bytes() == shown
    assert kept.name == sha256(shown).hexdigest()
    assert there("sessions", "export", run.id, "--with-files").out.splitlines()[1:] == whole.splitlines()[1:]
    assert not (without.home / "sessions" / run.id / "pictures").exists()
    assert there("sessions", "rm", run.id).code == 0
    assert not kept.exists()

    last = whole.splitlines()[-1]
    named = last.replace(kept.name, "0" * 64)
    assert named != last
    for spoiled, said in (
        (whole.replace(last, named), "the picture '000000000000' is not whole"),
        (
            whole.replace('"base64": "', '"base64": "AAAA', 1).replace('"base64":"', '"base64":"AAAA', 1),
            "its hash says",
        ),
    ):
        done = there("sessions", "import", "-", stdin=spoiled.encode())
        assert done.code == 2
        assert said in done.err
        assert not there("sessions", "list", "--json").out


def kept_bytes(server: Server) -> int:
    """Of all files but the database's, each counted once under all its names."""
    files = [path for path in server.agent.home.rglob("*") if path.is_file() and ".db" not in path.name]
    return sum({path.stat().st_ino: path.stat().st_size for path in files}.values())


def test_what_is_no_image_is_named_and_not_shown(client: OpenAI, endpoint: Endpoint) -> None:
    table, gone = upload(client, b"a,b\n1,2\n", "a.csv", "assistants"), upload(client, png())
    talk = shows(client, "Look:", part(table), part(gone))
    client.files.delete(gone)

    assert ask(client, talk).status == "completed"
    [said] = endpoint.requests[-1].json["messages"]
    assert said["content"] == f"Look:\n\n[image {table}]\n\n[image {gone}]"


def test_the_assistants_own_images_are_named(client: OpenAI, endpoint: Endpoint) -> None:
    file_id = upload(client, png())
    talk = shows(client, "Here:", part(file_id), role="assistant")
    client.beta.threads.messages.create(talk, role="user", content="Thanks.")

    assert ask(client, talk).status == "completed"
    [said, _] = endpoint.requests[-1].json["messages"]
    assert said == {"role": "assistant", "content": f"Here:\n\n[image {file_id}]"}


def test_a_model_that_takes_no_images_fails_the_run_with_a_sentence(tmp_path: Path) -> None:
    refusal = error(400, "Invalid content type. image_url is only supported by certain models.")
    with Endpoint(lambda request: refusal) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        run = ask(client, shows(client, {"type": "image_url", "image_url": {"url": URL}}))

        assert (run.status, len(endpoint.requests)) == ("failed", 1)
        assert "image_url is only supported by certain models" in run.last_error.message
        assert "(the request shows 1 image; perhaps any takes none)" in run.last_error.message


def test_an_image_may_have_twenty_megabytes_and_no_more(client: OpenAI) -> None:
    most = 20 << 20
    bare = len(png(8, 8))
    fits = upload(client, png(8, 8, most - bare))
    assert client.files.retrieve(fits).bytes == most
    assert ask(client, shows(client, part(fits))).status == "completed"
    with pytest.raises(BadRequestError, match="at most 20971520 bytes"):
        shows(client, part(upload(client, png(8, 8, most - bare + 1))))


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "file:///etc/passwd", "cat.png", ""])
def test_addresses_are_those_of_the_web(client: OpenAI, url: str) -> None:
    with pytest.raises(BadRequestError, match="image_url"):
        shows(client, {"type": "image_url", "image_url": {"url": url}})
