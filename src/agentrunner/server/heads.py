"""Bounds what may be sent before it is known who wants what: the head of a request. What comes after it is bounded by
`guarding` and `requests`.

Without this, uvicorn would keep all of a head, however long it becomes, and wait for its end for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 << 10
"""More than any client has to say; it is what uvicorn takes where httptools is not installed."""
HEAD_S = 30.0
"""From a connection, or the first byte on one that was used before, to the end of the head."""


class BoundedHeads(HttpToolsProtocol):
    _silent_bytes = 0
    """Read since something came of what was read."""
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._silent_bytes += len(data)
        super().data_received(data)
        if self._silent_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._patience is None:
            self._wait()

    def on_headers_complete(self) -> None:
        self._silent_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        super().on_body(body)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self) -> None:
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self.send_400_response("The head of the request is too long.")
        else:  # An answer is on its way, into which nothing can be put.
            self.transport.abort()
