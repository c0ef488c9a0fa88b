"""One attempt at a session of the kill tests, by the real engine, client, toolbox, lock and journal, until it ends or
kills itself at an appointed point."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrunner.engine import Control, Parts, run_session
from agentrunner.guard.ledger import Ledger
from agentrunner.journal import SessionLock, SqlJournal, open_journal
from agentrunner.journal.sqlite import SqliteDatabase
from agentrunner.llm.chat import ChatModel
from agentrunner.llm.client import Connection
from agentrunner.runner.memory import Memory
from agentrunner.strategies import STRATEGIES
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.tools.human import finish_tool
from agentrunner.tools.policy import Policy
from agentrunner.tools.toolbox import LocalToolbox
from agentrunner.tools.typed import Tool, tool
from agentrunner.tools.workspace import Workspace
from agentrunner.types import JSON, Budget, Completion, Event, Request, Session, ToolCall, ToolResult
from tests.kill.broken_disk import break_disk
from tests.kill.endpoint import goal

POINTS = ("before intent", "after intent", "during effect", "after effect", "after result", "after finish")
PROMPTS = load_prompts(None)


@dataclass(frozen=True)
class Order:
    """What an attempt is to do, as it travels to the process that does it."""

    session: str
    folder: str
    base_url: str
    url: str = ""
    """Of the journal; empty for the file in the home."""
    home: str = "home"
    """Its name in the folder; each stands for a machine."""
    kind: str = "pure"
    length: int = 3
    point: str = ""
    """Where it kills itself, at `step`; empty for never."""
    step: int = 0
    file_bytes: int = 0
    """No file may grow beyond this: writing fails as on a broken disk. 0 for no limit."""
    pages: int = 0
    """The database may not grow beyond this many pages: it is full. 0 for no limit."""
    fault: str = ""
    """How the disk breaks when the journal is written for the `fault_at`th time; empty for never."""
    fault_at: int = 0
    write: int = 0
    """The write to the journal, from 1, at which it kills itself: before it, or when it has taken hold. 0 for none."""
    takes_hold: bool = False
    parallel: int = 1

    @property
    def hold(self) -> int:
        return self.step if self.kind == "model" and self.point == "during effect" else 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Reaper:
    """Knows when the appointed point is reached."""

    def __init__(self, order: Order) -> None:
        self._order = order
        asks = order.kind == "model"
        self._intent = "request.sent" if asks else "tool.started"
        self._result = "completion.received" if asks else "tool.finished"
        self._writes = 0

    def written(self, events: Sequence[tuple[str, str, JSON]], *, already: bool) -> None:
        self._writes += not already
        if self._writes == self._order.write and already == self._order.takes_hold:
            die()
        match self._order.point:
            case "before intent" if not already and self._names(events, self._intent):
                die()
            case "after intent" if already and self._names(events, self._intent):
                die()
            case "after result" if already and self._names(events, self._result):
                die()
            case "after finish" if already and any(type_ == "session.finished" for type_, _, _ in events):
                die()
            case _:
                pass

    def at(self, point: str, kind: str, step: int) -> None:
        if (point, kind, step) == (self._order.point, self._order.kind, self._order.step):
            die()

    def _names(self, events: Sequence[tuple[str, str, JSON]], wanted: str) -> bool:
        return any(type_ == wanted and data["step"] == self._order.step for type_, _, data in events)


class MortalJournal:
    def __init__(self, journal: SqlJournal, reaper: Reaper, order: Order) -> None:
        self._journal, self._reaper, self._order = journal, reaper, order
        self._appends = 0
        self.load, self.drain = journal.load, journal.drain

    async def append(
        self, session_id: str, after: int, events: Sequence[tuple[str, str, JSON]], *, handled: Sequence[int] = ()
    ) -> list[Event]:
        self._reaper.written(events, already=False)
        self._appends += 1
        if self._appends == self._order.fault_at:
            break_disk(self._order.fault)
        written = await self._journal.append(session_id, after, events, handled)
        self._reaper.written(events, already=True)
        return written


class MortalModel(ChatModel):
    """Dies while the answer is on its way, or when it has come."""

    reaper: Reaper
    order: Order

    async def complete(self, request: Request, on_delta: Callable[[str], None] | None) -> Completion:
        step = int(request.key.rpartition(":")[2])
        if self.order.hold == step:
            asyncio.get_running_loop().create_task(self._die_when_asked(step))
        completion = await super().complete(request, on_delta)
        self.reaper.at("after effect", "model", step)
        return completion

    async def _die_when_asked(self, step: int) -> None:
        ledger = Path(self.order.folder) / "ledger" / self.order.session
        while not ledger.exists() or str(step) not in ledger.read_text().split():
            await asyncio.sleep(0.001)
        die()


class MortalToolbox(LocalToolbox):
    reaper: Reaper

    async def call(self, call: ToolCall, key: str, timeout_s: float) -> ToolResult:
        result = await super().call(call, key, timeout_s)
        self.reaper.at("after effect", call.name, int(call.arguments.get("n", 0)))
        return result


def effects_path(folder: Path, session: str) -> Path:
    return folder / "effects" / session


def effect_tools(order: Order, reaper: Reaper) -> list[Tool]:
    """One tool of each effect. Each writes down, on the disk, that it begins and that its effect is complete."""
    path = effects_path(Path(order.folder), order.session)

    def note(line: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
        os.close(descriptor)

    def make(kind: Any) -> Tool:
        def work(n: int) -> str:
            note(f"begun {n}")
            reaper.at("during effect", kind, n)
            note(f"done {n}")
            return f"{kind} work {n} is done"

        return tool(effect=kind, name=kind, description=f"Does {kind} work.")(work)

    return [make(kind) for kind in ("pure", "idempotent", "unsafe")]


async def attempt(order: Order, connection: Connection) -> str:
    """Start the session, or go on with it, as the program does; the status it ended with."""
    folder = Path(order.folder)
    if order.file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_bytes, order.file_bytes))
    with contextlib.closing(_open(order)) as journal, SessionLock(folder / order.home, order.session):
        past = journal.load(order.session)
        if past and past[-1].type == "session.finished" and past[-1].data["status"] == "completed":
            return "completed"
        reaper = Reaper(order)
        workspace = folder / "workspace"
        tools = [*effect_tools(order, reaper), finish_tool(Workspace(workspace, folder / "outputs"), None)]
        memory = Memory(past)
        toolbox = MortalToolbox(tools, policy=Policy(), outputs=folder / "outputs", inner=memory.tools())
        toolbox.reaper = reaper
        wanted = goal(order.session, order.kind, order.length, order.hold)
        session = Session(
            order.session,
            wanted,
            model="m",
            tools=toolbox.specs(),
            prompts=PROMPTS,
            template=fill_in,
            budget=Budget(60, None, None, None),
        )
        model = MortalModel("m", base_url=order.base_url, api_key=None, protocol="tools", stream=False)
        model._connection = connection  # pyright: ignore[reportPrivateUsage]
        model.reaper, model.order = reaper, order
        parts = Parts(
            model=model,
            toolbox=toolbox,
            ledger=Ledger(session.budget, None),
            wrap_up=wrap_up,
            facts=facts_of,
            summary=summary_without_model,
            clock=time.monotonic,
            control=Control(),
            listeners=[memory.hear],
            parallel=order.parallel,
        )
        created: list[tuple[str, str, JSON]] = [("session.created", "", {"goal": wanted})]
        mortal = MortalJournal(journal, reaper, order)
        strategy = STRATEGIES["babyagi" if order.kind == "tasks" else "autogpt"]
        end = await run_session(session, strategy, parts, mortal, past, [] if past else created)
        return str(end.data["status"])


def _open(order: Order) -> SqlJournal:
    home = Path(order.folder) / order.home
    if not order.pages:
        return open_journal(home, order.url or None)
    database = SqliteDatabase(home)
    database.read(lambda execute: execute(f"PRAGMA max_page_count = {order.pages}").fetchall())
    return SqlJournal(home, database)
