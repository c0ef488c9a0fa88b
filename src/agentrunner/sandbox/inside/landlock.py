"""The wall where namespaces cannot be had: Landlock for files, the filter for sockets, limits for the rest.

It hides no process and replaces no folder; what it leaves open is said by the agent whenever it is used.
"""

from __future__ import annotations

import os
import struct

from . import kernel, launcher

TYPE_CHECKING = False  # as in launcher.py
if TYPE_CHECKING:
    from typing import NoReturn

_NR_CREATE_RULESET, _NR_ADD_RULE, _NR_RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REFER, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 13, 1 << 14, 1 << 15
_MAKE_NODES = (1 << 6) | (1 << 9) | (1 << 10) | (1 << 11)
"""Devices, sockets, named pipes."""
_ALL_OF_FIRST_VERSION = (1 << 13) - 1
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


def version() -> int:
    """Landlock's version here; 0 when the kernel has none or refuses it."""
    try:
        return kernel.syscall(_NR_CREATE_RULESET, None, 0, 1, about="landlock")
    except OSError:
        return 0


def confine_and_start(plan: launcher.Plan) -> NoReturn:
    """Called in the guard's child."""
    launcher.tie_to_parent(plan)
    os.setsid()
    if plan["confined"]:
        kernel.drop_capabilities()
        kernel.no_new_privileges()
        _restrict(plan["readable"], plan["writable"], plan["devices"])
        kernel.install_filter(plan["filter"])
    launcher.start(plan)


def _restrict(readable: list[str], writable: list[str], devices: list[str]) -> None:
    found = version()
    handled = _ALL_OF_FIRST_VERSION
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        if found >= since:
            handled |= right
    network = 3 if found >= 4 else 0  # binding and connecting TCP; nothing is allowed
    scopes = 3 if found >= 6 else 0  # abstract sockets and signals stay among these processes
    attributes = struct.pack("QQQ", handled, network, scopes)[: 24 if found >= 6 else 16 if found >= 4 else 8]
    ruleset = kernel.syscall(_NR_CREATE_RULESET, attributes, len(attributes), 0, about="landlock_create_ruleset")
    for paths, rights in (
        (readable, _READ),
        (writable, handled & ~_MAKE_NODES & ~_IOCTL_DEV),
        (devices, _READ_FILE | _WRITE_FILE),
    ):
        for path in paths:
            _allow(ruleset, path, rights & handled)
    kernel.syscall(_NR_RESTRICT_SELF, ruleset, 0, about="landlock_restrict_self")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not on this machine
        return
    if os.fstat(fd).st_mode & 0o170000 != 0o040000:
        rights &= _OF_FILES
    rule = struct.pack("=Qi", rights, fd)
    kernel.syscall(_NR_ADD_RULE, ruleset, 1, rule, 0, about=f"landlock_add_rule {path}")
    os.close(fd)
