"""Strategies: plain generators that yield what they want done and return the answer. They do no I/O.

`STRATEGIES` maps the names of `--strategy` to them; a new one is one file and one line here. `SERVED` are those that
the server begins; they need more than a goal.
"""

from collections.abc import Callable

from agentrunner.strategies.assistant import assistant
from agentrunner.strategies.autogpt import autogpt
from agentrunner.strategies.babyagi import babyagi
from agentrunner.types import Session, Strategy

STRATEGIES: dict[str, Callable[[Session], Strategy]] = {"autogpt": autogpt, "babyagi": babyagi}
SERVED: dict[str, Callable[[Session], Strategy]] = {"assistant": assistant}
WITH_TASKS = frozenset({"babyagi"})
"""Those that keep a list of tasks: `finish` ends one of these rather than the session, and what they found out is
recalled."""

__all__ = ["SERVED", "STRATEGIES", "WITH_TASKS"]
