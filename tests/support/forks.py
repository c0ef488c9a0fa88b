"""Runs `agent` as a fork of the nursery, of which every process of tests has one: with arguments, an environment and
streams of its own, like a process that was started by itself, but without the half second of imports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

ROOT = Path(__file__).parents[2]


class Nursery(NamedTuple):
    process: subprocess.Popen[bytes]
    orders: socket.socket


_lock = threading.Lock()
_nurseries: list[Nursery] = []


def run(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: bytes, timeout_s: float
) -> tuple[int, bytes, bytes]:
    """Exit status (negative for a signal), standard output, standard error."""
    ours, theirs = socket.socketpair()
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in range(3))
    with (
        ours,
        os.fdopen(in_write, "wb") as fed,
        os.fdopen(out_read, "rb") as out,
        os.fdopen(err_read, "rb") as err,
        ours.makefile("rb") as said,
        ThreadPoolExecutor(3) as streams,
    ):
        with theirs:
            socket.send_fds(_nursery(environment).orders, [b"o"], [theirs.fileno(), in_read, out_write, err_write])
        for given in (in_read, out_write, err_write):
            os.close(given)
        order = {"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)}
        ours.sendall(json.dumps(order).encode() + b"\n")
        pid = int(said.readline())
        ours.settimeout(timeout_s)
        streams.submit(_feed, fed, stdin)
        read = [streams.submit(stream.read) for stream in (out, err)]
        code = None
        try:
            code = int(said.readline())
            return code, read[0].result(timeout_s), read[1].result(timeout_s)
        except TimeoutError:
            raise subprocess.TimeoutExpired([*arguments], timeout_s) from None
        finally:
            if code is None:  # whatever ended the waiting, nobody would end the fork
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _feed(stream: BinaryIO, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), stream:
        stream.write(content)


def _nursery(environment: Mapping[str, str]) -> Nursery:
    """The one of this process, which has nothing of the command's own surroundings."""
    with _lock:
        if not _nurseries:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.nursery"],
                    cwd=ROOT,
                    env={name: environment[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in environment},
                    stdin=theirs,
                    stdout=subprocess.DEVNULL,
                )
            _nurseries.append(Nursery(process, ours))
        return _nurseries[0]


def close() -> None:
    """End the nursery, if there is one."""
    with _lock:
        for nursery in _nurseries:
            nursery.orders.close()
            nursery.process.wait(10)
        _nurseries.clear()
