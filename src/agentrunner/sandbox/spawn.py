"""Starts processes from one thread that lives as long as this program.

The kernel ends a sandbox together with the *thread* that started it, so a thread of a pool, which may end at any
moment, must not be the one. This one only ever starts processes.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple


class _Order(NamedTuple):
    argv: Sequence[str]
    pass_fds: Sequence[int]
    stdin: int
    stdout: int
    stderr: int
    answer: Future[subprocess.Popen[bytes]]


_orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
_owner = 0
_starting = threading.Lock()


def order(
    argv: Sequence[str], pass_fds: Sequence[int], stdin: int, stdout: int, stderr: int
) -> Future[subprocess.Popen[bytes]]:
    """A child with an empty environment, no terminal, in a session of its own, at `/`, with only the descriptors named,
    which must stay open until it is there. Its result raises the `OSError` of a program that cannot be started."""
    global _owner
    with _starting:
        if _owner != os.getpid():  # first use, or this process was forked and the thread stayed behind
            threading.Thread(target=_serve, name="sandbox-spawner", daemon=True).start()
            _owner = os.getpid()
    answer: Future[subprocess.Popen[bytes]] = Future()
    _orders.put(_Order(argv, pass_fds, stdin, stdout, stderr, answer))
    return answer


def _serve() -> None:
    while True:
        order = _orders.get()
        try:
            process = subprocess.Popen(
                order.argv,
                stdin=order.stdin,
                stdout=order.stdout,
                stderr=order.stderr,
                env={},
                cwd="/",
                start_new_session=True,
                pass_fds=order.pass_fds,
            )
        except BaseException as failure:  # it belongs to the thread that asked
            order.answer.set_exception(failure)
        else:
            order.answer.set_result(process)
