"""One journal for many sessions of a process: what they append at the same time goes into one durable commit.

It adds nothing to what is kept or promised: `append` returns when its events are on disk, and a session that was
taken over fails alone. While one commit waits for the disk, the next one gathers; the event loop never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from agentrunner.errors import JournalError
from agentrunner.journal.journal import SqlJournal
from agentrunner.journal.turns import Turns
from agentrunner.journal.writing import Batch, batch_of
from agentrunner.types import JSON, Event

MAX_BATCHES = 256
"""Appends in one commit; more than this many sessions at once hardly ever wait for the same one."""

LOOK_EVERY_S = 0.05
"""How old it may be what is known of the inboxes: far less than a step takes, and one look serves all sessions."""


class _Written(asyncio.Future[None]):
    """Whoever waits for it waits until it is known: a cancellation that comes meanwhile is raised then."""

    def cancel(self, msg: object = None) -> bool:
        return False


class _Waiting(NamedTuple):
    batch: Batch
    loop: asyncio.AbstractEventLoop
    written: _Written


class GroupedJournal:
    """Implements `agentrunner.types.Journal` on a journal that this process has opened, and that it does not close:
    close this first. With `look_every_s` 0 what is in an inbox is seen at once, for one query each time."""

    def __init__(self, journal: SqlJournal, look_every_s: float = LOOK_EVERY_S) -> None:
        self._journal = journal
        self._look_every_s = look_every_s
        self._reader = journal.another()
        self._posted: set[str] = set()
        self._looked = float("-inf")
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._commit_s = 0.0
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
        self._closing = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="journal writer", daemon=True)
        self._writer.start()

    async def append(
        self, session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], handled: Sequence[int] = ()
    ) -> list[Event]:
        """As the journal's own. It cannot be cancelled half way, so that its caller always knows what was written: a
        cancellation that comes meanwhile takes hold at the caller's next wait."""
        loop = asyncio.get_running_loop()
        turns = self._turns.setdefault(loop, Turns())
        turns.commit_s = self._commit_s
        await turns.begin(session_id)
        try:
            return await self._append(batch_of(session_id, after, events, handled), loop)
        finally:
            turns.end(session_id)

    async def _append(self, batch: Batch, loop: asyncio.AbstractEventLoop) -> list[Event]:
        written = _Written(loop=loop)
        with self._closing:
            if self._closed:
                raise JournalError(
                    f"the journal {self._journal.name!r} is closed", "end its sessions before closing it"
                )
            self._queue.put(_Waiting(batch, loop, written))
        try:
            await written
        except asyncio.CancelledError:
            if task := asyncio.current_task():
                task.uncancel()  # It was counted when it came; counted twice, it would hide that a timeout has passed.
                task.cancel()
            written.result()
        return list(batch.events)

    def load(self, session_id: str) -> list[Event]:
        return self._reader.load(session_id)

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        """As the journal's own; what came within the last `look_every_s` may be seen at the next call only."""
        if self._look_every_s:
            if time.monotonic() - self._looked > self._look_every_s:
                self._posted = self._reader.posted()
                self._looked = time.monotonic()
            if session_id not in self._posted:
                return []
        return self._reader.drain(session_id)

    def close(self) -> None:
        """Writes what waits to be written."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        self._reader.close()

    def _write(self) -> None:
        last = False
        while not last:
            waiting, last = self._gather()
            failures: Sequence[Exception | None]
            begun = time.monotonic()
            try:
                failures = self._journal.append_all([one.batch for one in waiting])
            except Exception as error:
                # The edge of a thread: whoever waits is told, whatever it was.
                failures = [error] * len(waiting)
            # The last ten or so: a disk is slower at some times than at others.
            self._commit_s += (time.monotonic() - begun - self._commit_s) / 10
            told = list(zip(waiting, failures, strict=True))
            for loop in {one.loop for one in waiting}:
                with contextlib.suppress(RuntimeError):  # that loop has ended: nobody waits any more
                    loop.call_soon_threadsafe(_tell, [(one.written, why) for one, why in told if one.loop is loop])

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """What waits to be written, once there is something, and whether it is the last."""
        waiting: list[_Waiting] = []
        one = self._queue.get()
        while one is not None:
            waiting.append(one)
            if len(waiting) == MAX_BATCHES:
                return waiting, False
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                return waiting, False
        return waiting, True


def _tell(told: Sequence[tuple[_Written, Exception | None]]) -> None:
    for written, failure in told:
        if failure is None:
            written.set_result(None)
        else:
            written.set_exception(failure)
