"""A session's commands as trajectories for the loop guard, from its journal. What the guard says of them is not known
here."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from agentrunner.engine.acting import result_of
from agentrunner.engine.asking import completion_of
from agentrunner.engine.driving import unusable
from agentrunner.guard.recorded import record_of
from agentrunner.types import JSON, Event, Step

WORK = ("step", "execute", "repair")
"""Labels of requests with tools."""


def trajectories(events: Sequence[Event]) -> Iterator[JSON]:
    """One for each branch, since the guard looks at each by itself; the root's has the session's id. Commands without a
    result are left out."""
    results = {event.key: event for event in events if event.type == "tool.finished"}
    told = {event.key for event in events if event.type == "message.added"}
    branches: dict[str, list[JSON]] = {}
    for event in events:
        if event.type != "completion.received" or event.data["label"] not in WORK:
            continue
        branch, _, ordinal = event.key.rpartition("/llm:")
        steps = branches.setdefault(branch, [])
        steps += record_of(_step(event, f"{branch}/tool:{ordinal}", results))
        if steps and (event.key in told or (ordinal == "1" and "" in told)):
            steps[-1]["spoken"] = True
    for branch, steps in branches.items():
        yield {"id": events[0].session_id + branch, "steps": steps}


def _step(received: Event, place: str, results: dict[str, Event]) -> Step:
    completion, number = completion_of(received), int(received.data["step"] or 0)
    error = unusable(completion, with_tools=True)
    finished = (results.get(f"{place}:{position}") for position in range(0 if error else len(completion.calls)))
    known = tuple(result_of(event) for event in takewhile(lambda event: event is not None, finished) if event)
    return Step(received.key, number, completion, known, error=error)
