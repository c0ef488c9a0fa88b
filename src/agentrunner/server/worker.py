"""Works on runs: one task for each, in this process. The journal says what is done, the rows what there is to do.

A run belongs to whoever holds its session's lock; after a crash the next server goes on with it from its journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentrunner.engine import Control
from agentrunner.errors import AgentError, Fenced, SessionBusy
from agentrunner.journal import SessionLock
from agentrunner.journal.encoding import decode
from agentrunner.server.attempt import begin_session, go_on
from agentrunner.server.feed import Feed
from agentrunner.server.runs import keep, post
from agentrunner.server.services import Services
from agentrunner.server.steps import Emitted, RunView
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.threads import active_run
from agentrunner.types import JSON, Event

LOOK_S = 0.25
"""How often runs are looked at whose time is up."""
LOOKS_FOR_ORPHANS = 20
"""Every so many of these looks are also for runs that another server left."""
FORGET_S = 10.0
"""What a run that is ended gets to end what it does."""
ACTIVE_HERE = ("queued", "in_progress", "cancelling")
"""States in which somebody should be working on a run."""
TURN_S = 0.05
"""How often a run that waits for another of its thread looks whether that has ended."""


@dataclass
class Live:
    """A run that this process works on."""

    owner: str
    view: RunView
    feed: Feed = field(default_factory=Feed)
    control: Control = field(default_factory=Control)
    news: asyncio.Queue[Event | str | None] = field(default_factory=asyncio.Queue[Event | str | None])
    engine: asyncio.Task[Event] | None = None
    task: asyncio.Task[None] | None = None
    told: Emitted = field(default_factory=Emitted)
    """What happened outside of the session and waits to be told."""

    @property
    def ending(self) -> bool:
        """Whether it waits for its client: its attempt is over, but for letting go of the session."""
        return self.view.run["status"] == "requires_action"

    def stop(self) -> None:
        """End what the session does now; what it has done is in the journal."""
        self.control.stop("cancelled")
        if self.engine is not None:
            self.engine.cancel()


class Worker:
    """The runs of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._live: dict[str, Live] = {}
        self._idle: set[str] = set()

    async def run(self) -> None:
        """Take up what an earlier server left, then watch over what is active, until cancelled."""
        try:
            for owner, run in await self._rows(ACTIVE_HERE):
                self.begin(owner, run)
            looks = 0
            while True:
                await asyncio.sleep(LOOK_S)
                await self._expire()
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
        # Its view is made again from the journal, from the beginning.
        fresh = run | {"status": "queued", "required_action": None, "usage": None}
        live = Live(owner, RunView(fresh))
        self._live[run["id"]] = live
        live.task = asyncio.create_task(self._work(live, run["status"], before))
        return live

    def live(self, run_id: str) -> Live | None:
        return self._live.get(run_id)

    def cancel(self, owner: str, run: JSON) -> None:
        """The row says that it is to be cancelled: see that it happens."""
        live = self._live.get(run["id"])
        if live is None or live.ending:
            self.begin(owner, run)
            return
        live.told += live.view.cancelling()
        live.stop()
        live.news.put_nowait("")

    async def forget(self, run_ids: Sequence[str]) -> None:
        """End these runs and remove their sessions: what was said in a thread is gone with it. A session that another
        server works on is left to it; it finds out by itself that its run is gone."""
        for run_id in run_ids:
            live = self._live.get(run_id)
            if live is not None and live.task is not None:
                live.stop()
                await asyncio.wait({live.task}, timeout=FORGET_S)
            with contextlib.suppress(SessionBusy), SessionLock(self._services.home, run_id):
                await asyncio.to_thread(self._services.journal.remove, run_id)

    # --- one run -------------------------------------------------------------------------------------------------

    async def _work(self, live: Live, status: str, before: Live | None) -> None:
        run = live.view.run
        try:
            if before is not None and before.task is not None:
                await asyncio.wait({before.task})
            with SessionLock(self._services.home, run["id"]):
                await self._attempt(live, status)
        except (SessionBusy, Fenced):
            return  # Another server works on it.
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # The edge of a run: its client is told, and the server goes on.
            if not isinstance(error, AgentError):
                traceback.print_exc(file=sys.stderr)
            text = str(error) if isinstance(error, AgentError) else "the server failed; its own output says why"
            if not live.view.over:
                await self._store(live, live.view.fail(self._services.now, text))
        finally:
            if self._live.get(run["id"]) is live:
                del self._live[run["id"]]
            live.feed.end()

    async def _attempt(self, live: Live, status: str) -> None:
        services, view = self._services, live.view
        past = services.journal.load(view.run["id"])
        for event in past:
            view.see(event)
        if view.over:  # It ended, and the server was killed before the row said so.
            await self._store(live, [])
            return
        if not past:
            await self._turn(live)
        if status == "cancelling":
            live.told += view.cancelling()
            live.control.stop("cancelled")
        if outputs := submitted(services, view.run["id"]):
            live.told += view.submitted(outputs)
        if not past and live.control.reason:
            await self._store(live, [*live.told, *view.cancel(services.now)])
            return
        session, opening = await begin_session(services, live.owner, view.run, past)
        pump = asyncio.create_task(self._pump(live))
        try:
            live.news.put_nowait("")
            live.engine = asyncio.create_task(
                go_on(services, live.owner, view.run, session, past, opening, live.news.put_nowait, live.control)
            )
            if live.control.reason and status != "cancelling":
                live.engine.cancel()
            await asyncio.wait({live.engine, pump}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and not live.engine.done():
                live.stop()
                await asyncio.wait({live.engine})
        except asyncio.CancelledError:
            if live.engine is not None:
                live.engine.cancel()
                await asyncio.wait({live.engine})
            raise
        finally:
            live.news.put_nowait(None)
            await asyncio.wait({pump})
        if pump.exception() is None:
            live.engine.result()
        else:
            pump.result()

    async def _turn(self, live: Live) -> None:
        """Wait until no earlier run of the thread is active."""
        run = live.view.run

        def first(t: Tenant) -> str | None:
            return active_run(t, run["thread_id"])

        while await self._services.store.read(live.owner, first) not in (run["id"], None):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(live.control.event.wait(), TURN_S)
                return

    async def _pump(self, live: Live) -> None:
        """Store and tell what the session says, in its order; several things that came together, at once."""
        over = False
        while not over:
            items = [await live.news.get()]
            while not live.news.empty():
                items.append(live.news.get_nowait())
            emitted, live.told = live.told, []
            worth_storing = bool(emitted)
            for item in items:
                if item is None:
                    over = True
                elif isinstance(item, str):
                    emitted += live.view.say(item) if item else []
                else:
                    await self._services.tools.save_named(live.owner, live.view, item)
                    emitted += live.view.see(item)
                    worth_storing = True
            if worth_storing:
                await self._store(live, emitted)
            else:
                live.feed.tell(emitted)

    async def _store(self, live: Live, emitted: Emitted) -> None:
        """Rows first: whoever hears of something can ask for it."""
        view = live.view
        objects = {
            id_: (kind, dict(view.steps[id_] if kind == "step" else view.messages[id_]))
            for id_, kind in view.changed.items()
            if kind != "run"
        }
        view.changed.clear()
        run = dict(view.run)
        if not await self._services.store.write(live.owner, lambda t: keep(t, run, objects)):
            live.stop()
        live.feed.tell(emitted)

    # --- all runs ------------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """Begin runs that nobody worked on at the last look either: one that was made a moment ago is its handler's."""
        idle = [(owner, run) for owner, run in await self._rows(ACTIVE_HERE) if run["id"] not in self._live]
        for owner, run in idle:
            if run["id"] in self._idle:
                self.begin(owner, run)
        self._idle = {run["id"] for _, run in idle}

    async def _expire(self) -> None:
        now = self._services.now
        for live in list(self._live.values()):
            if live.view.run["expires_at"] is not None and live.view.run["expires_at"] <= now and not live.view.expired:
                live.view.expired = True
                live.stop()
        for owner, run in await self._rows(("requires_action",)):
            if run["expires_at"] is not None and run["expires_at"] <= now and run["id"] not in self._live:
                await self._expire_waiting(owner, run)

    async def _expire_waiting(self, owner: str, run: JSON) -> None:
        """Nobody works on it. Whoever would go on with its session finds that it was cancelled."""
        live = Live(owner, RunView(run | {"status": "queued", "required_action": None, "usage": None}))
        with contextlib.suppress(SessionBusy), SessionLock(self._services.home, run["id"]):
            for event in self._services.journal.load(run["id"]):
                live.view.see(event)
            await self._services.store.write(owner, lambda t: post(t, run["id"], "cancel", {}))
            await self._store(live, live.view.expire(self._services.now))

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


def submitted(services: Services, run_id: str) -> dict[str, str]:
    """Outputs in the inbox that the session has not taken yet."""
    waiting = services.journal.drain(run_id)
    outputs = [one for _, kind, data in waiting if kind == "tool_outputs" for one in data["outputs"]]
    return {str(one["call_id"]): str(one["output"]) for one in outputs}
