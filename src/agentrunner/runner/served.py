"""One attempt at a run of the server: its session, and the parts that go on with it. The server brings the tools."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.engine import Control, Parts, Purse, run_session
from agentrunner.guard.ledger import Ledger, Share
from agentrunner.llm import Pool
from agentrunner.runner import pinning
from agentrunner.runner.guarding import limits_of
from agentrunner.runner.models import budget_of, context_tokens, open_model, rates_of, scripted
from agentrunner.runner.rehearsal import rehearses
from agentrunner.strategies import SERVED
from agentrunner.strategies.prompts import fill_in
from agentrunner.strategies.wrap_up import facts_of
from agentrunner.types import (
    JSON,
    Answer,
    Budget,
    Event,
    Journal,
    Listener,
    Message,
    Session,
    Strategy,
    Toolbox,
    ToolSpec,
)

if TYPE_CHECKING:
    from agentrunner.config import Settings

STRATEGY = "assistant"
SCRIPTS = Path(__file__).parent.parent / "scripts"
_PROMPTS = ("assistant", "compact", "compacted", "json_protocol", "nudge", "replan", "stuck", "thoughts")
"""Prompts that a run can need: they are kept with each."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is to do. `files` are names in the interpreter's folder."""

    id: str
    request: JSON
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]
    prompts: Mapping[str, str]


def new_session(wanted: Wanted, settings: Settings) -> Session:
    """Raises `UsageError` when the model's price is not known and a limit on cost is to be held."""
    rates, _ = rates_of(settings)
    budget = budget_of(settings, rates)
    last = next((said.content for said in reversed(wanted.messages) if said.role == "user"), "")
    return Session(
        id=wanted.id,
        goal=last,
        strategy=STRATEGY,
        model="scripted" if scripted(settings) else settings.model,
        date=datetime.now(UTC).date().isoformat(),
        # A run's time is limited by its expiry, which also covers what it waits for.
        budget=Budget(budget.steps, budget.usd, budget.tokens, None),
        # No line about the budget goes to a client's model.
        prompts={name: wanted.prompts[name] for name in _PROMPTS} | {"budget_line": ""},
        tools=wanted.tools,
        files=wanted.files,
        notes=wanted.notes,
        context_tokens=context_tokens(settings),
        protocol=settings.protocol,
        messages=wanted.messages,
        request=wanted.request,
        template=fill_in,
    )


def created(session: Session, settings: Settings, sandbox: str) -> JSON:
    """The data of `session.created`. A run has no workspace of its own."""
    return pinning.created_data(session, settings, "", sandbox)


async def advance(
    session: Session,
    settings: Settings,
    journal: Journal,
    past: Sequence[Event],
    opening: Sequence[tuple[str, str, JSON]],
    toolbox: Toolbox,
    listener: Listener,
    on_delta: Callable[[str], None] | None,
    control: Control,
    pool: Pool,
    book: Callable[[float, float, float], Awaitable[Share | None]] | None = None,
    purse: Purse | None = None,
) -> Event:
    """Go on with a run until it ends, or has to wait for its client. The caller holds its `SessionLock`."""
    rates, _ = rates_of(settings)
    model = open_model(_with_script(settings, session), session, past, stream=on_delta is not None, pool=pool)
    remember: Listener | None = getattr(model, "remember", None)
    parts = Parts(
        model=model,
        toolbox=toolbox,
        ledger=Ledger(session.budget, rates),
        wrap_up=_no_last_words,
        facts=facts_of,
        summary=lambda events, reason: "",
        clock=time.monotonic,
        listeners=[listener] if remember is None else [remember, listener],
        on_delta=on_delta,
        control=control,
        book=book,
        purse=purse,
        max_output_tokens=settings.max_output_tokens,
        retries=settings.retries,
        guard=limits_of(settings),
    )
    try:
        return await run_session(session, SERVED[STRATEGY], parts, journal, past, opening)
    finally:
        await toolbox.aclose()
        await model.aclose()


def _no_last_words(session: Session, facts: str, reason: str) -> Strategy:
    """A client's thread gets what its assistant said, and no summary of ours."""
    yield from ()
    return Answer("")


def _with_script(settings: Settings, session: Session) -> Settings:
    if not rehearses(settings):
        return settings
    analyses = any(spec.name == "python" for spec in session.tools) and session.files
    script = SCRIPTS / ("assistant_data.yaml" if analyses else "assistant.yaml")
    return settings.model_copy(update={"script": script})
