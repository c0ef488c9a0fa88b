"""Files and uploads in parts, through the official client."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.server.running import Running, serving
from tests.support.program import Agent

MIB = 1 << 20


def contents(server: Running) -> set[str]:
    """The names of all contents on the server's disk."""
    return {path.name for path in (server.home / "files").glob("*/*")}


def test_a_file_lives_from_its_upload_to_its_end(client: Any, shared: Running) -> None:
    content = os.urandom(1000)
    made = client.files.create(file=("Zahlen ü.csv", content), purpose="assistants")
    assert made.id.startswith("file-")
    assert (made.bytes, made.filename, made.purpose, made.status) == (1000, "Zahlen ü.csv", "assistants", "processed")
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == content
    assert [each.id for each in client.everything(client.files.list(purpose="assistants"))] == [made.id]
    assert client.everything(client.files.list(purpose="vision")) == []
    assert hashlib.sha256(content).hexdigest() in contents(shared)

    gone = client.files.delete(made.id)
    assert (gone.object, gone.deleted) == ("file", True)
    assert hashlib.sha256(content).hexdigest() not in contents(shared)
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.content(made.id)


def test_the_same_content_is_kept_once_and_until_its_last_file_is_deleted(one: Any, shared: Running) -> None:
    content = os.urandom(100)
    name = hashlib.sha256(content).hexdigest()
    first, second = (one.files.create(file=(n, content), purpose="assistants") for n in ("a.txt", "b.txt"))
    one.files.delete(first.id)
    assert name in contents(shared)
    assert one.files.content(second.id).content == content
    one.files.delete(second.id)
    assert name not in contents(shared)


