"""`agent replay`: a session from the journal, made again with the prompts, tools and strategy of this installation."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.engine.differing import Difference, differing_lines
from agentrunner.engine.replaying import Makers, Replayed, replay
from agentrunner.errors import UsageError
from agentrunner.runner.pinning import as_it_was, session_of
from agentrunner.runner.tools import open_tools
from agentrunner.runner.trajectories import WORK
from agentrunner.strategies import SERVED, STRATEGIES
from agentrunner.strategies.prompts import load_prompts
from agentrunner.strategies.wrap_up import facts_of, wrap_up
from agentrunner.types import Event, Session, ToolSpec

if TYPE_CHECKING:
    from agentrunner.config import Settings


async def replay_session(
    events: Sequence[Event], settings: "Settings", chosen: set[str], remark: Callable[[str], None]
) -> Replayed:
    """Make the requests of a session again and compare them. `chosen`: settings given for this. Nothing is sent, run or
    written."""
    then = session_of(events)
    strategies = STRATEGIES | SERVED
    if then.strategy not in strategies:
        raise UsageError(
            f"the session's strategy {then.strategy!r} is not part of this version",
            "replay it with the version that made it",
        )
    if settings.prompts is not None and "prompts" not in chosen:
        remark(f"the prompts in {str(settings.prompts)!r} are tried, as the settings say now")
        chosen = chosen | {"prompts"}
    pinned = as_it_was(settings, chosen, events[0].data["_settings"])
    prompts = load_prompts(pinned.prompts)
    now = replace(then, prompts=prompts)
    if then.strategy not in SERVED:  # What a run of the server may call was in its request.
        now = replace(now, tools=tools_now(now, pinned))
    if not any(event.type == "request.sent" for event in events):
        remark("the session made no request")
    found = await replay(_sessions(events, now), Makers(strategies[then.strategy], wrap_up, facts_of), events)
    beside = _beside_the_conversation(events, then, now)
    if beside is not None and (found.difference is None or (found.difference.step or 0) > (beside.step or 0)):
        found.difference = beside
    return found


def _sessions(events: Sequence[Event], now: Session) -> Callable[[Sequence[Event]], tuple[Session, Session]]:
    """The session of now and of then for each attempt. Where a person accepted other tools, attempts before that are
    made again with those that they had, and the later ones without what they did not have."""
    changed = any(event.type == "tools.changed" for event in events)
    last, known = session_of(events).tools, {spec.name: spec for spec in now.tools}

    def at(past: Sequence[Event]) -> tuple[Session, Session]:
        then = session_of(past)
        if not changed:
            return now, then
        if then.tools != last:
            return replace(now, tools=then.tools), then
        return replace(now, tools=tuple(known[spec.name] for spec in then.tools if spec.name in known)), then

    return at


def _beside_the_conversation(events: Sequence[Event], then: Session, now: Session) -> Difference | None:
    """A prompt that is sent with requests but is no part of their conversation: the engine or the endpoint chose
    whether and where, so it is compared by itself."""
    with_tools = [event for event in events if event.type == "request.sent" and event.data["label"] in WORK]
    as_text = {
        event.key
        for event in events
        if event.type == "completion.received"
        and (then.protocol == "json" or event.data["_learned"].get("protocol") == "json")
    }
    sent_with = {
        "budget_line": [event for event in events if event.type == "request.sent" and event.data["_trailing"]],
        "thoughts": with_tools,
        "json_protocol": [event for event in with_tools if event.key in as_text],
    }
    for name, requests in sent_with.items():
        if requests and then.prompts.get(name, "") != now.prompts[name]:
            first = requests[0].data
            lines = differing_lines(then.prompts.get(name, ""), now.prompts[name])
            return Difference(first["step"], first["label"], f"the prompt {name!r} reads otherwise", tuple(lines))
    return None


def tools_now(session: Session, settings: "Settings") -> tuple[ToolSpec, ...]:
    """The tools that this installation would give the session. They are made to be described, in an empty folder."""
    from agentrunner.sandbox import open_sandbox

    with tempfile.TemporaryDirectory(prefix="agent-replay-") as name:
        folder = Path(name)
        code = any(spec.name in ("python", "shell") for spec in session.tools)
        # Nothing is started in it, so it needs no walls.
        sandbox = open_sandbox(folder, level="none", confirmed_none=True) if code else None
        settings = settings.model_copy(update={"knowledge": ()})  # the folders may be gone
        try:
            toolbox = open_tools(settings, folder, folder / "outputs", sandbox, session.prompts, session.output_schema)
            return toolbox.specs()
        finally:
            if sandbox is not None:
                sandbox.close()
