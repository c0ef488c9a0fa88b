"""Holds the programs of a sandbox still while another wall is built over the same workspace.

Mounts are made by path, one after the other. A program that exchanged a folder for a link in between could lead one of
them astray: its own thread, left behind by a cell, while a command starts.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Generator, Iterable

from .usage import descendants

_STOP_S = 0.5
"""How long a signal may take to be noticed; a thread that waits for a disk notices it before it does anything else."""
_BUILD_S = 5.0
_LOOK_S = 0.001


@contextlib.contextmanager
def held_still(guards: Iterable[int]) -> Generator[None]:
    """Everything below these processes stands still meanwhile; they themselves go on."""
    held: set[int] = set()
    tops = list(guards)
    try:
        # Whoever stands still makes no more of them, so this comes to an end.
        while new := {pid for top in tops for pid in descendants(top)} - held:
            for pid in new:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            held |= new
            _wait_until(lambda new=new: all(map(_stands_still, new)), _STOP_S)
        yield
    finally:
        for pid in held:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)


def wait_until_built(guard: int, handle: int, processes: int) -> None:
    """Until the guard has so many processes below it, of which the last is the program, or has ended."""

    def built() -> bool:
        return len(descendants(guard)) >= processes or bool(select.select([handle], [], [], 0)[0])

    _wait_until(built, _BUILD_S)


def _wait_until(reached: Callable[[], bool], at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while not reached() and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _stands_still(pid: int) -> bool:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - every millisecond
        return all(_state(pid, thread) in "TtZX" for thread in threads)
    except OSError:  # it is gone
        return True


def _state(pid: int, thread: str) -> str:
    with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2].split()[0].decode()
