"""Starting and resuming sessions: everything is checked first, then made, then handed to the engine."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentrunner.engine import Control, Parts, run_session
from agentrunner.errors import UsageError
from agentrunner.guard.ledger import Ledger, Rates
from agentrunner.journal import SessionLock, SqlJournal, new_session_id, open_journal, session_folder
from agentrunner.runner.changes import accept_tools, say_other_prompts
from agentrunner.runner.guarding import Watcher, limits_of
from agentrunner.runner.intake import check_goal, check_workspace, copy_files, read_files
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
from agentrunner.runner.rehearsal import check_rehearsal, first_task, something_to_search
from agentrunner.runner.sandboxes import check_sandbox_use, level_of, open_sandbox_for, other_sandbox, warn_of_none
from agentrunner.runner.tools import open_tools
from agentrunner.strategies import SERVED, STRATEGIES, WITH_TASKS
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
from agentrunner.types import JSON, Budget, Event, Human, Image, Listener, Message, Session, ToolSpec, fields_of

if TYPE_CHECKING:
    from agentrunner.config import Settings
    from agentrunner.sandbox import Sandbox

Opening = list[tuple[str, str, JSON]]

_SHOWN = {"json_lines", "stream", "quiet", "output", "record", "file"}
_SERVED = {"host", "port", "allow_host", "strict_file_types", "requests_per_minute"}
_EMBEDDING = {"embedding_model", "embedding_base_url", "embedding_api_key", "embedding_price"}
NOT_PINNED = {"api_key", "home", "database_url", "i_know_there_is_no_sandbox", *_SHOWN, *_SERVED, *_EMBEDDING}
"""Settings that belong to an attempt, not to the session: secrets, places, what must be said each time, how it is
shown, and how a server is reached."""


WORK = ("step", "execute", "repair")
"""Labels of requests with tools."""
UNHEARD = ("compact", "wrap_up")
"""Labels of requests of which people do not hear; to the others their words can be added."""


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
    schema = _output_schema(settings)
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
            opening = [*other_sandbox(past, sandbox, notes, outlet.remark), *_opening(past, instruction, answer, more)]
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

    async def run(self, session: Session, past: Sequence[Event], *, new: bool, opening: Opening | None = None) -> Event:
        settings, outlet = self.settings, self.outlet
        folder = session_folder(settings.home, session.id)
        with_tasks = session.strategy in WITH_TASKS
        memory = Memory(past) if with_tasks else None
        toolbox = open_tools(
            settings,
            self.workspace,
            folder / "outputs",
            self.sandbox,
            session.prompts,
            None if with_tasks else session.output_schema,
            outlet.remark,
            memory.tools() if memory else (),
        )
        if new:
            session = replace(session, tools=toolbox.specs())
            # A prompt that cannot be filled in is found before there is a session.
            next(STRATEGIES[session.strategy](session))
            opening = [("session.created", "", self._created(session))]
        else:
            accepted = accept_tools(session.tools, toolbox.specs(), allowed=self.allow_changed)
            if accepted:
                session, opening = replace(session, tools=toolbox.specs()), [*accepted, *(opening or [])]

        attempt = 1 + sum(event.type == "session.claimed" for event in past)
        watcher = Watcher(settings.home, session.id, self.workspace, attempt)

        def on_phase(phase: str) -> None:
            outlet.on_phase(phase)
            if phase == "asking the model":
                toolbox.warm_up()
                watcher.begin()

        model = open_model(settings, session, past, stream=outlet.on_delta is not None)
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
                *_recorder(settings),
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
            return await run_session(session, STRATEGIES[session.strategy], parts, self.journal, past, opening or [])
        finally:
            await watcher.aclose()
            await toolbox.aclose()
            await model.aclose()
            if self.sandbox is not None:
                await self.sandbox.aclose()
                toolbox.look_over()

    def _created(self, session: Session) -> JSON:
        budget = session.budget
        return {
            "goal": session.goal,
            "strategy": session.strategy,
            "model": session.model,
            "budget": asdict(budget),
            "workspace": str(self.workspace),
            "sandbox": level_of(self.sandbox),
            "files": list(session.files),
            "notes": list(session.notes),
            "dry_run": scripted(self.settings),
            "_session": pinned(session),
            "_settings": self.settings.model_dump(mode="json", exclude=NOT_PINNED),
        }


def pinned(session: Session) -> JSON:
    """All of a session that its strategy may see, as JSON. `session_of` is the inverse."""
    own = {"id", "goal", "strategy", "model", "budget", "template", "tools"}
    data = {name: getattr(session, name) for name in session.__dataclass_fields__ if name not in own}
    data |= {
        "tools": [asdict(spec) for spec in session.tools],
        "messages": [_pinned(said) for said in session.messages],
    }
    return data | {"prompts": dict(session.prompts)}


def session_of(past: Sequence[Event]) -> Session:
    """The session as it was pinned when it was created, with the tools that were accepted since then."""
    created = past[0]
    data, kept = created.data, created.data["_session"]
    accepted = [event.data["_tools"] for event in past if event.type == "tools.changed"]
    names = ("date", "prompts", "verify", "output_schema", "context_tokens", "protocol")
    return Session(
        id=created.session_id,
        goal=data["goal"],
        strategy=data["strategy"],
        model=data["model"],
        budget=Budget(**data["budget"]),
        tools=tuple(ToolSpec(**spec) for spec in (accepted or [kept["tools"]])[-1]),
        files=tuple(kept["files"]),
        first_task=kept.get("first_task", ""),
        notes=tuple(kept["notes"]),
        messages=tuple(_unpinned(said) for said in kept.get("messages", ())),
        request=kept.get("request"),
        template=fill_in,
        **{name: kept[name] for name in names},
    )


def _pinned(message: Message) -> JSON:
    data = fields_of(message)
    images = [image.noted() for image in data.pop("images")]
    return data | ({"images": images} if images else {})


def _unpinned(said: JSON) -> Message:
    images = tuple(Image(**image) for image in said.get("images", ()))
    return Message(**{name: value for name, value in said.items() if name != "images"}, images=images)


def _opening(past: Sequence[Event], instruction: str, answer: str | None, more: JSON | None) -> Opening:
    """What a person brings to this attempt, as events."""
    opening: Opening = []
    if more:
        opening.append(("budget.raised", "", more))
    if answer is not None:
        asked = _open_question(past)
        place = {name: asked.data[name] for name in ("step", "branch", "call_id")}
        opening.append(("human.answered", asked.key, place | {"answer": answer, "granted": False}))
    if instruction:
        steps = [
            event
            for event in past
            if event.type == "completion.received"
            and event.data["branch"] == "/"
            and event.data["label"] not in UNHEARD
        ]
        opening.append(("message.added", steps[-1].key if steps else "", {"text": instruction}))
    return opening


def _open_question(past: Sequence[Event]) -> Event:
    answered = {event.key for event in past if event.type == "human.answered"}
    asked = [event for event in past if event.type == "human.asked" and event.key not in answered]
    if not asked:
        raise UsageError(f"session {past[0].session_id} has no open question", "leave --answer out")
    return asked[-1]


def as_it_was(settings: "Settings", chosen: set[str], pinned: JSON) -> "Settings":
    """The session's own settings, with what was given for this attempt on top."""
    current: dict[str, Any] = {name: getattr(settings, name) for name in type(settings).model_fields}
    kept = {name: value for name, value in pinned.items() if name not in chosen and name in current}
    return type(settings).model_validate(current | kept)


def _rates(settings: "Settings", outlet: Outlet) -> Rates | None:
    rates, remark = rates_of(settings)
    if remark:
        outlet.remark(remark)
    return rates


def _output_schema(settings: "Settings") -> JSON | None:
    if settings.output_schema is None:
        return None
    import json

    from jsonschema import Draft202012Validator, SchemaError

    path = Path(settings.output_schema)
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
    except (OSError, ValueError, SchemaError) as error:
        why = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--output-schema {str(path)!r} is not usable: {why}", "give a JSON schema file") from None
    return schema


def _model_listeners(model: object) -> list[Listener]:
    """A scripted model quotes results, so it hears of them."""
    remember = getattr(model, "remember", None)
    return [lambda event: None if event.data.get("name") in INNER else remember(event)] if remember is not None else []


def _recorder(settings: "Settings") -> list[Listener]:
    if settings.record is None:
        return []
    from agentrunner.render.record import Recorder

    return [Recorder(Path(settings.record))]
