"""The composition root: settings become parts, parts become a session, and the engine runs it. It knows all rooms."""

from agentrunner.runner.sessions import Outlet, resume, start

__all__ = ["Outlet", "resume", "start"]
