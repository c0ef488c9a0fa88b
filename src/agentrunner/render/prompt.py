"""Reading one line from a person without stopping the event loop. Prints nothing but the prompt it is given."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Callable

MAX_ANSWER_BYTES = 64 * 1024
"""A pasted page of feedback fits; an endless line from something that is not a person does not."""

APPROVAL_HELP = "y: yes · y -5: yes to the next 5 · n: no · or say what it should do instead"


async def ask_line(show_prompt: Callable[[], None], stdin_fd: int | None = None) -> str | None:
    """The next non-empty line that a person types; None at end of input. Cancelling it leaves the terminal as it was.

    What was typed before the question appeared is thrown away: it cannot be an answer to it.
    """
    fd = sys.stdin.fileno() if stdin_fd is None else stdin_fd
    if os.isatty(fd):
        termios.tcflush(fd, termios.TCIFLUSH)
    while True:
        show_prompt()
        line = await _read_line(fd)
        if line is None or line.strip():
            return line.strip() if line is not None else None


async def _read_line(fd: int) -> str | None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | None] = loop.create_future()
    received = bytearray()

    def readable() -> None:
        if answer.done():
            return
        try:
            chunk = os.read(fd, 4096)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""  # the terminal is gone
        received.extend(chunk)
        if not chunk and not received:
            answer.set_result(None)
        elif not chunk or b"\n" in received or len(received) > MAX_ANSWER_BYTES:
            answer.set_result(bytes(received).partition(b"\n")[0].decode("utf-8", "replace"))

    loop.add_reader(fd, readable)
    try:
        return await answer
    finally:
        loop.remove_reader(fd)
