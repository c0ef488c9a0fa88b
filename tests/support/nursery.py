"""The process that `agent` is forked from where tests use it often: it has imported what the program imports, so that a
command takes as long as what it does, and not half a second more. `forks.py` gives it the commands.

What a fork does not go through is the start of an interpreter; tests that are about that start a process of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import agentrunner.cli

ROOMS = ("cli", "engine", "journal", "llm", "render", "retrieval", "runner", "sandbox", "strategies", "tools")
OTHERS = ("aiohttp", "jinja2.sandbox", "jsonschema", "pydantic_settings", "rich.live", "tenacity", "yaml")
"""What the program imports only where it is used."""


class Fork(NamedTuple):
    pid: int
    asking: socket.socket
    """Who wants to know how it ends."""


def main() -> None:
    status = [0]
    # Before anything else that waits for the end, so after all of it.
    atexit.register(leave, status)
    rooms = [importlib.import_module(f"agentrunner.{room}") for room in ROOMS]
    files = [module.name for room in rooms for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")]
    for name in (*files, *OTHERS):
        importlib.import_module(name)
    gc.freeze()
    # A Ctrl-C is for the tests, which then close the orders.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not by epoll, in which a fork that forgets the others would make the nursery forget them too.
    with socket.socket(fileno=os.dup(0)) as orders, selectors.PollSelector() as forks:
        forks.register(orders, selectors.EVENT_READ)
        in_a_fork = wait_for_orders(orders, forks)
    if in_a_fork:
        status[0] = 1
        try:
            agentrunner.cli.main()
        except SystemExit as end:
            status[0] = end.code if isinstance(end.code, int) else 1
            raise


def leave(status: list[int]) -> None:
    """Here ends what an interpreter does at its end, but for freeing its memory: a fork would have to copy it first."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status[0])


def wait_for_orders(orders: socket.socket, forks: selectors.BaseSelector) -> bool:
    """Comes back once in each fork, with True, and here when nobody is there any more to give orders."""
    while True:
        for key, _ in forks.select():
            if key.fileobj is not orders:
                fork: Fork = key.data
                code = os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1])
                with contextlib.suppress(BrokenPipeError):  # nobody waits any more
                    fork.asking.sendall(b"%d\n" % code)
                forget(forks, key)
                continue
            order, descriptors, _, _ = socket.recv_fds(orders, 1, 4)
            if not order:
                return False
            asking, *streams = descriptors
            fork = Fork(0, socket.socket(fileno=asking))
            with fork.asking.makefile("rb") as line:
                wanted = json.loads(line.readline())
            if not (pid := os.fork()):
                fork.asking.close()
                for key in list(forks.get_map().values()):
                    if key.fileobj is not orders:
                        forget(forks, key)
                become(wanted["arguments"], wanted["cwd"], wanted["environment"], streams)
                return True
            for stream in streams:
                os.close(stream)
            fork.asking.sendall(b"%d\n" % pid)
            forks.register(os.pidfd_open(pid), selectors.EVENT_READ, fork._replace(pid=pid))


def forget(forks: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    forks.unregister(key.fileobj)
    os.close(key.fd)
    key.data.asking.close()


def become(arguments: list[str], cwd: str, environment: dict[str, str], streams: list[int]) -> None:
    """All that a process is given when it is started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    sys.path[0] = cwd
    sys.argv = [str(Path(agentrunner.__file__).with_name("__main__.py")), *arguments]
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)


if __name__ == "__main__":
    main()