def test_a_file_expires_when_it_was_told_to(one: Any) -> None:
    made = one.files.create(
        file=("a.txt", b"x"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == made.created_at + 3600


@pytest.mark.parametrize(
    ("name", "kept"), [("../../etc/passwd", "passwd"), ("C:\\data\\a.csv", "a.csv"), ('a"b;c\r\n.txt', None)]
)
def test_a_file_has_only_the_last_part_of_its_name(one: Any, name: str, kept: str | None) -> None:
    made = one.files.create(file=(name, b"x"), purpose="assistants")
    assert kept is None or made.filename == kept
    assert one.files.content(made.id).content == b"x"


def test_an_empty_file_is_a_file(one: Any) -> None:
    made = one.files.create(file=("empty.txt", b""), purpose="assistants")
    assert made.bytes == 0
    assert one.files.content(made.id).content == b""


def test_forms_that_are_none_are_refused_with_a_sentence(http: httpx2.Client) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\nassistants\r\n'
    for headers, body, said in (
        ({}, b"{}", "multipart/form-data"),
        ({"content-type": "multipart/form-data"}, b"", "multipart/form-data"),
        (boundary, b"what?", "could not be read"),
        (boundary, part % b"purpose" + b"--x--\r\n", "Missing required parameter: 'file'"),
        (boundary, part % b"purpose" + part % b"file" + b"--x--\r\n", "needs a name"),
        (boundary, part % b'file"; filename="a', "end is missing"),
        (boundary, (part % b"y") * 40 + b"--x--\r\n", "too many fields"),
        (boundary, b"--x\r\n" + b"a" * 70_000 + b": b\r\n\r\n", "header"),
    ):
        answer = http.post("/files", headers=headers, content=body)
        assert answer.status_code == 400, body[:50]
        assert said in answer.json()["error"]["message"]


def test_a_file_may_be_as_large_as_documented_and_not_a_byte_more(http: httpx2.Client, shared: Running) -> None:
    """In bounded memory: the server's own peak is looked at."""
    before = peak_kib(shared)
    for size, expected in ((512 * MIB, 200), (512 * MIB + 1, 413)):
        answer = http.post("/files", headers=form(), content=big_form(size), timeout=120)
        assert answer.status_code == expected, answer.text
        if expected == 200:
            assert answer.json()["bytes"] == size
            http.delete(f"/files/{answer.json()['id']}")
    assert answer.json()["error"]["code"] == "content_too_large"
    assert peak_kib(shared) - before < 64 * 1024
    assert not list((shared.home / "files").glob("*.part"))


def form() -> dict[str, str]:
    return {"content-type": "multipart/form-data; boundary=x"}


def big_form(size: int) -> Iterator[bytes]:
    yield b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
    yield from (bytes(MIB) for _ in range(size // MIB))
    yield bytes(size % MIB)
    yield b"\r\n--x--\r\n"


def peak_kib(server: Running) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_what_clients_do_wrong_is_not_said_to_whoever_runs_the_server(agent: Agent) -> None:
    with serving(agent) as running:
        host, port = running.url.removeprefix("http://").split(":")
        form = b"content-type: multipart/form-data; boundary=x\r\n"
        for sent in (
            b"POST /v1/threads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nhalf",
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\n" + form + b"content-length: 100\r\n\r\n--x",
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\n" + form + b"content-length: 4\r\n\r\n\x1b[2J",
            b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            b"what?\r\n\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                connection.makefile("rb").read()
        running.process.terminate()
        assert running.process.communicate(timeout=20)[1] == b""


def begun_upload(running: Running) -> socket.socket:
    """The connection of an upload that does not go on."""
    host, port = running.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(
        b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\n"
        b'content-length: 9999\r\n\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    wait_for_parts(running, 1)
    return connection


def test_an_upload_during_which_the_server_is_stopped_is_to_be_sent_again(agent: Agent) -> None:
    with serving(agent) as running, begun_upload(running) as connection:
        running.process.terminate()
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 503 ")
        assert b"Traceback" not in running.process.communicate(timeout=20)[1]
        assert running.process.returncode == 128 + signal.SIGTERM
        wait_for_parts(running, 0)


def test_a_second_ctrl_c_stops_the_server_without_a_word(agent: Agent) -> None:
    with serving(agent) as running, begun_upload(running):
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert running.process.poll() is None  # the first one waits for what is under way
        running.process.send_signal(signal.SIGINT)
        assert running.process.communicate(timeout=20)[1] == b""
        assert running.process.returncode == 128 + signal.SIGINT


def wait_for_parts(server: Running, count: int) -> None:
    """Until so many uploads are under way."""
    deadline = time.monotonic() + 10
    while len(list((server.home / "files").glob("*.part"))) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing(shared: Running, key: str) -> None:
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /v1/files HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
            "content-type: multipart/form-data; boundary=x\r\ncontent-length: 100000\r\n\r\n"
            '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'.encode()
        )
        wait_for_parts(shared, 1)
    wait_for_parts(shared, 0)


def test_an_upload_in_parts_becomes_a_file(client: Any) -> None:
    content = os.urandom(3000)
    upload = client.uploads.create(bytes=3000, filename="a.bin", mime_type="text/plain", purpose="assistants")
    assert (upload.status, upload.expires_at) == ("pending", upload.created_at + 3600)
    second = client.uploads.parts.create(upload.id, data=content[2000:])
    first = client.uploads.parts.create(upload.id, data=content[:2000])
    done = client.uploads.complete(
        upload.id, part_ids=[first.id, second.id], md5=hashlib.md5(content, usedforsecurity=False).hexdigest()
    )
    assert done.status == "completed"
    assert client.files.content(done.file.id).content == content
    with pytest.raises(openai.BadRequestError, match="is completed"):
        client.uploads.parts.create(upload.id, data=b"more")


def test_the_client_uploads_in_parts_by_itself(client: Any) -> None:
    content = os.urandom(5000)
    done = client.uploads.upload_file_chunked(
        file=content, filename="a.bin", bytes=5000, mime_type="text/plain", purpose="assistants", part_size=999
    )
    assert client.files.content(done.file.id).content == content


def test_an_upload_that_is_cancelled_leaves_nothing(one: Any, shared: Running) -> None:
    content = os.urandom(500)
    upload = one.uploads.create(bytes=500, filename="a", mime_type="text/plain", purpose="assistants")
    part = one.uploads.parts.create(upload.id, data=content)
    assert hashlib.sha256(content).hexdigest() in contents(shared)
    assert one.uploads.cancel(upload.id).status == "cancelled"
    assert hashlib.sha256(content).hexdigest() not in contents(shared)
    for act in (
        lambda: one.uploads.complete(upload.id, part_ids=[part.id]),
        lambda: one.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="is cancelled"):
            act()


def test_an_upload_that_is_not_what_was_announced_is_refused(one: Any) -> None:
    upload = one.uploads.create(bytes=5, filename="a", mime_type="text/plain", purpose="assistants")
    part = one.uploads.parts.create(upload.id, data=b"1234")
    with pytest.raises(openai.BadRequestError, match="more than the 5 bytes"):
        one.uploads.parts.create(upload.id, data=b"56")
    with pytest.raises(openai.BadRequestError, match="the parts have 4 bytes"):
        one.uploads.complete(upload.id, part_ids=[part.id])
    last = one.uploads.parts.create(upload.id, data=b"5")
    with pytest.raises(openai.BadRequestError, match="named twice"):
        one.uploads.complete(upload.id, part_ids=[part.id, part.id])
    with pytest.raises(openai.BadRequestError, match="MD5"):
        one.uploads.complete(upload.id, part_ids=[part.id, last.id], md5="0" * 32)
    assert one.uploads.complete(upload.id, part_ids=[part.id, last.id]).status == "completed"


def test_a_part_may_be_as_large_as_documented_and_not_a_byte_more(http: httpx2.Client) -> None:
    body = {"bytes": 200 * MIB, "filename": "a", "mime_type": "text/plain", "purpose": "assistants"}
    upload = http.post("/uploads", json=body).json()["id"]
    for size, expected in ((64 * MIB, 200), (64 * MIB + 1, 413)):
        head = b'--x\r\ncontent-disposition: form-data; name="data"; filename="d"\r\n\r\n'
        content = head + bytes(size) + b"\r\n--x--\r\n"
        answer = http.post(f"/uploads/{upload}/parts", headers=form(), content=content, timeout=60)
        assert answer.status_code == expected, answer.text
    http.post(f"/uploads/{upload}/cancel")
