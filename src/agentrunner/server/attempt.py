"""One attempt at a run: its session as it is pinned at the beginning, and the way on from what the journal holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agentrunner.engine import Control, Purse
from agentrunner.errors import UsageError
from agentrunner.guard.ledger import MIN_OUTPUT_TOKENS
from agentrunner.journal import session_folder
from agentrunner.journal.database import Execute
from agentrunner.runner.carrying import pictures_of
from agentrunner.runner.models import rates_of, unpriced
from agentrunner.runner.pinning import session_of
from agentrunner.runner.served import Wanted, advance, created, new_session
from agentrunner.server.conversation import conversation
from agentrunner.server.marks import marks_in
from agentrunner.server.pictures import pin, restore
from agentrunner.server.searching import stores_ready
from agentrunner.server.services import Services
from agentrunner.server.spending import account
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.wire.runs import OWN_NAMES
from agentrunner.server.wire.stores import has_expired
from agentrunner.types import JSON, Event, Message, Session, ToolSpec, Usage

if TYPE_CHECKING:
    from agentrunner.config import Settings

Opening = list[tuple[str, str, JSON]]


async def begin_session(services: Services, owner: str, run: JSON, past: Sequence[Event]) -> tuple[Session, Opening]:
    """The run's session, and the events that begin it when it is new: the thread is pinned by content."""
    if past:
        return await _again(services, session_of(past)), []
    if any(tool["type"] == "file_search" for tool in run["tools"]):
        await _ready(services, owner, run["tool_resources"]["file_search"]["vector_store_ids"])

    def read(execute: Execute) -> tuple[Message, ...]:
        return conversation(Tenant(execute, owner), run["thread_id"], run["id"])

    settings = settings_of(services, run)
    messages = await services.store.scan(read)
    code = await services.tools.prepare(owner, run)
    if any(message.images for message in messages):
        messages = await asyncio.to_thread(pin, messages, _pictures(services, run["id"]), services.blobs.path)
    # An answer may repeat a mark of an earlier one: it must not stand for another passage now.
    marks = marks_in(message.content for message in messages if message.role == "assistant")
    wanted = Wanted(
        id=run["id"],
        request=request_of(run) | ({"marks_after": marks} if marks else {}),
        messages=messages,
        tools=(*services.tools.specs(run), *functions_of(run)),
        files=code.names,
        notes=code.notes,
        prompts=services.tools.prompts,
    )
    session = new_session(wanted, settings)
    return session, [("session.created", "", created(session, settings, code.level))]


async def _again(services: Services, session: Session) -> Session:
    """The session with the pictures that it is shown."""
    if not any(message.images for message in session.messages):
        return session
    folder = pictures_of(services.home, session.id)
    return replace(session, messages=await asyncio.to_thread(restore, session.messages, folder))


def _pictures(services: Services, run_id: str) -> Path:
    session_folder(services.home, run_id)
    return pictures_of(services.home, run_id)


async def _ready(services: Services, owner: str, store_ids: list[str]) -> None:
    """Wait for files that are being indexed. Raises `UsageError` for a store that has expired."""
    stores = await services.store.read(owner, lambda t: t.children("store", store_ids))
    for store in stores:
        if has_expired(store, services.now):
            raise UsageError(f"Vector store {store['id']} has expired", "attach the files to a new one")
    await stores_ready(services, owner, store_ids)


async def go_on(
    services: Services,
    owner: str,
    run: JSON,
    session: Session,
    past: Sequence[Event],
    opening: Opening,
    tell: Callable[[Event | str], None],
    control: Control,
) -> Event:
    """Until the run ends or waits for its client. `tell` hears of events, and of pieces of text where it streams."""
    settings = settings_of(services, run)
    marks_after = int((session.request or {}).get("marks_after", 0))
    purse = Purse()
    toolbox = await services.tools.open(owner, run, purse, marks_after)
    on_delta = tell if run["_stream"] else None
    rates, _ = rates_of(settings)
    unknown = settings.model if unpriced(settings, rates) else ""
    book = account(services, owner, run["id"], fresh=not past, unpriced=unknown)
    return await advance(
        session,
        settings,
        services.sessions,
        past,
        opening,
        toolbox,
        tell,
        on_delta,
        control,
        services.pool,
        book,
        purse,
    )


def settings_of(services: Services, run: JSON) -> Settings:
    """The server's settings, with the run's own model unless one was chosen for all."""
    return services.settings.model_copy(update={"model": services.model_override or run["model"]})


def least_usd(services: Services, run: JSON) -> float:
    """What an answer costs at least that is worth asking for; 0 where that is not known."""
    settings = settings_of(services, run)
    try:
        rates, _ = rates_of(settings)
    except UsageError:  # The run fails, and says it.
        return 0.0
    tokens = min(MIN_OUTPUT_TOKENS, settings.max_output_tokens)
    return rates.cost(Usage(0, 0, tokens)) if rates else 0.0


def request_of(run: JSON) -> JSON:
    """What the strategy reads. What is usual is left out: some models refuse to be told their own defaults."""
    truncation = run["truncation_strategy"]
    request: JSON = {
        "instructions": run["instructions"],
        "additional_instructions": run["_additional_instructions"],
        "truncation": truncation["last_messages"] if truncation["type"] == "last_messages" else "auto",
        "max_prompt_tokens": run["max_prompt_tokens"],
        "max_completion_tokens": run["max_completion_tokens"],
        "reasoning_effort": run.get("reasoning_effort"),
        "tool_choice": _choice(run["tool_choice"]),
        "parallel_tool_calls": None if run["parallel_tool_calls"] else False,
        "response_format": _form(run["response_format"]),
    }
    return request | {name: run[name] for name in ("temperature", "top_p") if run[name] != 1}


def functions_of(run: JSON) -> tuple[ToolSpec, ...]:
    """The client's functions. Nothing is added to what they take."""
    return tuple(_function(tool["function"]) for tool in run["tools"] if tool["type"] == "function")


def _function(function: JSON) -> ToolSpec:
    return ToolSpec(
        function["name"],
        function.get("description") or "",
        function.get("parameters") or {"type": "object", "properties": {}},
        thoughts=False,
        external=True,
        strict=bool(function.get("strict")),
    )


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return None if choice == "auto" else choice
    found = cast(JSON, choice)
    if found["type"] == "function":
        return found
    return {"type": "function", "function": {"name": OWN_NAMES[found["type"]]}}


def _form(form: Any) -> JSON | None:
    return None if form in (None, "auto") or form["type"] == "text" else form
