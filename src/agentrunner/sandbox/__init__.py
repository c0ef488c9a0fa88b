"""Programs and files behind a wall: confined file access on the host, and a place where a model's code may run."""

from .box import Sandbox, open_sandbox
from .interpreter import Interpreter
from .paths import Entry, PathError, Root
from .values import Cell, Limits, Ran

__all__ = ["Cell", "Entry", "Interpreter", "Limits", "PathError", "Ran", "Root", "Sandbox", "open_sandbox"]
