"""Blocking functions beside the event loop. Nothing here can stop a thread: a late one is left behind and its result
dropped.

`asyncio.to_thread` would make the end of the program wait for such a thread; a daemon thread does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


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

    def work() -> None:
        value, problem = None, None
        try:
            value = context.run(function, *args, **kwargs)
        except BaseException as error:  # whatever it is belongs to the caller, who is in another thread
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, value, problem)

    threading.Thread(target=work, daemon=True, name=getattr(function, "__name__", "tool")).start()
    return await future
