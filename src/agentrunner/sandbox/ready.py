"""Keeps one launcher started and waiting, since half of what a launch takes is the start of a bare interpreter.

It was started like every other one, with an empty environment, holds nothing but the end of a socket, and is used once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from .group import TaskGroup
from .spawn import order

_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from inside.launcher import main; main(int(sys.argv[2]))"


class _Waiting(NamedTuple):
    process: Future[subprocess.Popen[bytes]]
    control: socket.socket
    owner: int


class Ready:
    """The launchers of one wall. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: _Waiting | None = None
        self._closed = False

    def start(
        self, plan: bytes, fds: Sequence[tuple[int, int]], group: TaskGroup | None = None
    ) -> subprocess.Popen[bytes]:
        """Hands a plan to the launcher that waits, and starts the next one. `fds`: descriptors of ours, and the numbers
        they get there. `group`: where it is put first. Raises the `OSError` of an interpreter that cannot be started,
        or of a group that takes nobody."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        try:
            if waiting is None or waiting.owner != os.getpid():  # the first; or it waits for the process we come from
                return _hand_over(_start(), plan, fds, group)
            try:
                return _hand_over(waiting, plan, fds, group)
            except ConnectionError:  # somebody ended it, or it never came up
                _end(waiting)
                return _hand_over(_start(), plan, fds, group)
        finally:
            with self._lock:
                if self._waiting is None and not self._closed:
                    self._waiting = _start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.owner == os.getpid():
            _end(waiting)


def _start() -> _Waiting:
    ours, theirs = socket.socketpair()
    nothing = os.open(os.devnull, os.O_RDWR)
    argv = [sys.executable, "-I", "-S", "-c", _CODE, str(Path(__file__).parent), str(theirs.fileno())]
    process = order(argv, [theirs.fileno()], nothing, nothing, nothing)

    def close(_: object) -> None:
        theirs.close()
        os.close(nothing)

    process.add_done_callback(close)
    return _Waiting(process, ours, os.getpid())


def _hand_over(
    waiting: _Waiting, plan: bytes, fds: Sequence[tuple[int, int]], group: TaskGroup | None
) -> subprocess.Popen[bytes]:
    """The plan is preceded by its length, and by how many descriptors come with it and their numbers there."""
    process = waiting.process.result()
    if group:
        try:
            group.add(process.pid)
        except ProcessLookupError:  # it ended before it was given anything
            raise ConnectionError("the launcher is gone") from None
    head = struct.pack(f"<II{len(fds)}I", len(plan), len(fds), *[there for _, there in fds])
    socket.send_fds(waiting.control, [head], [here for here, _ in fds])
    waiting.control.sendall(plan)
    waiting.control.close()
    return process


def _end(waiting: _Waiting) -> None:
    waiting.control.close()
    with contextlib.suppress(OSError):  # it was never started
        process = waiting.process.result()
        process.kill()
        process.wait()
