"""One run while this process works on it: its session goes on, and what it says is told and stored.

The caller holds the session's lock. What is told stands in the journal. The rows say it when they are asked for
(`write_out`), a moment later by themselves, and before anybody hears that the run ended or waits for its client.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from agentrunner.engine import Control
from agentrunner.server.attempt import begin_session, go_on
from agentrunner.server.feed import Feed
from agentrunner.server.keys import DEFAULT_OWNER
from agentrunner.server.runs import keep
from agentrunner.server.services import Services
from agentrunner.server.spending import Spent, settle
from agentrunner.server.steps import Emitted, RunView
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.threads import active_run
from agentrunner.server.wire.parts import copied
from agentrunner.types import JSON, Event

TURN_S = 0.05
"""How often a run that waits for another of its thread looks whether that has ended."""


@dataclass
class Live:
    """A run that this process works on. Its view is made from the journal, from the beginning."""

    services: Services
    owner: str
    view: RunView
    feed: Feed = field(default_factory=Feed)
    control: Control = field(default_factory=Control)
    task: asyncio.Task[None] | None = None
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    """The view says at least what the rows say, and the rows say what an earlier server told."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """The attempt is over, and the rows say how it ended: there is nothing to wait for."""
    written: float = field(default_factory=time.monotonic)
    """When the rows were brought up to date last."""
    gone: bool = False
    """Whether its row was found removed."""
    _news: asyncio.Queue[Event | str | None] = field(default_factory=asyncio.Queue[Event | str | None])
    """Events, and pieces of text; the empty text is a reminder, None the end."""
    _engine: asyncio.Task[Event] | None = None
    _told: Emitted = field(default_factory=Emitted)
    """What happened outside of the session and waits to be told."""
    _writing: asyncio.Future[JSON | None] | None = None
    """The last that was written of the rows, or is being written."""

    @property
    def thread_id(self) -> str:
        return str(self.view.run["thread_id"])

    @property
    def ending(self) -> bool:
        """Whether it waits for its client: its attempt is over, but for letting go of the session."""
        return self.view.run["status"] == "requires_action"

    @property
    def active(self) -> bool:
        """Whether its row says that somebody works on it, if there is one."""
        return not (self.ending or self.view.over)

    @property
    def shown(self) -> JSON | None:
        """The run as it is, while its attempt goes on: nobody has to look at its row then."""
        return self.view.run if self.active and self.caught_up.is_set() else None

    def cancel(self) -> None:
        """The row says that it is to be cancelled."""
        self._told += self.view.cancelling()
        self._news.put_nowait("")
        self.stop()

    def remove(self) -> None:
        """There is no such run any more: end it, and its session goes with it."""
        self.gone = True
        self.stop()

    def stop(self) -> None:
        """End what the session does now; what it has done is in the journal."""
        self.control.stop("cancelled")
        if self._engine is not None:
            self._engine.cancel()

    async def attempt(self, status: str) -> None:
        """Until the run ends or waits for its client. `status` is what its row says."""
        view, run = self.view, self.view.run
        past = self.services.sessions.load(run["id"])
        for event in past:
            view.see(event)
        if view.over:  # It ended, and the server was killed before the row said so.
            await self.write_out()
            return
        if past:
            self.services.sessions.expect(run["id"])
        else:
            self.caught_up.set()
            await self._turn()
        if status == "cancelling":
            self._told += view.cancelling()
            self.control.stop("cancelled")
        if outputs := submitted(self.services, run["id"]):
            self._told += view.submitted(outputs)
        if past and not self.ending:
            await self.write_out()  # The server may have been killed before the rows said all that it had told.
            self.caught_up.set()
        if not past and self.control.reason:
            await self.store([*self._told, *view.cancel(self.services.now)])
            return
        session, opening = await begin_session(self.services, self.owner, run, past)
        self._engine = asyncio.create_task(
            go_on(self.services, self.owner, run, session, past, opening, self._news.put_nowait, self.control)
        )
        if self.control.reason and status != "cancelling":
            self._engine.cancel()
        await self._until_both_end(self._engine)
        if self._engine.cancelled():  # before its session could even begin to say so
            await self.store(view.cancel(self.services.now))
        else:
            self._engine.result()

    async def store(self, emitted: Emitted) -> None:
        await self.write_out()
        self.feed.tell(emitted)

    async def write_out(self) -> None:
        """Return when the rows say what the run has come to. When that cannot be written, it is kept for the next
        time."""
        record = self.view.record
        if not record.changed and self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing})
        if not record.changed:
            return
        self.written = time.monotonic()
        taken, record.changed = record.changed, {}
        objects = {id_: (kind, copied(record.of(kind, id_))) for id_, kind in taken.items() if kind != "run"}
        run = copied(record.run)
        spent = Spent(self.view.spent_usd, self.view.ended, self.view.over)

        def work(t: Tenant) -> JSON | None:
            if t.owner != DEFAULT_OWNER:
                settle(t.execute, t.owner, run["id"], spent)
            return keep(t, run, objects)

        writing = self.services.store.write(self.owner, work)
        self._writing = asyncio.ensure_future(writing)
        try:
            kept = await asyncio.shield(self._writing)
        except BaseException:
            record.changed = taken | record.changed
            raise
        if kept is None:
            self.remove()
        else:
            record.run["metadata"] = kept["metadata"]

    async def _until_both_end(self, engine: asyncio.Task[Event]) -> None:
        """The session, and after it what it had to say. Raises what went wrong with the latter."""
        self._news.put_nowait("")
        pump = asyncio.create_task(self._pump())
        try:
            await asyncio.wait({engine, pump}, return_when=asyncio.FIRST_COMPLETED)
            if not engine.done():  # Nothing can be stored: what goes on would not be seen.
                self.stop()
                await asyncio.wait({engine})
        except asyncio.CancelledError:
            engine.cancel()
            await asyncio.wait({engine})
            raise
        finally:
            self._news.put_nowait(None)
            await asyncio.wait({pump})
        pump.result()

    async def _turn(self) -> None:
        """Wait until no earlier run of the thread is active."""
        run = self.view.run

        def first(t: Tenant) -> str | None:
            return active_run(t, run["thread_id"])

        while await self.services.store.read(self.owner, first) not in (run["id"], None):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.control.event.wait(), TURN_S)
                return

    async def _pump(self) -> None:
        """Store and tell what the session says, in its order; several things that came together, at once."""
        over = False
        while not over:
            items = [await self._news.get()]
            while not self._news.empty():
                items.append(self._news.get_nowait())
            emitted, self._told = self._told, []
            for item in items:
                if item is None:
                    over = True
                elif isinstance(item, str):
                    emitted += self.view.say(item) if item else []
                else:
                    await self.services.tools.save_named(self.owner, self.view, item)
                    emitted += self.view.see(item)
            ended = emitted and (self.view.over or self.ending)
            if ended:
                await self.write_out()
            self.feed.tell(emitted)
            if ended:
                self.settled.set()


def live_run(services: Services, owner: str, run: JSON) -> Live:
    return Live(services, owner, RunView(run | {"status": "queued", "required_action": None, "usage": None}))


def submitted(services: Services, run_id: str) -> dict[str, str]:
    """Outputs in the inbox that the session has not taken yet."""
    waiting = services.sessions.drain(run_id)
    outputs: list[JSON] = [one for _, kind, data in waiting if kind == "tool_outputs" for one in data["outputs"]]
    return {str(one["call_id"]): str(one["output"]) for one in outputs}
