"""What of a session is written down when it begins, and read back whenever it goes on: itself, and its settings."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agentrunner.runner.models import scripted
from agentrunner.strategies.prompts import fill_in
from agentrunner.types import JSON, Budget, Event, Image, Message, Session, ToolSpec, fields_of

if TYPE_CHECKING:
    from agentrunner.config import Settings

_SHOWN = {"json_lines", "stream", "quiet", "output", "record", "file"}
_SERVED = {"host", "port", "allow_host", "strict_file_types", "requests_per_minute"}
_EMBEDDING = {"embedding_model", "embedding_base_url", "embedding_api_key", "embedding_price"}
NOT_PINNED = {"api_key", "home", "database_url", "i_know_there_is_no_sandbox", *_SHOWN, *_SERVED, *_EMBEDDING}
"""Settings that belong to an attempt, not to the session: secrets, places, what must be said each time, how it is
shown, and how a server is reached."""


def created_data(session: Session, settings: "Settings", workspace: str, sandbox: str) -> JSON:
    """The data of `session.created`."""
    return {
        "goal": session.goal,
        "strategy": session.strategy,
        "model": session.model,
        "budget": asdict(session.budget),
        "workspace": workspace,
        "sandbox": sandbox,
        "files": list(session.files),
        "notes": list(session.notes),
        "dry_run": scripted(settings),
        "_session": _pinned(session),
        "_settings": settings.model_dump(mode="json", exclude=NOT_PINNED),
    }


def _pinned(session: Session) -> JSON:
    """All of a session that its strategy may see, as JSON. `session_of` is the inverse."""
    own = {"id", "goal", "strategy", "model", "budget", "template", "tools"}
    data = {name: getattr(session, name) for name in session.__dataclass_fields__ if name not in own}
    data |= {
        "tools": [asdict(spec) for spec in session.tools],
        "messages": [_pinned_message(said) for said in session.messages],
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
        messages=tuple(_message_of(said) for said in kept.get("messages", ())),
        request=kept.get("request"),
        template=fill_in,
        **{name: kept[name] for name in names},
    )


def _pinned_message(message: Message) -> JSON:
    data = fields_of(message)
    images = [image.noted() for image in data.pop("images")]
    return data | ({"images": images} if images else {})


def _message_of(said: JSON) -> Message:
    images = tuple(Image(**image) for image in said.get("images", ()))
    return Message(**{name: value for name, value in said.items() if name != "images"}, images=images)


def as_it_was(settings: "Settings", chosen: set[str], pinned: JSON) -> "Settings":
    """The session's own settings, with what was given for this attempt on top."""
    current: dict[str, Any] = {name: getattr(settings, name) for name in type(settings).model_fields}
    kept = {name: value for name, value in pinned.items() if name not in chosen and name in current}
    return type(settings).model_validate(current | kept)
