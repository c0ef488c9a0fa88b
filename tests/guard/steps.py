"""Steps for the detector's tests, and what it says about them."""

from collections.abc import Iterable
from typing import Any

from agentrunner.guard.limits import Limits
from agentrunner.guard.stuck import StuckDetector
from agentrunner.types import Completion, Outcome, Step, StepError, Thoughts, ToolCall, ToolResult, Verdict


def made(
    number: int,
    content: str,
    /,
    tool: str = "read_file",
    outcome: Outcome = "ok",
    workspace: str = "",
    plan: str = "",
    ran: bool = True,
    text: str = "",
    **arguments: Any,
) -> Step:
    """A step of one command."""
    thoughts = Thoughts(plan=(plan,), criticism="none") if plan else None
    call = ToolCall(f"c{number}", tool, arguments or {"path": "a.txt"})
    result = ToolResult(call.id, tool, outcome, content, ran=ran, workspace=workspace)
    return Step(f"/llm:{number}", number, Completion({}, text=text, calls=(call,), thoughts=thoughts), (result,))


def unreadable(number: int) -> Step:
    return Step(f"/llm:{number}", number, Completion({}, text="{"), error=StepError("malformed", "Call a tool."))


def verdicts(steps: Iterable[Step], limits: Limits | None = None) -> list[Verdict | None]:
    detector = StuckDetector(limits)
    return [detector.after(step) for step in steps]


def stop_of(steps: Iterable[Step], limits: Limits | None = None) -> str:
    """The rule that stops, empty when none does."""
    return next((v.rule for v in verdicts(steps, limits) if v is not None and v.action == "stop"), "")


def said(steps: Iterable[Step], limits: Limits | None = None) -> list[str]:
    return [f"{v.action} {v.rule}" for v in verdicts(steps, limits) if v is not None]
