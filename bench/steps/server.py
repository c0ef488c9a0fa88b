"""A scripted OpenAI-compatible endpoint on loopback, in a process of its own, which takes the time of every request.

The path says what to do, so that any client can be pointed at it: `/NAME/STEPS/DELAY_MS/v1/chat/completions` answers
STEPS times with a tool call and then with text, each DELAY_MS after the request. `GET /NAME/log` gives what was seen:
when each request was whole, when its answer was on its way, and its size. The clock is the machine's, so the times can
be compared with those of any other process.
"""

import asyncio
import json
import sys
import time
from collections import defaultdict
from contextlib import suppress

Seen = tuple[float, float, int]
"""Time at which the request was whole, time at which its answer was sent, bytes of its body."""

log: defaultdict[str, list[Seen]] = defaultdict(list)


def answer(number: int, steps: int, body_bytes: int) -> bytes:
    """Each call differs from the last and so does its result: no agent has a reason to think that it is in a loop."""
    message: dict[str, object] = {"role": "assistant", "content": "All files are read."}
    if number <= steps:
        arguments = json.dumps({"path": f"lines/{number:04d}.txt"})
        call = {"id": f"call_{number:06d}", "type": "function"}
        call |= {"function": {"name": "read_file", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    finish = "tool_calls" if number <= steps else "stop"
    tokens = body_bytes // 4
    usage = {"prompt_tokens": tokens, "completion_tokens": 20, "total_tokens": tokens + 20}
    whole = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": "m"}
    whole |= {"choices": [{"index": 0, "finish_reason": finish, "message": message}], "usage": usage}
    return json.dumps(whole).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as clients of model endpoints use it: bodies with a length, connections kept open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = bytearray()
        self._head = 0
        self._needed = 0
        self._path = ""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while True:
            if not self._head:
                end = self._data.find(b"\r\n\r\n")
                if end < 0:
                    return
                first, *lines = self._data[:end].decode("latin-1").split("\r\n")
                self._path = first.split(" ")[1]
                headers = {name.strip().lower(): value for name, _, value in (line.partition(":") for line in lines)}
                self._head, self._needed = end + 4, int(headers.get("content-length", 0))
            if len(self._data) < self._head + self._needed:
                return
            now = time.perf_counter()
            del self._data[: self._head + self._needed]
            self._answer(now, self._needed)
            self._head = 0

    def _answer(self, now: float, body_bytes: int) -> None:
        name, *rest = self._path.strip("/").split("/")
        if rest == ["log"]:
            self._send(json.dumps(log.pop(name, [])).encode())
            return
        steps, delay_ms = int(rest[0]), float(rest[1])
        seen = log[name]
        number = len(seen) + 1
        seen.append((now, now, body_bytes))
        body = answer(number, steps, body_bytes)
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._send, body, name, number)
        else:
            self._send(body, name, number)

    def _send(self, body: bytes, name: str = "", number: int = 0) -> None:
        if self._transport.is_closing():
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)
        if number and name in log:
            came, _, size = log[name][number - 1]
            log[name][number - 1] = (came, time.perf_counter(), size)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Whoever started this holds the other end of standard input: it ends with them, however they end.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
