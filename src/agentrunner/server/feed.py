"""What happens in a run, told to everybody who follows it, and the form in which it travels: server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from agentrunner.journal.encoding import encode
from agentrunner.types import JSON

KEEP_ALIVE_S = 15.0
"""A comment after so much silence: proxies end connections on which nothing comes, often after 60 s or less."""

LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""Not of server-sent events, but many clients end lines there all the same, and would find half an object."""

Item = tuple[str, JSON]


class Feed:
    """One attempt at a run. Whoever follows it late hears what comes from then on."""

    def __init__(self) -> None:
        self._followers: set[asyncio.Queue[Item | None]] = set()
        self._over = False

    def follow(self) -> asyncio.Queue[Item | None]:
        """What comes from now on; None is the end."""
        queue: asyncio.Queue[Item | None] = asyncio.Queue()
        if self._over:
            queue.put_nowait(None)
        else:
            self._followers.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[Item | None]) -> None:
        self._followers.discard(queue)

    def tell(self, items: Sequence[Item]) -> None:
        for queue in self._followers:
            for item in items:
                queue.put_nowait(item)

    def end(self) -> None:
        self._over = True
        for queue in self._followers:
            queue.put_nowait(None)
        self._followers.clear()


async def server_sent(
    feed: Feed, queue: asyncio.Queue[Item | None], first: Sequence[Item] = ()
) -> AsyncGenerator[bytes]:
    """The events as bytes, those of `first` before the others. A client that goes away changes nothing for the run."""
    try:
        for name, data in first:
            yield sse(name, encode(data)[0])
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
            except TimeoutError:
                yield b": keep-alive\n\n"
                continue
            if item is None:
                yield sse("done", "[DONE]")
                return
            yield sse(item[0], encode(item[1])[0])
    finally:
        feed.leave(queue)


def sse(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data.translate(LINE_ENDS)}\n\n".encode()
