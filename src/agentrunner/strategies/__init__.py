"""Strategies: plain generators that yield what they want done and return the answer. They do no I/O.

`STRATEGIES` maps the names of `--strategy` to them; a new one is one file and one line here.
"""

from collections.abc import Callable

from agentrunner.strategies.autogpt import autogpt
from agentrunner.types import Session, Strategy

STRATEGIES: dict[str, Callable[[Session], Strategy]] = {"autogpt": autogpt}

__all__ = ["STRATEGIES"]
