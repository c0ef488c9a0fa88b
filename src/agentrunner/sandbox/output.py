"""Keeps the beginning and the end of what a program prints, read from a pipe without ever waiting for it."""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple

_READ_BYTES = 64 << 10  # the size of a pipe
_HEAD_SHARE = 0.6


class Kept(NamedTuple):
    text: str
    cut_bytes: int


class Stream:
    """One pipe. Bytes are counted in full and kept up to a limit; whatever is not UTF-8 is replaced."""

    def __init__(self, fd: int, keep_bytes: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.total_bytes = 0
        self._head_bytes = int(keep_bytes * _HEAD_SHARE)
        self._tail_bytes = keep_bytes - self._head_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.add_reader(self.fd, self._on_data)

    def drain(self) -> None:
        """Takes what is in the pipe now. Never waits for its end: a process left behind may hold the other side, or go
        on writing, so no more than a few pipes full are taken."""
        for _ in range(16):
            if not self._read():
                return

    def take(self) -> Kept:
        """What came since the last `take`, with a line in the middle where something was left out."""
        cut = self.total_bytes - len(self._head) - min(len(self._tail), self._tail_bytes)
        tail = bytes(self._tail[-self._tail_bytes :]) if self._tail_bytes else b""
        middle = f"\n[... {cut} bytes left out ...]\n".encode() if cut else b""
        text = (bytes(self._head) + middle + tail).decode(errors="replace")
        self._head.clear()
        self._tail.clear()
        self.total_bytes = 0
        return Kept(text, cut)

    def close(self) -> None:
        if self.fd >= 0:
            self._unwatch()
            os.close(self.fd)
            self.fd = -1

    def _on_data(self) -> None:
        if self._read() == b"":
            self._unwatch()  # the end; a pipe at its end would be reported as readable for ever

    def _unwatch(self) -> None:
        if self._loop and not self._loop.is_closed():
            self._loop.remove_reader(self.fd)
        self._loop = None

    def _read(self) -> bytes | None:
        """None when there is nothing now, empty at the end."""
        if self.fd < 0:
            return b""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return None
        self._keep(data)
        return data

    def _keep(self, data: bytes) -> None:
        self.total_bytes += len(data)
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._tail_bytes + _READ_BYTES:
            del self._tail[: -self._tail_bytes or None]
