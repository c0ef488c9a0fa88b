"""What a client may send before anybody knows what it wants."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.server.running import Running

LINE = b"X-A: " + b"a" * 1_000 + b"\r\n"
START = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"


def sent_until_refused(url: str, start: bytes, piece: bytes, most: int = 20 << 20) -> tuple[int, bytes]:
    """How many bytes of these pieces the server took, and what it said."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10) as connection:
        connection.sendall(start)
        sent = 0
        try:
            while sent < most:
                connection.sendall(piece)
                sent += len(piece)
            answer = b""
        except OSError:
            answer = _left(connection)
    return sent, answer


def _left(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1_000)
    except OSError:  # it is lost where the server had not read all that was sent
        return b""


@pytest.mark.parametrize(
    ("start", "piece"),
    [(START, LINE * 16), (START + b"X-A: ", b"a" * 16_000), (b"GET /", b"a" * 16_000)],
    ids=["many lines", "one long line", "a long address"],
)
def test_a_head_without_end_is_refused_before_it_fills_the_memory(shared: Running, start: bytes, piece: bytes) -> None:
    sent, answer = sent_until_refused(shared.url, start, piece)

    assert sent < 10 << 20, "all of it was taken"
    assert answer[:13] in (b"", b"HTTP/1.1 400 ")


def test_trailers_without_end_are_refused_too(shared: Running, key: str) -> None:
    start = START.replace(b"GET", b"POST").replace(b"models", b"threads")
    start += f"Authorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".encode()
    sent, _ = sent_until_refused(shared.url, start, LINE * 16)

    assert sent < 10 << 20, "all of it was taken"


def test_a_long_head_and_long_bodies_are_taken(http: httpx2.Client) -> None:
    assert http.get("/models", headers={"x-a": "a" * 60_000}).status_code == 200
    assert http.post("/threads", json={"metadata": {}}, headers={"x-a": "a" * 60_000}).status_code == 200
    pieces = itertools.repeat(b" " * 1_000, 1_000)
    assert http.post("/threads", content=pieces).status_code == 200


def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httptools")
    from uvicorn import Config
    from uvicorn.server import ServerState

    from agentrunner.server import heads

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def talk() -> list[bytes]:
        config, state = Config(app, log_config=None), ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: heads.BoundedHeads(config, state, {}), "127.0.0.1", 0)
        async with server:
            address = server.sockets[0].getsockname()
            answers: list[bytes] = []
            for said in (b"", START, START + b"\r\n" + START):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(said)
                answers.append(await asyncio.wait_for(reader.read(), 10))
                writer.close()
        return answers

    monkeypatch.setattr(heads, "HEAD_S", 0.2)
    silent, begun, again = asyncio.run(talk())
    assert (silent, begun) == (b"", b"")
    assert again.startswith(b"HTTP/1.1 204")
