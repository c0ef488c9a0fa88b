"""Which screen a session gets: on a terminal, without one, or none at all. Draws nothing itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, TextIO

from agentrunner.render.plain import PlainScreen, QuietScreen
from agentrunner.render.stdout import is_utf8
from agentrunner.types import Event


class Screen(Protocol):
    """What a person sees of a session. It is a `Listener`, and its `ask` is a `Human`.

    Order: `start`, `recall` with earlier events when a session goes on, events, `stop`, and `show_result` with the last
    event. `stop` may be called at any time and more than once.
    """

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def recall(self, events: Sequence[Event]) -> None: ...
    def __call__(self, event: Event) -> None: ...
    def on_delta(self, text: str) -> None: ...
    def on_phase(self, phase: str) -> None: ...
    def remark(self, text: str) -> None: ...
    async def ask(self, kind: str, question: str) -> str | None: ...
    def show_result(self, finished: Event, stdout: TextIO) -> None: ...


def choose_screen(
    stderr: TextIO, environ: Mapping[str, str], quiet: bool = False, stdin: TextIO | None = None
) -> Screen:
    """The screen for this standard error: quiet, plain lines, or a terminal screen.

    `NO_COLOR` wins over `FORCE_COLOR`. `FORCE_COLOR` without a terminal gives colours, but neither a status line nor
    questions. `TERM=dumb` and terminals that are not UTF-8 get plain lines.
    """
    source: TextIO | None = sys.stdin if stdin is None else stdin  # None when it is closed
    if quiet:
        return QuietScreen()
    terminal = stderr.isatty()
    colour = not environ.get("NO_COLOR") and (terminal or environ.get("FORCE_COLOR", "0") not in ("", "0"))
    dumb = environ.get("TERM", "").lower() in ("dumb", "unknown")
    if not is_utf8(stderr) or not (terminal or colour) or (dumb and terminal):
        return PlainScreen(stderr, stdin=source if terminal and source is not None and source.isatty() else None)
    from rich.console import Console

    from agentrunner.render.terminal import TerminalScreen

    console = Console(
        file=stderr,
        force_terminal=True,
        color_system="auto" if terminal else "standard",
        no_color=not colour,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    return TerminalScreen(console, clock=time.monotonic, live=terminal, stdin=source)
