"""The server's own tools of a run: what they are called, and what carries them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from agentrunner.journal import session_folder
from agentrunner.server.services import Services
from agentrunner.server.steps import RunView
from agentrunner.strategies.prompts import load_prompts
from agentrunner.tools import LocalToolbox, Policy, Tool
from agentrunner.types import JSON, Event, ToolSpec


@dataclass(frozen=True, slots=True)
class Code:
    """What a run's interpreter finds: names in its folder, what the model is told of them, the sandbox's level."""

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    level: str = "OFF"


class Tools:
    """For all runs of this server."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def prompts(self) -> Mapping[str, str]:
        return load_prompts(self._services.settings.prompts)

    def specs(self, run: JSON) -> tuple[ToolSpec, ...]:
        """As a model sees them; the deliberation is the client's own affair."""
        return tuple(replace(tool.spec(), thoughts=False) for tool in self._made("", run, 0))

    async def prepare(self, owner: str, run: JSON) -> Code:
        """What has to be there before the run begins."""
        return Code()

    async def open(self, owner: str, run: JSON, past: Sequence[Event]) -> LocalToolbox:
        outputs = session_folder(self._services.home, run["id"]) / "outputs"
        return LocalToolbox(self._made(owner, run, len(past)), policy=Policy("yes"), outputs=outputs)

    async def save_named(self, owner: str, view: RunView, event: Event) -> None:
        """Make files of those that an answer names."""

    def _made(self, owner: str, run: JSON, past: int) -> list[Tool]:
        return []
