"""The one live line at the bottom of a terminal, and how it gets out of the way of what is printed above it.

It does not decide what the line says. Everything happens on the thread of the event loop: no locks, and no line that a
refresh thread draws over a prompt. The cursor stays visible, so a killed process leaves a usable terminal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

REFRESH_S = 0.125
"""Eight frames a second: a spinner that moves without flickering."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class StatusLine:
    """Draws the lines that `content(spinner frame)` returns under everything else, until it is stopped or paused.

    `content` is asked anew at each frame. Lines are cropped to the window. When the window has become narrower since,
    terminals have wrapped what was drawn, so the rows to erase are counted at the new width.
    """

    def __init__(self, console: Console, content: Callable[[str], list[Text]]) -> None:
        self._console = console
        self._content = content
        self._drawn: list[int] = []
        self._frame = 0
        self._running = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if not self._running:
            self._running = True
            self._tick()

    def stop(self) -> None:
        """Erase the line and stay quiet until the next start."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._console:
            self._erase()

    @contextmanager
    def paused(self) -> Generator[None]:
        """No line while a person types."""
        was_running = self._running
        self.stop()
        try:
            yield
        finally:
            if was_running:
                self.start()

    @contextmanager
    def above(self) -> Generator[None]:
        """What is printed inside appears above the line; all of it reaches the terminal in one write."""
        with self._console:
            self._erase()
            yield
            self._draw()

    def refresh(self) -> None:
        if self._running:
            with self.above():
                pass

    def _tick(self) -> None:
        self._frame += 1
        self.refresh()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no loop: the line moves with the events only
        self._timer = loop.call_later(REFRESH_S, self._tick)

    def _erase(self) -> None:
        if not self._drawn:
            return
        columns = max(1, self._console.width)
        rows = sum(max(1, -(-cells // columns)) for cells in self._drawn)
        codes: list[ControlType | tuple[ControlType, int]] = [ControlType.CARRIAGE_RETURN]
        codes += [(ControlType.ERASE_IN_LINE, 2)]
        codes += [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * (rows - 1)
        self._console.control(Control(*codes))
        self._drawn = []

    def _draw(self) -> None:
        if not self._running:
            return
        lines = self._content(SPINNER[self._frame % len(SPINNER)])
        # One column stays free: a full last column makes some terminals wrap.
        room = max(1, self._console.width - 1)
        for line in lines:
            line.truncate(room, overflow="ellipsis")
        self._drawn = [line.cell_len for line in lines]
        self._console.print(Text("\n").join(lines), end="", soft_wrap=True)
