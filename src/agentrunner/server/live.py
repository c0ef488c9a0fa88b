"""One run while this process works on it: its session goes on, and what it says is stored, then told.

The caller holds the session's lock. Rows first: whoever hears of something can ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from agentrunner.engine import Control
from agentrunner.server.attempt import begin_session, go_on
from agentrunner.server.feed import Feed
from agentrunner.server.runs import keep
from agentrunner.server.services import Services
from agentrunner.server.steps import Emitted, RunView
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.threads import active_run
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
    _news: asyncio.Queue[Event | str | None] = field(default_factory=asyncio.Queue[Event | str | None])
    """Events, and pieces of text; the empty text is a reminder, None the end."""
    _engine: asyncio.Task[Event] | None = None
    _told: Emitted = field(default_factory=Emitted)
    """What happened outside of the session and waits to be told."""

    @property
    def ending(self) -> bool:
        """Whether it waits for its client: its attempt is over, but for letting go of the session."""
        return self.view.run["status"] == "requires_action"

    def cancel(self) -> None:
        """The row says that it is to be cancelled."""
        self._told += self.view.cancelling()
        self._news.put_nowait("")
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
            await self.store([])
            return
        if not past:
            await self._turn()
        if status == "cancelling":
            self._told += view.cancelling()
            self.control.stop("cancelled")
        if outputs := submitted(self.services, run["id"]):
            self._told += view.submitted(outputs)
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
        record = self.view.record
        objects = {
            id_: (kind, dict(record.steps[id_] if kind == "step" else record.messages[id_]))
            for id_, kind in record.changed.items()
            if kind != "run"
        }
        record.changed.clear()
        run = dict(record.run)
        if not await self.services.store.write(self.owner, lambda t: keep(t, run, objects)):
            self.stop()
        self.feed.tell(emitted)

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
            worth_storing = bool(emitted)
            for item in items:
                if item is None:
                    over = True
                elif isinstance(item, str):
                    emitted += self.view.say(item) if item else []
                else:
                    await self.services.tools.save_named(self.owner, self.view, item)
                    seen = self.view.see(item)
                    emitted += seen
                    worth_storing = worth_storing or bool(seen)
            if worth_storing:
                await self.store(emitted)
            else:
                self.feed.tell(emitted)


def live_run(services: Services, owner: str, run: JSON) -> Live:
    return Live(services, owner, RunView(run | {"status": "queued", "required_action": None, "usage": None}))


def submitted(services: Services, run_id: str) -> dict[str, str]:
    """Outputs in the inbox that the session has not taken yet."""
    waiting = services.sessions.drain(run_id)
    outputs: list[JSON] = [one for _, kind, data in waiting if kind == "tool_outputs" for one in data["outputs"]]
    return {str(one["call_id"]): str(one["output"]) for one in outputs}
