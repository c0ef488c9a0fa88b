"""Blocking functions beside the event loop. Nothing here can stop a thread: a late one is left behind and its result
dropped.

`asyncio.to_thread` would make the end of the program wait for such a thread; a daemon thread does not. Threads that are
done wait for more work: starting one costs more than most tools do.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
MAX_IDLE = 8
"""Threads that are kept. More than that work at once only in a process with many sessions."""
_Tell = Callable[[], object]
_Work = Callable[[], _Tell]
_idle: list[queue.SimpleQueue[_Work]] = []
os.register_at_fork(after_in_child=_idle.clear)  # threads do not come along


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call `function` in a thread of its own and wait for it; cancelling stops the waiting only."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # a future cannot carry it
            future.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            future.set_exception(error)

    def work() -> _Tell:
        value, problem = None, None
        try:
            value = context.run(function, *args, **kwargs)
        except BaseException as error:  # whatever it is belongs to the caller, who is in another thread
            problem = error
        return lambda: loop.call_soon_threadsafe(settle, value, problem)

    _hand_over(work)
    return await future


def _hand_over(work: _Work) -> None:
    try:
        _idle.pop().put(work)
    except IndexError:
        inbox: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        inbox.put(work)
        threading.Thread(target=_worker, args=(inbox,), daemon=True, name="tool").start()


def _worker(inbox: queue.SimpleQueue[_Work]) -> None:
    while True:
        tell = inbox.get()()
        # Idle before the caller hears of it: its next call then finds this thread again.
        staying = len(_idle) < MAX_IDLE
        if staying:
            _idle.append(inbox)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            tell()
        if not staying:
            return
        del tell  # what the call returned must not live until the next one
