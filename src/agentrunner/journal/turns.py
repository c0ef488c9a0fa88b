"""Which of many sessions writes first. It knows when each wrote last, and nothing else of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque

MID_STEP_S = 0.02
"""A session that wrote so lately is in the middle of a step: between its two commits there is less than this, unless a
tool works, and before the next step there is a model's answer."""
FORGET_AFTER_S = 1.0
SHARE = 6
"""One session in so many begins to write at a time: with fewer the commits get small, with more all wait for all."""
WORK_S = 0.0003
"""What else a session does between two commits, roughly: while the disk takes longer than this, others can work."""


class Turns:
    """Of the sessions of one event loop, those in the middle of a step go on; others begin one when there is room.

    Without it, sessions whose answers come together stay together: all make the first half of a step, then all the
    second, and each waits for all others twice, while no model has anything to do.
    """

    def __init__(self) -> None:
        self.commit_s = 0.0
        """How long a commit takes, as far as is known."""
        self._wrote: dict[str, float] = {}
        self._writing = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(self, session_id: str) -> None:
        """Returns when this session may write; then `end` must follow."""
        midway = time.monotonic() - self._wrote.get(session_id, 0.0) < MID_STEP_S
        if midway or self._room():
            self._writing += 1
            return
        let_in = asyncio.get_running_loop().create_future()
        self._waiting.append(let_in)
        try:
            await let_in
        except asyncio.CancelledError:
            if not let_in.cancelled():
                self._leave()
            raise

    def end(self, session_id: str) -> None:
        now = time.monotonic()
        self._wrote.pop(session_id, None)  # The latest stands last.
        self._wrote[session_id] = now
        while now - self._wrote[oldest := next(iter(self._wrote))] > FORGET_AFTER_S:
            del self._wrote[oldest]
        self._leave()

    def _leave(self) -> None:
        self._writing -= 1
        while self._waiting and self._room():
            one = self._waiting.popleft()
            if not one.done():
                self._writing += 1
                one.set_result(None)

    def _room(self) -> bool:
        share = (len(self._wrote) + len(self._waiting)) // SHARE
        return self._writing < max(share, 1 + int(self.commit_s / WORK_S))
