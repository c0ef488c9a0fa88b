"""Waits for a started program: collects what it prints, watches its limits, sees to it that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence

from agentrunner.errors import SandboxError

from .launch import Child
from .output import Stream
from .values import Limits, Ran
from .watch import Watch


async def to_end(child: Child, watch: Watch, timeout_s: float) -> Ran:
    """Runs `child` for at most `timeout_s` seconds. Whatever happens, cancellation included, it is dead afterwards."""
    began = time.monotonic()
    limits = watch.limits
    streams = [Stream(child.stdout, limits.output_bytes), Stream(child.stderr, limits.output_bytes)]
    watching = asyncio.create_task(
        watch.until_exceeded(child.process.pid, lambda: max(stream.total_bytes for stream in streams))
    )
    try:
        for stream in streams:
            stream.watch(asyncio.get_running_loop())
        stopped = await _first(child, watch, [watching], timeout_s)
        if stopped is not None:
            await ended(child, watch)
        for stream in streams:
            stream.drain()
        out, err = (stream.take() for stream in streams)
        if failure := child.failure(err.text):
            raise SandboxError(f"the sandbox could not be set up: {failure}", "`agent doctor` says what is missing")
        code = exit_code(child)
        stopped = stopped or why_killed(code, limits) or await watch.check_at_end()
        return Ran(code, out.text, err.text, out.cut_bytes + err.cut_bytes, time.monotonic() - began, stopped)
    finally:
        watching.cancel()
        close(child, streams)


async def _first(child: Child, watch: Watch, watching: Sequence[asyncio.Task[str]], timeout_s: float) -> str | None:
    """None when the program ended by itself; else why it has to be ended."""
    end = asyncio.create_task(until_dead(child, watch))
    try:
        done, _ = await asyncio.wait({end, *watching}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if end in done:
            return None
        return next((task.result() for task in watching if task in done), f"it ran longer than {timeout_s:g} s")
    finally:
        end.cancel()


async def until_dead(child: Child, watch: Watch) -> None:
    """Returns when neither the process nor anything behind its wall is left."""
    await _readable(child.handle)
    if child.process.returncode is None:
        watch.ended(child.process.pid)
    child.process.wait()


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    own = os.dup(fd)  # two may wait for one process, and a loop knows one reader for each number
    loop.add_reader(own, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(own)
        os.close(own)


async def ended(child: Child, watch: Watch) -> None:
    """Ends it and returns when it is gone."""
    if child.process.returncode is not None:
        return
    child.end()
    try:
        await asyncio.wait_for(until_dead(child, watch), child.end_s)
    except TimeoutError:
        child.process.kill()
        await until_dead(child, watch)


def close(child: Child, streams: Sequence[Stream]) -> None:
    if child.process.returncode is None:
        child.end_now()
    for stream in streams:
        stream.close()
    child.close()


def exit_code(child: Child) -> int:
    code = child.process.returncode
    return code if code >= 0 else 128 - code


def why_killed(code: int, limits: Limits) -> str:
    """What a program's exit code says of a limit that the kernel enforced."""
    if code == 128 + signal.SIGXCPU:
        return f"it used more than {limits.cpu_s} s of processor time"
    if code == 128 + signal.SIGXFSZ:
        return f"it wrote a file larger than {limits.file_bytes} bytes"
    return ""
