"""What a person brings to another attempt at a session, as the events that begin it."""

from collections.abc import Sequence

from agentrunner.errors import UsageError
from agentrunner.types import JSON, Event

Opening = Sequence[tuple[str, str, JSON]]

UNHEARD = ("compact", "wrap_up")
"""Labels of requests of which people do not hear; to the others their words can be added."""


def opening_of(past: Sequence[Event], instruction: str, answer: str | None, more: JSON | None) -> Opening:
    """An instruction, an answer to the open question, more budget. Raises `UsageError` where no question is open."""
    opening: list[tuple[str, str, JSON]] = []
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
