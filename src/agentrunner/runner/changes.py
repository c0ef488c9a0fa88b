"""What changed in this installation since a session began: said when it is wording, refused when it is structure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from agentrunner.engine.differing import changed, other_tool
from agentrunner.errors import UsageError
from agentrunner.strategies.prompts import load_prompts
from agentrunner.types import JSON, ToolSpec

SHOWN = 3
"""Names of prompts in one line; with a new version, all may read otherwise."""


def say_other_prompts(then: Mapping[str, str], folder: Path | None, remark: Callable[[str], None]) -> None:
    """A session keeps the prompts that it began with; that others are in use now is worth a line."""
    try:
        names = changed(then, load_prompts(folder))
    except UsageError as error:
        remark(f"the session keeps the prompts that it began with ({error.message})")
        return
    if names:
        shown = ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        one = len(names) == 1
        remark(
            f"the prompt{'' if one else 's'} {shown} read{'s' if one else ''} otherwise now; the session keeps "
            f"{'the one' if one else 'those'} that it began with"
        )


def accept_tools(then: Sequence[ToolSpec], now: Sequence[ToolSpec], *, allowed: bool) -> list[tuple[str, str, JSON]]:
    """The event that says that a session goes on with other tools; none when they are the same. Raises `UsageError`
    when that is not allowed."""
    difference = other_tool(then, now)
    if not difference:
        return []
    if not allowed:
        raise UsageError(
            f"the session was made with other tools: {difference}",
            "resume it as it was started, or add --allow-changed to go on with the tools of now",
        )
    names = {"was": [spec.name for spec in then], "is": [spec.name for spec in now]}
    return [("tools.changed", "", names | {"difference": difference, "_tools": [asdict(spec) for spec in now]})]
