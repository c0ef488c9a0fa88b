"""Starts one program behind the wall and guards it: the first process of our own launchers.

Started as `python -I -S -c "... main(FD)"` with an empty environment, so that no process of the sandbox is a fork of
the agent. FD is a socket over which a marshalled plan comes (json would cost more to import than the rest of this file
to run), with the descriptors that it speaks of; that may take a while. The guard stays outside; it ends everything when
the program ends, or when its lifeline closes because the agent is gone or wants it so, and the kernel ends everything
when the guard itself is killed.
"""
# ruff: noqa: PTH123, PTH208, SIM105 - pathlib and contextlib are not loaded here

from __future__ import annotations

import marshal
import os
import select
import struct

from . import kernel, listen

TYPE_CHECKING = False  # importing typing, and enum for the public signal module, takes longer than building the wall
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from socket import CMSG_LEN, socket
    from typing import Any, NoReturn

    Plan = dict[str, Any]
else:
    import _signal as signal
    from _socket import CMSG_LEN, socket
"""Plan: argv, env, cwd, rlimits [(number, value)], filter (bytes), keep (fds that the program inherits), lifeline and
status (fds), and what its `kind` reads: "namespaces" (namespaces.py; also door, an fd over which the proxy's socket is
handed out, or -1), "landlock" (landlock.py), or "bubblewrap" (of which argv is the whole command; namespaces.py lays
root's files out for it)."""

SETUP_FAILED = 125
_READ_BYTES = 1 << 18
_MAX_FDS = 253
"""The kernel's own limit for one message."""


def main(control_fd: int) -> NoReturn:
    plan = _receive(control_fd)
    kernel.close_all_but({*plan["keep"], plan["lifeline"], plan["status"], plan["door"]})
    os.set_inheritable(plan["status"], plan["kind"] == "bubblewrap")  # which says there whether the program ran
    if plan["kind"] == "namespaces":  # elsewhere the guard outlives the agent: nobody else would end the program
        kernel.die_with_parent(signal.SIGKILL)
    try:
        guard(plan)
    except OSError as failure:
        fail(plan, failure)


def _receive(control_fd: int) -> Plan:
    """Descriptors get the numbers that they have at the agent, but for the first three."""
    control = socket(fileno=control_fd)
    data, ancillary, _, _ = control.recvmsg(_READ_BYTES, CMSG_LEN(4 * _MAX_FDS))
    if not data:  # the agent needs nothing more, or is gone
        os._exit(0)
    length, count = struct.unpack_from("<II", data)
    numbers = struct.unpack_from(f"<{count}I", data, 8)
    plan = data[8 + 4 * count :]
    while len(plan) < length:
        plan += control.recv(length - len(plan)) or os._exit(0)
    control.close()
    received = [fd for _, _, packed in ancillary for fd in struct.unpack_from(f"={len(packed) // 4}i", packed)]
    free = max(*numbers, *received) + 1
    for place, fd in enumerate(received, free):  # out of the way first: a number may be another one's place
        os.dup2(fd, place)
    for place, number in enumerate(numbers, free):
        os.dup2(place, number)
    return marshal.loads(plan)  # noqa: S302 - written by the process that started this one


def guard(plan: Plan) -> NoReturn:
    """Runs the plan in a child and leaves with its exit code, 128 + n for signal n."""
    if plan["kind"] == "namespaces":
        from . import namespaces

        child = _fork(plan, namespaces.enter(plan))
        code = _wait(child, plan["lifeline"], lambda: os.kill(child, signal.SIGKILL))
    else:
        kernel.adopt_orphans()
        child = _fork(plan, _bubble(plan) if plan["kind"] == "bubblewrap" else _landlock(plan))
        code = _wait(child, plan["lifeline"], kill_descendants)
        end_descendants()
    os._exit(code)


def _landlock(plan: Plan) -> Callable[[], NoReturn]:
    from . import landlock

    return lambda: landlock.confine_and_start(plan)


