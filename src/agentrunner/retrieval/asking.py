"""Asks the parsing child: starts it, hands it a file, waits for the answer no longer than was said. It understands
neither files nor answers."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .documents import Unreadable

Run = Callable[[Sequence[str], bytes, float], bytes]

_PROGRAM = Path(__file__).with_name("child.py")
_HEADER_BYTES = 64 << 20  # a million rows, each with a number of its own
_AT_ONCE = 1 << 20  # bytes: more than a pipe holds
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}  # a library may load numpy, which reserves memory for each thread


class Asked(NamedTuple):
    header: dict[str, Any]
    text: bytes


class Child:
    """One process for many files, started when the first comes and again after it died."""

    def __init__(self, limits: str, run: Run | None = None) -> None:
        self._argv = (sys.executable, "-I", str(_PROGRAM), limits)
        self._run = run
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, kind: str, data: bytes, timeout_s: float, most_bytes: int) -> Asked | None:
        """The child's answer, None when it died instead of giving one. Raises `Unreadable` when it took too long or
        said too much."""
        request = json.dumps({"kind": kind, "bytes": len(data), "timeout_s": timeout_s}).encode() + b"\n" + data
        answer = _Answer(most_bytes)
        try:
            if self._run:
                answer.take(self._run(self._argv, request, timeout_s))
            else:
                self._exchange(request, answer, timeout_s)
        except BlockingIOError as error:
            raise Unreadable(f"cannot be read now, no process can be started ({error.strerror}); try again") from None
        except TimeoutError:
            self._kill()
            raise Unreadable(f"takes longer than {timeout_s:g} s to read; split it or leave it out") from None
        except BaseException:  # also Ctrl-C: what the child would say now answers no question
            self._kill()
            raise
        if not answer.complete or answer.header is None or answer.header.get("last"):
            self._kill()
        return Asked(answer.header, bytes(answer.text)) if answer.complete and answer.header else None

    def close(self) -> None:
        self._kill()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the one who asks
            )
        return self._process

    def _exchange(self, request: bytes, answer: _Answer, timeout_s: float) -> None:
        """Writes and reads as the pipes have room, until the answer is complete or the child is gone."""
        deadline = time.monotonic() + timeout_s
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        left = memoryview(request)
        with selectors.DefaultSelector() as selector:
            for pipe, event in ((process.stdin, selectors.EVENT_WRITE), (process.stdout, selectors.EVENT_READ)):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event)
            while not answer.complete:
                ready = selector.select(max(deadline - time.monotonic(), 0))
                if not ready or time.monotonic() > deadline:
                    raise TimeoutError
                for key, _ in ready:
                    if key.fileobj is process.stdin:
                        with suppress(BrokenPipeError):  # it is gone: reading says so
                            left = left[os.write(key.fd, left[:_AT_ONCE]) :]
                        if not left:
                            selector.unregister(process.stdin)
                    elif said := os.read(key.fd, _AT_ONCE):
                        answer.take(said)
                    else:
                        return

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.kill()
        process.wait()


class _Answer:
    """A line of JSON that says how many bytes of text follow it."""

    def __init__(self, most_bytes: int) -> None:
        self.header: dict[str, Any] | None = None
        self.text = bytearray()
        self._most_bytes = most_bytes

    @property
    def complete(self) -> bool:
        return self.header is not None and len(self.text) == self.header["bytes"]

    def take(self, said: bytes) -> None:
        searched = len(self.text)
        self.text += said
        if self.header is None:
            newline = self.text.find(b"\n", searched)
            if newline >= 0:
                self.header = self._header(bytes(self.text[:newline]))
                del self.text[: newline + 1]
        most = _HEADER_BYTES if self.header is None else self.header["bytes"]
        if len(self.text) > most:
            raise Unreadable("makes its parser say nonsense; leave it out")

    def _header(self, line: bytes) -> dict[str, Any]:
        try:
            header = json.loads(line)
            if 0 <= int(header["bytes"]) <= self._most_bytes:
                return header
        except (ValueError, KeyError, TypeError):
            pass
        raise Unreadable("makes its parser say nonsense; leave it out")
