"""An endpoint that tries to be paid more than the limit: its own tokenizer, its own tariff, its own bill.

It runs in the event loop of the test. It keeps to what is documented of endpoints, and to nothing else: an answer ends
at its cap, text has at most a token for each byte and 16 for each message, and a 4xx is not charged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from agentrunner.llm.prices import Price
from tests.support import speech
from tests.support.endpoint import Answer

JSON = dict[str, Any]
Fate = Literal["answer", "no_usage", "500", "cut", "drop", "429", "400", "408", "empty", "error_in_200"]
TEMPLATE_TOKENS = 16
"""The most that a chat template puts around a message."""


@dataclass(frozen=True)
class Tariff:
    """Whole trillionths of a dollar per token. `dearer_above`: longer prompts cost twice as much."""

    input: int
    output: int
    cached: int
    cache_write: int
    dearer_above: int | None = None

    def charge(self, given: int, cached: int, said: int) -> int:
        times = 2 if self.dearer_above is not None and given > self.dearer_above else 1
        fresh = max(self.input, self.cache_write)
        return times * ((given - cached) * fresh + cached * self.cached + said * self.output)

    def price(self) -> Price:
        """The same as a user would state it."""

        def usd(times: int, tiers: tuple[tuple[int, Price], ...] = ()) -> Price:
            rates = (self.input, self.output, self.cached, self.cache_write)
            return Price(*(times * rate / 1e6 for rate in rates), tiers=tiers)

        return usd(1, () if self.dearer_above is None else ((self.dearer_above, usd(2)),))


@dataclass(frozen=True)
class Turn:
    """What becomes of one request. `said`: part of the cap that is used; `cached`: part of the prompt."""

    fate: Fate = "answer"
    said: Fraction = Fraction(1)
    cached: Fraction = Fraction(0)
    text: str = ""
    ratio: Fraction = Fraction(1)
    """Of the tokens that are counted at most: servers that share the work may count differently."""


@dataclass
class Adversary:
    """`turns` are taken one after the other, over and over. `billed` is in trillionths of a dollar."""

    tariff: Tariff
    turns: tuple[Turn, ...]
    ratio: Fraction = Fraction(1)
    """Tokens per byte. Only after a report with this ratio the same conversation is ever reported with a lower one."""
    limit: Fraction = Fraction(0)
    """In dollars, as it stands at the moment."""
    token_limit: int | None = None
    billed: int = 0
    tokens: int = 0
    requests: int = 0
    reported: bool = False
    excess: list[str] = field(default_factory=list[str])
    on_request: Callable[[int], None] | None = None

    def take(self, body: bytes) -> tuple[JSON, Turn, JSON]:
        """Bill a request, before anything is said to it."""
        data: JSON = json.loads(body)
        turn = self.turns[self.requests % len(self.turns)]
        counted = len(body) + TEMPLATE_TOKENS * len(data["messages"])
        ratio = turn.ratio if self.reported and "tools" in data else 1
        given = max(1, int(counted * self.ratio * ratio))
        cap = data["max_tokens"]
        said, cached = int(cap * turn.said), int(given * turn.cached)
        self.requests += 1
        self.reported = self.reported or (turn.fate == "answer" and "tools" in data)
        if turn.fate not in ("429", "400"):
            self.billed += self.tariff.charge(given, cached, said)
            self.tokens += given + said
            if self.token_limit is not None and self.tokens > self.token_limit:
                self.excess.append(f"request {self.requests}: {self.tokens} of {self.token_limit} tokens")
            if Fraction(self.billed, 10**12) > self.limit:
                self.excess.append(f"request {self.requests}: {self.billed / 1e12:.12f} of {float(self.limit):.12f}")
        if self.on_request is not None:
            self.on_request(self.requests)
        return data, turn, speech.usage(given, said, cached)

    def answer(self, body: bytes) -> bytes | None:
        """The whole HTTP answer; None to close the connection without one."""
        data, turn, usage = self.take(body)
        if turn.fate == "drop":
            return None
        if turn.fate in ("500", "429", "400", "408"):
            said = json.dumps({"error": {"message": f"scripted {turn.fate}", "type": "scripted"}}).encode()
            return _http(int(turn.fate), "application/json", said)
        if turn.fate == "error_in_200":
            return _http(200, "application/json", b'{"error":{"message":"upstream broke"}}')
        if turn.fate == "empty":
            return _http(200, "text/html", b"<html>a gateway's page</html>")
        calls = (("look", {"at": self.requests}),) if data.get("tools") else ()
        answer = Answer(text=turn.text or (None if calls else "words"), calls=calls)
        reported = None if turn.fate == "no_usage" else usage
        if data.get("stream"):
            parts = speech.completion_stream(data, answer, reported, "unique")
            whole = _http(200, "text/event-stream", b"".join(parts))
        else:
            whole = _http(
                200, "application/json", json.dumps(speech.completion(data, answer, reported, "unique")).encode()
            )
        return whole[: len(whole) * 2 // 3] if turn.fate == "cut" else whole


class Door:
    """The address at which the adversary of the moment is reached."""

    def __init__(self) -> None:
        self.adversary: Adversary | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
                body = await reader.readexactly(int(length))
                assert self.adversary is not None
                said = self.adversary.answer(body)
                complete = said is not None and _is_whole(said)
                writer.write(said or b"")
                await writer.drain()
                if not complete:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # The client went away, which is part of the game; or the loop ends.
            return
        finally:
            writer.close()


def _http(status: int, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nretry-after-ms: 1\r\n\r\n"
    return head.encode() + body


def _is_whole(said: bytes) -> bool:
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split(b"Content-Length: ", 1)[1].split(b"\r\n", 1)[0]) == len(body)
