"""What happens in a run, told to everybody who follows it, and the form in which it travels: server-sent events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence

from agentrunner.journal.encoding import encode
from agentrunner.types import JSON

KEEP_ALIVE_S = 15.0
"""A comment after so much silence: proxies end connections on which nothing comes, often after 60 s or less."""

LINE_ENDS = re.compile("[\x85\u2028\u2029]")
"""Not of server-sent events, but many clients end lines there all the same, and would find half an object."""

Item = tuple[str, JSON]


Queue = asyncio.Queue[bytes | None]


class Feed:
    """One attempt at a run. Whoever follows it late hears what comes from then on."""

    def __init__(self) -> None:
        self._followers: set[Queue] = set()
        self._over = False

    def follow(self, first: Sequence[Item] = ()) -> Queue:
        """What comes from now on, after those of `first`, in the form in which it travels; None is the end."""
        queue = Queue()
        if first:
            queue.put_nowait(packed(first))
        if self._over:
            queue.put_nowait(None)
        else:
            self._followers.add(queue)
        return queue

    def leave(self, queue: Queue) -> None:
        self._followers.discard(queue)

    def tell(self, items: Sequence[Item]) -> None:
        """What happened together travels together, and is packed once for all."""
        if not items or not self._followers:
            return
        piece = packed(items)
        for queue in self._followers:
            queue.put_nowait(piece)

    def end(self, why: str = "") -> None:
        """Nothing more is told; `why` says what is the matter when that is not the end of the attempt."""
        if why:
            self.tell([("error", broken(why))])
        self._over = True
        for queue in self._followers:
            queue.put_nowait(None)
        self._followers.clear()


async def server_sent(feed: Feed, queue: Queue) -> AsyncGenerator[bytes]:
    """The events as bytes. A client that goes away changes nothing for the run."""
    try:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    pieces = [await queue.get()]
            except TimeoutError:
                yield b": keep-alive\n\n"
                continue
            while not queue.empty():
                pieces.append(queue.get_nowait())
            if pieces[-1] is None:
                pieces[-1] = sse("done", "[DONE]")
                yield b"".join(filter(None, pieces))
                return
            yield b"".join(filter(None, pieces))
    finally:
        feed.leave(queue)


def packed(items: Sequence[Item]) -> bytes:
    return b"".join(sse(name, encode(data)[0]) for name, data in items)


def broken(why: str) -> JSON:
    """What a client takes for an error of its stream: only in this envelope do all of them."""
    return {"error": {"message": why, "type": "server_error", "param": None, "code": None}}


def sse(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {LINE_ENDS.sub(_escaped, data)}\n\n".encode()


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
