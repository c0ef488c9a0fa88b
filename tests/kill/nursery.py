"""The process from which the attempts of the kill tests are forked: it has imported everything, so that an attempt
begins at once. It reads what to do, one JSON object a line, and says how each attempt ended."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

from agentrunner.errors import Fenced, JournalFull, SessionBusy
from agentrunner.llm.client import Connection
from agentrunner.llm.target import Target
from tests.kill.attempt import Order, attempt

ENDS: dict[type[BaseException], int] = {SessionBusy: 2, Fenced: 4, JournalFull: 5}
"""Exit status by what ended an attempt. 0: completed; 3: ended otherwise; 1: a bug."""


def main() -> None:
    connection = Connection(Target(sys.argv[1], azure=False), None)
    import aiohttp  # noqa: F401 - so that no child has to
    import psycopg  # noqa: F401

    gc.freeze()
    for line in sys.stdin:
        wanted: dict[str, Any] = json.loads(line)
        print(json.dumps(_together(wanted["orders"], wanted["kill_after_s"], connection)), flush=True)


def _together(orders: list[dict[str, Any]], kill_after_s: float | None, connection: Connection) -> list[int]:
    """Let these attempts begin at the same moment; their exit statuses, negative for the signal that ended one."""
    start, begin = os.pipe()
    children = [_fork(Order(**order), start, begin, connection) for order in orders]
    os.close(start)
    os.close(begin)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        for child in children:
            # It may be dead already, but nobody has been told yet, so the number is still its own.
            os.kill(child, signal.SIGKILL)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _fork(order: Order, start: int, begin: int, connection: Connection) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.close(begin)
        os.read(start, 1)
        code = 0 if asyncio.run(attempt(order, connection)) == "completed" else 3
    except BaseException as error:
        # The edge of a process: whatever happened becomes its exit status.
        code = ENDS.get(type(error), 1)
        if code == 1:
            traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
