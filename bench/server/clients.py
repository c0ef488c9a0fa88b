"""Clients of the server that do as little as possible: what they cost is not the question, and it has two processors.

Each keeps one connection, and waits between polls for as long as the server asks it to, as the official client does.
"""

import asyncio
import json
import time
import warnings
from collections.abc import Sequence
from typing import Any

POLLS = "X-Stainless-Poll-Helper: true\r\n"
"""By this the official client's `create_and_poll` says what it does."""
ENDED = ("completed", "failed", "cancelled", "expired", "incomplete")


class Client:
    """One connection to one server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: Any = None, header: str = "") -> tuple[dict[str, str], Any]:
        reader, headers = await self._begin(method, path, body, header)
        return headers, json.loads(await reader.readexactly(int(headers["content-length"])))

    async def events(self, method: str, path: str, body: Any) -> list[str]:
        """The names of all events of a stream, once it has ended."""
        reader, _ = await self._begin(method, path, body)
        names: list[str] = []
        while (line := await reader.readline()) != b"event: done\n":
            if line.startswith(b"event: "):
                names.append(line[7:-1].decode())
        await reader.readuntil(b"0\r\n\r\n")
        return names

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()

    async def _begin(
        self, method: str, path: str, body: Any, header: str = ""
    ) -> tuple[asyncio.StreamReader, dict[str, str]]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{header}"
        self._writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if int(lines[0].split(" ")[1]) != 200:
            raise SystemExit(f"{method} {path}: {lines[0]}: {await self._reader.read(2000)}")
        return self._reader, headers


async def threads(client: Client, count: int) -> list[str]:
    asks = {"messages": [{"role": "user", "content": "Find the lines that I named, and say what they are."}]}
    return [(await client.ask("POST", "/threads", asks))[1]["id"] for _ in range(count)]


async def polled(client: Client, thread: str, assistant: str) -> float:
    """Seconds from asking for a run to being told that it is over."""
    begun = time.perf_counter()
    _, run = await client.ask("POST", f"/threads/{thread}/runs", {"assistant_id": assistant})
    headers, run = await client.ask("GET", f"/threads/{thread}/runs/{run['id']}", header=POLLS)
    while run["status"] not in ENDED:
        await asyncio.sleep(int(headers["openai-poll-after-ms"]) / 1000)
        headers, run = await client.ask("GET", f"/threads/{thread}/runs/{run['id']}", header=POLLS)
    _must_be_completed(run["status"])
    return time.perf_counter() - begun


async def streamed(client: Client, thread: str, assistant: str) -> float:
    begun = time.perf_counter()
    names = await client.events("POST", f"/threads/{thread}/runs", {"assistant_id": assistant, "stream": True})
    _must_be_completed(names[-1].removeprefix("thread.run."))
    return time.perf_counter() - begun


async def official_alone(url: str, count: int) -> Sequence[float]:
    """Seconds that OpenAI's client takes for runs that cost their server nothing."""
    from openai import AsyncOpenAI

    async def one() -> float:
        begun = time.perf_counter()
        made = await client.beta.threads.runs.create_and_poll(thread_id="thread_1", assistant_id="asst_1")
        _must_be_completed(made.status)
        return time.perf_counter() - begun

    warnings.simplefilter("ignore", DeprecationWarning)  # It warns that what it calls is gone.
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        await one()  # what is made once for the process is there then
        return await asyncio.gather(*(one() for _ in range(count)))


async def all_at(port: int, how: str, assistant: str, count: int, apart_s: float) -> Sequence[float]:
    """`count` clients, each with a thread and a run of its own, which begin `apart_s` after one another."""
    clients = [Client(port) for _ in range(count)]
    ids = await threads(clients[0], count)

    together = asyncio.Barrier(count)

    async def one(number: int) -> float:
        await asyncio.sleep(number * apart_s)
        await clients[number].ask("GET", f"/threads/{ids[number]}")  # its connection is there
        if not apart_s:
            await together.wait()
        return await (polled if how == "polling" else streamed)(clients[number], ids[number], assistant)

    took = await asyncio.gather(*(one(number) for number in range(count)))
    for client in clients:
        await client.close()
    return took


def _must_be_completed(status: str) -> None:
    if status != "completed":
        raise SystemExit(f"a run ended as {status}")