def _bubble(plan: Plan) -> Callable[[], NoReturn]:
    """bubblewrap alone would outlive an agent that is killed in the moment in which it asks the kernel not to."""

    def start() -> NoReturn:
        if plan["host_ids"]:
            from . import namespaces

            namespaces.become_mapped(plan)
        tie_to_parent(plan)
        os.execve(plan["argv"][0], plan["argv"], {})  # noqa: S606 - a fixed path

    return start


def fail(plan: Plan, failure: OSError) -> NoReturn:
    """Tells the agent why there is no sandbox; the program was not started."""
    text = f"{failure.filename or 'set-up'}: {failure.strerror}"
    os.write(plan["status"], text.encode(errors="replace")[:4000])
    os._exit(SETUP_FAILED)


def _fork(plan: Plan, body: Callable[[], NoReturn]) -> int:
    parent_end, child_end = os.pipe()
    child = os.fork()
    if child:
        os.close(parent_end)
        for fd in (0, 1, 2, *plan["keep"], plan["status"], *_door(plan)):
            os.close(fd)
        return child  # the write end stays open as long as the guard lives
    os.close(child_end)
    os.close(plan["lifeline"])
    plan["parent"] = parent_end
    try:
        body()
    except OSError as failure:
        fail(plan, failure)


def _door(plan: Plan) -> list[int]:
    return [plan["door"]] if plan["door"] >= 0 else []


def tie_to_parent(plan: Plan) -> None:
    """Die when the guard dies, also when it died before this line. To be called again after the user id changed."""
    kernel.die_with_parent(signal.SIGKILL)
    gone = select.poll()
    gone.register(plan["parent"], select.POLLIN)
    if gone.poll(0):
        os._exit(SETUP_FAILED)


def _wait(child: int, lifeline: int, end: Callable[[], None]) -> int:
    """The child's exit code, once it has ended; `end` is called if the lifeline closes first."""
    waiting = select.poll()
    ended = os.pidfd_open(child)
    waiting.register(ended, select.POLLIN)
    waiting.register(lifeline, select.POLLIN)
    while ended not in [fd for fd, _ in waiting.poll()]:
        waiting.unregister(lifeline)
        end()
    return _exit_code(os.waitpid(child, 0)[1])


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def start(plan: Plan) -> NoReturn:
    """Limits, then the program itself. Nothing to run means that only the set-up was wanted."""
    for number, value in plan["rlimits"]:
        kernel.set_limit(number, value)
    if not plan["argv"]:
        os._exit(0)
    try:
        os.chdir(plan["cwd"])
    except OSError as failure:
        os.write(2, f"{plan['cwd']}: {failure.strerror}\n".encode())
        os._exit(126)
    listen.execute(plan["argv"], plan["env"])


def run_as_first(plan: Plan) -> NoReturn:
    """As process 1 of a pid namespace: starts the program, buries every orphan, and leaves with the program's code. The
    kernel then ends whatever is left."""
    program = os.fork()
    if not program:
        os.setsid()
        start(plan)
    for fd in (0, 1, 2, *plan["keep"], plan["status"], plan["parent"]):
        os.close(fd)
    while True:
        ended, status = os.wait()
        if ended == program:
            os._exit(_exit_code(status))


def end_descendants() -> None:
    """Kills and buries all that came from here."""
    try:
        while True:
            kill_descendants()
            os.wait()
            while os.waitpid(-1, os.WNOHANG)[0]:  # many at once: looking for more takes longer the more there are
                pass
    except ChildProcessError:
        return


def kill_descendants() -> None:
    """For want of a pid namespace: freeze until no new process is seen, so that none gets away, then kill."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)  # where root's processes are not limited in number, they are many
    except OSError:  # an ordinary user's are
        pass
    frozen: set[int] = set()
    while _freeze(frozen):
        pass
    for pid in frozen:
        _signal(pid, signal.SIGKILL)


def _freeze(frozen: set[int]) -> bool:
    """Whether there were new ones. A parent is stopped before its children are listed, so it makes no more of them."""
    before = len(frozen)
    waiting = [os.getpid()]
    while waiting:
        for pid in _children(waiting.pop()):
            if pid not in frozen:
                _signal(pid, signal.SIGSTOP)
                frozen.add(pid)
            waiting.append(pid)
    return len(frozen) > before


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:  # it ended while it was looked at
        return found
    return found
