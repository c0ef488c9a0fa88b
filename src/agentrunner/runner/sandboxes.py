"""The sandbox of a session, from its settings, and what has to be said about it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.errors import SandboxError, UsageError
from agentrunner.runner.intake import why_exposed
from agentrunner.runner.rehearsal import runs_code
from agentrunner.types import JSON, Event

if TYPE_CHECKING:
    from agentrunner.config import Settings
    from agentrunner.sandbox import Sandbox

_REACH = "python and shell may reach {} through the HTTP proxy that HTTP_PROXY and HTTPS_PROXY name, and nothing else"
NO_SANDBOX = "there is no sandbox: code and commands of the agent can do whatever you can do"


def open_sandbox_for(settings: "Settings", workspace: Path) -> "tuple[Sandbox | None, list[str]]":
    """The sandbox, and what has to be said about it. None when this machine has none and none was insisted on, or when
    it could not keep what lies in the workspace from programs."""
    from agentrunner.sandbox import Limits, open_sandbox

    try:
        sandbox = open_sandbox(
            workspace,
            level=settings.sandbox,
            launcher=settings.sandbox_launcher,
            confirmed_none=settings.i_know_there_is_no_sandbox,
            allow_net=settings.allow_net,
            limits=Limits.parse(settings.sandbox_limits),
        )
    except SandboxError as error:
        if settings.sandbox != "auto":
            raise UsageError(error.message, error.hint) from None
        return None, [f"python and shell are switched off: {error}"]
    if sandbox.level == "FULL":
        return sandbox, [_REACH.format(", ".join(sandbox.hosts))] if sandbox.hosts else []
    if sandbox.level == "NONE":
        return sandbox, [NO_SANDBOX]
    if not settings.allow_exposed_workspace and (why := why_exposed(workspace)):
        sandbox.close()
        return None, [f"python and shell are switched off: {why}"]
    return sandbox, [f"the sandbox is {sandbox.level}: {'; '.join(sandbox.lacks)}"]


def warn_of_none(sandbox: "Sandbox | None", alarm: Callable[[str], None]) -> None:
    """In every attempt, so that nobody forgets it."""
    if sandbox is not None and sandbox.level == "NONE":
        alarm(NO_SANDBOX)


def level_of(sandbox: "Sandbox | None") -> str:
    """What is enforced around code; "OFF" when no code is run."""
    return sandbox.level if sandbox is not None else "OFF"


def other_sandbox(
    past: Sequence[Event], sandbox: "Sandbox | None", notes: Sequence[str], remark: Callable[[str], None]
) -> list[tuple[str, str, JSON]]:
    """A resumed session may find another sandbox than it had: that is said, and written down."""
    if sandbox is None and any(spec["name"] in ("python", "shell") for spec in past[0].data["_session"]["tools"]):
        raise UsageError(f"the session was made with python and shell; now {'; '.join(notes)}")
    opened = [event.data["level"] for event in past if event.type == "sandbox.opened"]
    before, now = (opened or [past[0].data["sandbox"]])[-1], level_of(sandbox)
    if before == now or sandbox is None:
        return []
    remark(f"the sandbox was {before} and is {now} now" + "".join(f"; {note}" for note in notes))
    return [("sandbox.opened", "", {"level": now, "lacks": list(sandbox.lacks)})]


def check_sandbox_use(settings: "Settings", sandbox: "Sandbox | None", notes: Sequence[str]) -> None:
    """What cannot do without a sandbox is said before it begins."""
    user = "--verify" if settings.verify else "--dry-run without a script" if runs_code(settings) else ""
    if user and sandbox is None:
        raise UsageError(f"{user} runs code in the sandbox, and there is none here: {'; '.join(notes)}")
