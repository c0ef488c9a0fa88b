"""Starting and resuming sessions: everything is checked first, then made, then handed to the engine."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.engine import Control, Parts, run_session
from agentrunner.errors import UsageError
from agentrunner.guard.ledger import Ledger, Rates
from agentrunner.journal import SessionLock, SqlJournal, new_session_id, open_journal, session_folder
from agentrunner.runner.changes import accept_tools, say_other_prompts
from agentrunner.runner.guarding import Watcher, limits_of
from agentrunner.runner.intake import check_goal, check_workspace, copy_files, read_files, read_schema
from agentrunner.runner.knowledge import check_knowledge, notes_of
from agentrunner.runner.memory import INNER, Memory
from agentrunner.runner.models import (
    budget_of,
    check_key,
    check_script,
    context_tokens,
    open_model,
    rates_of,
    scripted,
    warm_up,
)
from agentrunner.runner.opening import Opening, opening_of
from agentrunner.runner.pinning import as_it_was, created_data, session_of
from agentrunner.runner.rehearsal import check_rehearsal, first_task, something_to_search
from agentrunner.runner.sandboxes import check_sandbox_use, level_of, open_sandbox_for, other_sandbox, warn_of_none
from agentrunner.runner.tools import open_tools
from agentrunner.strategies import SERVED, STRATEGIES, WITH_TASKS
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import JSON, Event, Human, Listener, Session, ToolSpec

if TYPE_CHECKING:
    from agentrunner.config import Settings
    from agentrunner.render.record import Recorder
    from agentrunner.sandbox import Sandbox
    from agentrunner.tools import LocalToolbox


def _nothing(_: object) -> None:
    return None


async def _nobody(kind: str, question: str) -> str | None:
    return None


@dataclass
class Outlet:
    """Where a session shows itself: listeners to its events, who answers questions, and lines that are not events."""

    listeners: list[Listener] = field(default_factory=list[Listener])
    human: Human = _nobody
    on_delta: Callable[[str], None] | None = None
    on_phase: Callable[[str], None] = _nothing
    recall: Callable[[Sequence[Event]], None] = _nothing
    remark: Callable[[str], None] = _nothing
    alarm: Callable[[str], None] = _nothing
    """For what must be seen even where nothing else is shown."""


async def start(goal: str, settings: "Settings", outlet: Outlet, control: Control) -> Event:
    """Run a new session to its `session.finished`. Nothing is made before everything that can be checked was."""
    goal = check_goal(goal)
    if settings.first_task and settings.strategy not in WITH_TASKS:
        raise UsageError(
            f"the strategy {settings.strategy!r} has no tasks", "give --first-task with --strategy babyagi"
        )
    check_key(settings)
    warm_up(settings)
    rates = _rates(settings, outlet)
    schema = read_schema(settings.output_schema)
    prompts = load_prompts(settings.prompts)
    files = read_files(settings.file)
    check_rehearsal(settings, [name for name, _ in files])
    check_script(settings)
    workspace = check_workspace(settings.workspace, settings.home)
    folders = check_knowledge(settings.knowledge, workspace, settings.home) or something_to_search(settings, workspace)
    settings = settings.model_copy(update={"knowledge": folders})
    with contextlib.closing(open_journal(settings.home, settings.database_url)) as journal:
        session_id = new_session_id()
        with SessionLock(settings.home, session_id):
            sandbox, notes = open_sandbox_for(settings, workspace)
            warn_of_none(sandbox, outlet.alarm)
            check_sandbox_use(settings, sandbox, notes)
            session = Session(
                id=session_id,
                goal=goal,
                strategy=settings.strategy,
                model="scripted" if scripted(settings) else settings.model,
                date=datetime.now(UTC).date().isoformat(),
                budget=budget_of(settings, rates),
                prompts=prompts,
                files=copy_files(files, workspace),
                first_task=first_task(settings),
                notes=(*notes, *notes_of(folders, workspace)),
                verify=settings.verify or "",
                output_schema=schema,
                context_tokens=context_tokens(settings),
                protocol=settings.protocol,
                template=fill_in,
            )
            runner = _Runner(settings, outlet, control, journal, workspace, sandbox, rates)
            return await runner.run(session, [], new=True)


async def resume(
    session_id: str,
    settings: "Settings",
    chosen: set[str],
    outlet: Outlet,
    control: Control,
    *,
    instruction: str = "",
    answer: str | None = None,
    more: JSON | None = None,
    allow_changed: bool = False,
) -> Event:
    """Go on with a saved session. `chosen`: names of settings that were given for this attempt; the others are as
    they were. A completed session without anything new returns its recorded end, and nothing is sent. With
    `allow_changed` the session may go on with other tools, and with answers to requests that had other labels."""
    with contextlib.closing(open_journal(settings.home, settings.database_url)) as journal:
        session_id = journal.find(session_id)
        past = journal.load(session_id)
        if past[-1].type == "session.finished" and past[-1].data["status"] == "completed" and not instruction:
            if answer is not None:
                raise UsageError(f"session {session_id} has no open question", "add an instruction to go on with it")
            return past[-1]
        with SessionLock(settings.home, session_id):
            past = journal.load(session_id)
            created = past[0].data
            if created["strategy"] in SERVED:
                raise UsageError(f"session {session_id} is a run of the server", "agent serve goes on with it")
            if created["strategy"] not in STRATEGIES:
                raise UsageError(
                    f"the session's strategy {created['strategy']!r} is not part of this version",
                    "resume it with the version that made it",
                )
            settings = as_it_was(settings, chosen, created["_settings"])
            check_key(settings)
            warm_up(settings)
            rates = _rates(settings, outlet)
            workspace = check_workspace(Path(created["workspace"]), settings.home)
            folders = check_knowledge(settings.knowledge, workspace, settings.home)
            settings = settings.model_copy(update={"knowledge": folders})
            sandbox, notes = open_sandbox_for(settings, workspace)
            session = session_of(past)
            outlet.recall(past)
            warn_of_none(sandbox, outlet.alarm)
            opening = [
                *other_sandbox(past, sandbox, notes, outlet.remark),
                *opening_of(past, instruction, answer, more),
            ]
            say_other_prompts(session.prompts, settings.prompts, outlet.remark)
            runner = _Runner(settings, outlet, control, journal, workspace, sandbox, rates, allow_changed)
            return await runner.run(session, past, new=False, opening=opening)


@dataclass
class _Runner:
    """The plugs of one attempt, put together."""

    settings: "Settings"
    outlet: Outlet
    control: Control
    journal: SqlJournal
    workspace: Path
    sandbox: "Sandbox | None"
    rates: Rates | None
    allow_changed: bool = False

    async def run(self, session: Session, past: Sequence[Event], *, new: bool, opening: Opening = ()) -> Event:
        settings, outlet = self.settings, self.outlet
        memory = Memory(past) if session.strategy in WITH_TASKS else None
        toolbox = self._open_tools(session, memory)
        begin = self._begun if new else self._going_on
        session, first = begin(session, toolbox.specs())
        attempt = 1 + sum(event.type == "session.claimed" for event in past)
        watcher = Watcher(settings.home, session.id, self.workspace, attempt)

        def on_phase(phase: str) -> None:
            outlet.on_phase(phase)
            if phase == "asking the model":
                toolbox.warm_up()
                watcher.begin()

        model = open_model(settings, session, past, stream=outlet.on_delta is not None)
        recorder = _recorder(settings)
        parts = Parts(
            model=model,
            toolbox=toolbox,
            ledger=Ledger(session.budget, self.rates),
            wrap_up=wrap_up,
            facts=facts_of,
            summary=summary_without_model,
            clock=time.monotonic,
            listeners=[
                *outlet.listeners,
                *_model_listeners(model),
                *([recorder] if recorder else []),
                *([memory.hear] if memory else []),
            ],
            human=outlet.human,
            on_delta=outlet.on_delta,
            on_phase=on_phase,
            control=self.control,
            ask_in_doubt=settings.in_doubt == "ask" and not settings.yes,
            allow_changed=self.allow_changed,
            parallel=settings.parallel,
            max_output_tokens=settings.max_output_tokens,
            retries=settings.retries,
            guard=limits_of(settings),
            before_change=watcher.begun,
            look_at_workspace=watcher.look,
        )
        try:
            return await run_session(
                session, STRATEGIES[session.strategy], parts, self.journal, past, [*first, *opening]
            )
        finally:
            if recorder and recorder.problem:
                outlet.alarm(recorder.problem)
            await watcher.aclose()
            await toolbox.aclose()
            await model.aclose()
            if self.sandbox is not None:
                await self.sandbox.aclose()
                toolbox.look_over()

    def _open_tools(self, session: Session, memory: Memory | None) -> "LocalToolbox":
        """With a list of tasks `finish` ends one of them, and the schema is for the answer of them all."""
        return open_tools(
            self.settings,
            self.workspace,
            session_folder(self.settings.home, session.id) / "outputs",
            self.sandbox,
            session.prompts,
            None if memory else session.output_schema,
            self.outlet.remark,
            memory.tools() if memory else (),
        )

    def _begun(self, session: Session, tools: tuple[ToolSpec, ...]) -> tuple[Session, Opening]:
        """The session with its tools, and the event that creates it."""
        session = replace(session, tools=tools)
        # A prompt that cannot be filled in is found before there is a session.
        next(STRATEGIES[session.strategy](session))
        data = created_data(session, self.settings, str(self.workspace), level_of(self.sandbox))
        return session, [("session.created", "", data)]

    def _going_on(self, session: Session, tools: tuple[ToolSpec, ...]) -> tuple[Session, Opening]:
        """The session with the tools of now, and the event that says so, where it had others and that is accepted."""
        accepted = accept_tools(session.tools, tools, allowed=self.allow_changed)
        return (replace(session, tools=tools), accepted) if accepted else (session, [])


def _rates(settings: "Settings", outlet: Outlet) -> Rates | None:
    rates, remark = rates_of(settings)
    if remark:
        outlet.remark(remark)
    return rates


def _model_listeners(model: object) -> list[Listener]:
    """A scripted model quotes results, so it hears of them."""
    remember = getattr(model, "remember", None)
    return [lambda event: None if event.data.get("name") in INNER else remember(event)] if remember is not None else []


def _recorder(settings: "Settings") -> "Recorder | None":
    if settings.record is None:
        return None
    from agentrunner.render.record import Recorder

    return Recorder(settings.record)
