"""The agent's side of the stateful interpreter: starts the worker behind the wall, sends it cells, believes it nothing.

A cell shares its process with the worker, so what comes back is bounded, checked for its shape, and never evaluated.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from agentrunner.errors import SandboxError

from .launch import Child
from .output import Stream
from .running import close, ended, exit_code, until_dead, why_killed
from .values import Cell
from .watch import Watch

_Answer = asyncio.Task[dict[str, Any]]
_MAX_REPLY_BYTES = 1 << 20
"""Several times what the worker itself lets through for a value and a traceback."""
_MAX_LATE_REPLIES = 8
"""To earlier cells. The worker sends none; whoever forges them could go on for ever."""
_START_S = 30.0
_GRACE_S = 2.0
"""From the interrupt to the kill: enough for Python code, which keeps its variables then; C code may not listen."""
_FIGURE = re.compile(r"figure-[1-9][0-9]{0,5}\.png")


@dataclass(slots=True)
class _Worker:
    child: Child
    control: socket.socket
    pid: int
    """The worker's own process, seen from here."""
    streams: list[Stream]
    watching: asyncio.Task[str]
    dead: asyncio.Task[None]


class Interpreter:
    """One namespace of variables that lives from cell to cell, until it has to be killed; then the next cell gets a new
    one. Cells run one after the other."""

    def __init__(self, start: Callable[[int], Awaitable[Child]], watch: Watch) -> None:
        """`start` puts the worker behind the wall with the socket it is given."""
        self._start_child = start
        self._watch = watch
        self._worker: _Worker | None = None
        self._cells = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def alive(self) -> bool:
        return self._worker is not None and not self._worker.dead.done()

    async def start(self) -> None:
        """Returns when it is ready for a cell. Raises `SandboxError`."""
        await self._watch.measure_before()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            child = await self._start_child(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        keep_bytes = self._watch.limits.output_bytes
        streams = [Stream(child.stdout, keep_bytes), Stream(child.stderr, keep_bytes)]
        for stream in streams:
            stream.watch(loop)
        watching = loop.create_task(
            self._watch.until_exceeded(child.process.pid, lambda: max(stream.total_bytes for stream in streams))
        )
        self._worker = _Worker(child, ours, 0, streams, watching, loop.create_task(until_dead(child, self._watch)))
        await self._greet(self._worker)

    async def warm(self, modules: Sequence[str]) -> None:
        """Has them imported beside whatever the cells do. They must be installed: the workspace may hold anything."""
        async with self._one_at_a_time:
            if self._worker is not None and modules:
                with contextlib.suppress(OSError):  # it is gone already, as the first cell will find
                    await _send(self._worker.control, {"warm": list(modules)})

    async def execute(self, code: str, timeout_s: float) -> Cell:
        """Runs one cell. Whatever it does, this answers in little more than `timeout_s` seconds."""
        async with self._one_at_a_time:
            if not self.alive:
                await self.aclose()
                await self.start()
            assert self._worker is not None
            began = time.monotonic()
            try:
                cell = await self._execute(self._worker, code, timeout_s)
            except BaseException:
                await self.aclose()
                raise
            if cell.state_lost:
                await self.aclose()
            return _timed(cell, time.monotonic() - began)

    async def aclose(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.watching.cancel()
        worker.dead.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker.dead
        worker.control.close()
        try:
            await ended(worker.child, self._watch)
        finally:
            close(worker.child, worker.streams)

    # --- one cell ------------------------------------------------------------------------------------------------

    async def _execute(self, worker: _Worker, code: str, timeout_s: float) -> Cell:
        self._cells += 1
        number = self._cells
        request = {"id": number, "code": code, "name": f"<cell {number}>"}
        answer = asyncio.create_task(_ask(worker.control, request))
        try:
            reply = await self._wait(worker, answer, timeout_s)
            if not (answer.done() or worker.dead.done() or worker.watching.done()):
                return await self._interrupt(worker, answer, timeout_s)
            return await self._cell(worker, reply, "")
        finally:
            answer.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, ValueError):
                await answer

    async def _wait(self, worker: _Worker, answer: _Answer, timeout_s: float) -> dict[str, Any] | None:
        """The reply; None when there is none, in time or at all."""
        waiting = {answer, worker.dead, worker.watching}
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() and answer.exception() is None else None

    async def _interrupt(self, worker: _Worker, answer: _Answer, timeout_s: float) -> Cell:
        with contextlib.suppress(OSError):
            os.kill(worker.pid, signal.SIGINT)
        reply = await self._wait(worker, answer, _GRACE_S)
        kept = " and was interrupted; variables are kept" if reply else ""
        return await self._cell(worker, reply, f"it ran longer than {timeout_s:g} s{kept}")

    async def _cell(self, worker: _Worker, reply: dict[str, Any] | None, stopped: str) -> Cell:
        if reply is None:
            stopped = stopped or await self._why_lost(worker)
            await ended(worker.child, self._watch)
        for stream in worker.streams:
            stream.drain()
        out, err = (stream.take() for stream in worker.streams)
        cut = out.cut_bytes + err.cut_bytes
        if reply is None:
            return Cell(False, out.text, err.text, cut_bytes=cut, stopped=stopped, state_lost=True)
        return Cell(
            ok=reply["ok"] and not stopped,
            stdout=out.text,
            stderr=err.text,
            value=reply["value"],
            error=reply["error"],
            figures=tuple(reply["figures"]),
            cut_bytes=cut,
            stopped=stopped,
        )

    async def _why_lost(self, worker: _Worker) -> str:
        if worker.watching.done():
            return worker.watching.result()
        if not worker.dead.done():  # its end of the socket was closed first, or it talks nonsense
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(worker.dead), 0.5)
        if not worker.dead.done():
            return "it broke the channel to its interpreter"
        code = exit_code(worker.child)
        if reason := why_killed(code, self._watch.limits):
            return reason
        if code > 128:
            return f"the interpreter was killed by {_signal_name(code - 128)}"
        return f"the interpreter ended itself with exit code {code}"

    # --- starting ------------------------------------------------------------------------------------------------

    async def _greet(self, worker: _Worker) -> None:
        """Waits for the first message. The kernel says with it which process sent it."""
        first = asyncio.create_task(_first_message(worker.control))
        try:
            await asyncio.wait({first, worker.dead}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
            if first.done() and first.exception() is None:
                worker.pid = first.result()
                return
        finally:  # it must not outlive the socket, also when this is cancelled
            first.cancel()
            await asyncio.wait({first})
        for stream in worker.streams:
            stream.drain()
        await ended(worker.child, self._watch)
        reason = worker.child.failure() or worker.streams[1].take().text.strip()[-500:] or "no answer from it"
        await self.aclose()
        raise SandboxError(f"the Python interpreter in the sandbox did not start: {reason}")


async def _first_message(control: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(control, lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(control)
    data, ancillary, _, _ = control.recvmsg(4096, socket.CMSG_SPACE(12))
    if not data:
        raise ConnectionError("the worker closed its socket")
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return struct.unpack("iII", body)[0]
    raise ConnectionError("the kernel did not say who speaks")


async def _ask(control: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    """Sends a cell and returns its reply. Raises `ValueError` for what is not one, `OSError` when nobody is there."""
    await _send(control, request)
    for _ in range(_MAX_LATE_REPLIES):
        length = struct.unpack(">I", await _exactly(control, 4))[0]
        if length > _MAX_REPLY_BYTES:
            raise ValueError("the reply is too long")
        try:
            reply = _checked(json.loads(await _exactly(control, length)))
        except RecursionError:
            raise ValueError("the reply is nested too deeply") from None
        if reply["id"] == request["id"]:
            return reply
        await asyncio.sleep(0)  # what is there already is read without waiting: others must have their turn
    raise ValueError("the replies are to other cells")


async def _send(control: socket.socket, request: dict[str, Any]) -> None:
    data = json.dumps(request).encode()
    await asyncio.get_running_loop().sock_sendall(control, struct.pack(">I", len(data)) + data)


async def _exactly(control: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        more = await asyncio.get_running_loop().sock_recv(control, count - len(data))
        if not more:
            raise ConnectionError("the worker closed its socket")
        data += more
    return bytes(data)


def _checked(reply: object) -> dict[str, Any]:
    """Raises `ValueError` unless it has the shape of a reply, with text of bearable length."""
    if not isinstance(reply, dict):
        raise ValueError("not an object")
    found = cast("dict[str, Any]", reply)
    kinds = {"id": int, "ok": bool, "value": str, "error": str, "figures": list}
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise ValueError(f"{key} is missing")
    names: list[object] = found["figures"]
    if len(names) > 100 or not all(isinstance(name, str) and _FIGURE.fullmatch(name) for name in names):
        raise ValueError("figures are not names of figures")
    return found


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _timed(cell: Cell, seconds: float) -> Cell:
    return replace(cell, seconds=seconds)
