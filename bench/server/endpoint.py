"""A scripted OpenAI-compatible endpoint on loopback for runs of the server: it calls file search, and then answers.

`/STEPS/DELAY_MS/v1/chat/completions` answers STEPS requests of a conversation, each after the delay: all but the last
with a call of file search. It keeps nothing: how far a conversation is, is seen from the results in it. Answers go out
as events where the request asks for them, the last one in PIECES pieces.

`/STEPS/DELAY_MS/v1/threads/THREAD/runs` is a server without any work: a run is made at once, and who asks for it hears
that it is completed after STEPS times the delay.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

PIECES = 10


def message(number: int, steps: int) -> dict[str, Any]:
    if number == steps:
        return {"role": "assistant", "content": "All that was asked for has been found. " * PIECES}
    # Each call differs from the last: no guard has a reason to think that it is in a loop.
    arguments = json.dumps({"query": f"line number {number} of {steps}"})
    call = {"id": f"call_{number}", "type": "function", "function": {"name": "file_search", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def whole(number: int, steps: int, body_bytes: int) -> bytes:
    finish = "stop" if number == steps else "tool_calls"
    found = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": "m"}
    choice = {"index": 0, "finish_reason": finish, "message": message(number, steps)}
    return json.dumps({**found, "choices": [choice], "usage": _usage(body_bytes)}).encode()


def events(number: int, steps: int, body_bytes: int) -> bytes:
    said = message(number, steps)
    found = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if number == steps:
        text = str(said["content"])
        size = len(text) // PIECES
        deltas += [{"content": text[place : place + size]} for place in range(0, len(text), size)]
    else:
        (call,) = said["tool_calls"]
        deltas.append({"tool_calls": [{"index": 0, **call}]})
    chunks: list[dict[str, Any]] = [
        {**found, "choices": [{"index": 0, "finish_reason": None, "delta": delta}]} for delta in deltas
    ]
    finish = "stop" if number == steps else "tool_calls"
    chunks.append({**found, "choices": [{"index": 0, "finish_reason": finish, "delta": {}}]})
    chunks.append({**found, "choices": [], "usage": _usage(body_bytes)})
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def run(status: str) -> bytes:
    found = {"id": "run_1", "object": "thread.run", "created_at": 1, "thread_id": "thread_1", "assistant_id": "asst_1"}
    return json.dumps({**found, "status": status, "model": "m", "instructions": "", "tools": []}).encode()


def _usage(body_bytes: int) -> dict[str, int]:
    tokens = body_bytes // 4
    return {"prompt_tokens": tokens, "completion_tokens": 20, "total_tokens": tokens + 20}


class Connection(asyncio.Protocol):
    """HTTP/1.1 as far as clients of model endpoints use it: bodies with a length, connections kept open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = bytearray()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = bytes(self._data).partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value for name, _, value in (line.partition(":") for line in lines)}
        needed = int(headers.get("content-length", 0))
        if len(rest) < needed:
            return
        self._data.clear()  # No client sends its next request before it has the answer to this one.
        steps, delay_ms = (int(part) for part in first.split(" ")[1].strip("/").split("/")[:2])
        if "/threads/" in first:
            asks = first.startswith("GET ")
            body, seconds = run("completed" if asks else "queued"), steps * delay_ms / 1000 if asks else 0
            asyncio.get_running_loop().call_later(seconds, self._send, body, False)
            return
        number = 1 + sum(rest.count(role) for role in (b'"role":"tool"', b'"role": "tool"'))
        streams = any(wish in rest for wish in (b'"stream":true', b'"stream": true'))
        body = (events if streams else whole)(number, steps, len(rest))
        asyncio.get_running_loop().call_later(delay_ms / 1000, self._send, body, streams)

    def _send(self, body: bytes, streams: bool) -> None:
        if not self._transport.is_closing():
            kind = b"text/event-stream" if streams else b"application/json"
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
            self._transport.write(head + body)


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
