"""Disks that break: the kernel itself refuses to write or to sync, for one process from a moment on, by a filter that
any process may lay over itself."""

from __future__ import annotations

import errno
import platform
import struct

from agentrunner.sandbox.inside import kernel, seccomp

FAULTS = ("write EIO", "write ENOSPC", "sync EIO")
_CALLS: dict[str, dict[str, tuple[int, ...]]] = {
    "x86_64": {"write": (18, 296, 328), "sync": (74, 75)},
    "aarch64": {"write": (68, 70, 287), "sync": (82, 83)},
}
"""What SQLite writes with (pwrite64, pwritev, pwritev2) and syncs with (fsync, fdatasync)."""


def missing() -> str:
    """Why no disk can be broken here; empty when it can."""
    return "" if platform.machine() in _CALLS else f"system calls of {platform.machine()} are not known"


def break_disk(fault: str) -> None:
    """From now on this thread's calls of that kind fail, for good."""
    what, _, name = fault.partition(" ")
    machine = platform.machine()
    calls, failure = _CALLS[machine][what], seccomp.ERRNO | getattr(errno, name)
    program = [_load(4), _unless(seccomp.AUDIT_ARCH["x86_64" if machine == "x86_64" else "aarch64"], len(calls) + 1)]
    program.append(_load(0))
    program += [_when(number, len(calls) - position) for position, number in enumerate(calls)]
    program += [_return(seccomp.ALLOW), _return(failure)]
    kernel.no_new_privileges()
    kernel.install_filter(b"".join(program))


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", 0x20, 0, 0, offset)


def _when(value: int, skip: int) -> bytes:
    """Leave out `skip` instructions when the loaded word is `value`."""
    return struct.pack("=HBBI", 0x15, skip, 0, value)


def _unless(value: int, skip: int) -> bytes:
    return struct.pack("=HBBI", 0x15, 0, skip, value)


def _return(what: int) -> bytes:
    return struct.pack("=HBBI", 0x06, 0, 0, what)
