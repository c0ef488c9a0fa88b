"""A command-line autonomous agent runner. Public names are imported at first use: `agent --help` must stay quick."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["AgentError", "Answer", "Budget", "Event", "Session", "__version__", "tool"]

if TYPE_CHECKING:
    from agentrunner.errors import AgentError
    from agentrunner.tools import tool
    from agentrunner.types import Answer, Budget, Event, Session

_HOME = {
    "AgentError": "errors",
    "tool": "tools",
    "Answer": "types",
    "Budget": "types",
    "Event": "types",
    "Session": "types",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'agentrunner' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"agentrunner.{_HOME[name]}"), name)
