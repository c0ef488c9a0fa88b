"""Works on runs: one task for each, in this process. The journal says what is done, the rows what there is to do.

A run belongs to whoever holds its session's lock; after a crash the next server goes on with it from its journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import traceback
from collections.abc import Sequence

from agentrunner.errors import AgentError, Fenced, SessionBusy
from agentrunner.journal import SessionLock
from agentrunner.journal.encoding import decode
from agentrunner.server.live import Live, live_run
from agentrunner.server.removing import remove_session, remove_sessions
from agentrunner.server.runs import post
from agentrunner.server.services import Services
from agentrunner.types import JSON

LOOK_S = 0.25
"""How often runs are looked at whose time is up."""
WRITE_OUT_S = 1.0
"""How old rows may be that nobody of this server asks for: what other servers show."""
LOOKS_FOR_ORPHANS = 6
"""Every so many of these looks are also for runs that another server left."""
CATCH_UP_S = 5.0
"""What runs of an earlier server get at most to be as far as it had told before requests are answered."""
FORGET_S = 10.0
"""What a run that is ended gets to end what it does."""
ELSEWHERE = "another server works on this run; ask for the run to see what becomes of it"
STOPPING = "the server is being stopped; the run goes on when it is started again"
ACTIVE_HERE = ("queued", "in_progress", "cancelling")
"""States in which somebody should be working on a run."""


class Worker:
    """The runs of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._live: dict[str, Live] = {}
        self._idle: set[str] = set()

    async def catch_up(self) -> None:
        """Take up what an earlier server left; return when the rows say what it had told."""
        begun = [self.begin(owner, run) for owner, run in await self._rows(ACTIVE_HERE)]
        waits = [asyncio.ensure_future(live.caught_up.wait()) for live in begun]
        if waits:
            _, late = await asyncio.wait(waits, timeout=CATCH_UP_S)
            for one in late:
                one.cancel()

    async def run(self) -> None:
        """Take up what nobody works on, then watch over what is active, until cancelled."""
        try:
            for owner, run in await self._rows(ACTIVE_HERE):
                self.begin(owner, run)
            looks = 0
            while True:
                await asyncio.sleep(LOOK_S)
                old = time.monotonic() - WRITE_OUT_S
                await self._write_out([live for live in self._live.values() if live.written < old])
                await self._watch()
                looks += 1
                if looks % LOOKS_FOR_ORPHANS == 0:
                    await self._take_up()
        finally:
            await self._leave()

    def begin(self, owner: str, run: JSON) -> Live:
        """Work on a run. What it does from now on is told in the `feed` of the answer."""
        before = self._live.get(run["id"])
        if before is not None and not before.ending:
            return before
        live = live_run(self._services, owner, run)
        self._live[run["id"]] = live
        live.task = asyncio.create_task(self._work(live, run["status"], before))
        return live

    @property
    def count(self) -> int:
        """Runs that go on here."""
        return len(self._live)

    def is_at(self, thread_id: str) -> bool:
        """Whether a run of this thread goes on here."""
        return any(live.thread_id == thread_id for live in self._live.values())

    def live(self, run_id: str) -> Live | None:
        return self._live.get(run_id)

    async def write_out(self, owner: str, thread_id: str) -> None:
        """Return when the rows of this thread say all that its runs have told."""
        found = [live for live in self._live.values() if live.thread_id == thread_id and live.owner == owner]
        if found:
            await self._write_out(found)

    def cancel(self, owner: str, run: JSON) -> None:
        """The row says that it is to be cancelled: see that it happens."""
        live = self._live.get(run["id"])
        if live is None or live.ending:
            self.begin(owner, run)
            return
        live.cancel()

    def hang_up(self) -> None:
        """End the streams of runs that go on: the server is about to stop."""
        for live in self._live.values():
            live.feed.end(STOPPING)

    async def forget(self, owner: str, run_ids: Sequence[str]) -> None:
        """End these runs and remove their sessions: what was said in a thread is gone with it."""
        for run_id in run_ids:
            live = self._live.get(run_id)
            if live is not None and live.task is not None:
                live.stop()
                await asyncio.wait({live.task}, timeout=FORGET_S)
        await remove_sessions(self._services, owner, run_ids)

    # --- one run -------------------------------------------------------------------------------------------------

    async def _work(self, live: Live, status: str, before: Live | None) -> None:
        run, why = live.view.run, ""
        try:
            if before is not None and before.task is not None:
                await asyncio.wait({before.task})
            with SessionLock(self._services.home, run["id"]):
                try:
                    await live.attempt(status)
                except asyncio.CancelledError:
                    with contextlib.suppress(AgentError):  # The next server finds it in the journal.
                        await live.write_out()
                    raise
                if live.gone:
                    await remove_session(self._services, live.owner, run["id"])
        except (SessionBusy, Fenced):
            why = ELSEWHERE
        except asyncio.CancelledError:
            why = STOPPING
            raise
        except Exception as error:
            # The edge of a run: its client is told, and the server goes on.
            if not isinstance(error, AgentError):
                traceback.print_exc(file=sys.stderr)
            why = str(error) if isinstance(error, AgentError) else "the server failed; its own output says why"
            if not live.view.over:
                try:
                    await live.store(live.view.fail(self._services.now, why))
                    why = ""
                except AgentError as full:  # A later look takes it up again.
                    print(f"agent: what became of {run['id']} cannot be kept: {full}", file=sys.stderr)
        finally:
            if self._live.get(run["id"]) is live:
                del self._live[run["id"]]
            live.caught_up.set()
            live.settled.set()
            live.feed.end(why)

    # --- all runs ------------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """Begin runs that nobody worked on at the last look either: one that was made a moment ago is its handler's.
        End those that were removed with their thread."""
        lives = [live for live in self._live.values() if live.active]
        rows = await self._rows(ACTIVE_HERE)
        active = {run["id"] for _, run in rows}
        for live in lives:
            if live.active and live.view.run["id"] not in active:
                live.remove()
        idle = [(owner, run) for owner, run in rows if run["id"] not in self._live]
        for owner, run in idle:
            if run["id"] in self._idle:
                self.begin(owner, run)
        self._idle = {run["id"] for _, run in idle}

    async def _write_out(self, lives: Sequence[Live]) -> None:
        """What cannot be written now, a run's own end tries again, and fails with it."""
        failures = await asyncio.gather(*(live.write_out() for live in lives), return_exceptions=True)
        for failure in failures:
            if failure is not None and not isinstance(failure, AgentError):
                raise failure

    async def _watch(self) -> None:
        """End what has no time left, and what was cancelled elsewhere."""
        now = self._services.now
        for live in list(self._live.values()):
            if live.view.run["expires_at"] is not None and live.view.run["expires_at"] <= now and not live.view.expired:
                live.view.expired = True
                live.stop()
        for owner, run in await self._rows(("requires_action", "cancelling")):
            found = self._live.get(run["id"])
            if run["status"] == "cancelling":
                if found is not None and found.view.run["status"] in (
                    "queued",
                    "in_progress",
                ):  # through another server
                    found.cancel()
            elif run["expires_at"] is not None and run["expires_at"] <= now and found is None:
                await self._expire_waiting(owner, run)

    async def _expire_waiting(self, owner: str, run: JSON) -> None:
        """Nobody works on it. Whoever would go on with its session finds that it was cancelled."""
        live = live_run(self._services, owner, run)
        with contextlib.suppress(SessionBusy), SessionLock(self._services.home, run["id"]):
            for event in self._services.journal.load(run["id"]):
                live.view.see(event)
            await self._services.store.write(owner, lambda t: post(t, run["id"], "cancel", {}))
            await live.store(live.view.expire(self._services.now))

    async def _rows(self, statuses: tuple[str, ...]) -> list[tuple[str, JSON]]:
        marks = ", ".join("?" * len(statuses))
        query = f"SELECT owner, data FROM server_objects WHERE kind = 'run' AND deleted = 0 AND status IN ({marks}) ORDER BY seq"  # noqa: S608, E501
        rows = await self._services.store.read_all(lambda execute: execute(query, statuses).fetchall())
        return [(str(owner), decode(data)) for owner, data in rows]

    async def _leave(self) -> None:
        """Stop without ending any run: the next server goes on with them."""
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
