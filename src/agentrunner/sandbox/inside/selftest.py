"""Tries to get out, and says what came of each try: one line of JSON. Run behind the wall that is to be judged.

Started as `python -I selftest.py JSON`, where JSON names a secret file, addresses that somebody listens on, and a place
to write. Whoever started it also looks from outside, and does not take its word where there is something to see.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

_PTRACE_SEIZE, _CLONE_NEWUSER = 0x4206, 0x10000000  # seizing, unlike attaching, does not stop its victim
_BEATS = 20


def main(given: dict[str, Any]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    attacks: dict[str, Callable[[], bool]] = {
        "secret": lambda: given["mark"] in _read(given["secret"]),
        "environment": lambda: any(given["mark"] in _read(f"/proc/{pid}/environ") for pid in ("self", 1, os.getppid())),
        "tcp": lambda: bool(socket.create_connection(("127.0.0.1", given["tcp"]), 1).getpeername()),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", given["udp"])) < 0,
        "unix": lambda: socket.socket(socket.AF_UNIX).connect("\0" + given["unix"]) is None,
        "write": lambda: _write(given["outside"]) < 0,
        "ptrace": lambda: libc.ptrace(_PTRACE_SEIZE, os.getppid(), 0, 0) == 0,
        "unshare": lambda: libc.unshare(_CLONE_NEWUSER) == 0,
        "daemon": lambda: _daemon(given["beat"]),
    }
    found: dict[str, bool] = {}
    for name, attack in attacks.items():
        try:
            found[name] = attack()
        except OSError:
            found[name] = False
    with open("control", "w") as file:  # noqa: PTH123
        file.write("42")
    print(json.dumps(found))


def _read(path: str) -> str:
    with open(path, errors="replace") as file:  # noqa: PTH123
        return file.read(1 << 20)


def _write(path: str) -> int:
    with open(path, "w") as file:  # noqa: PTH123
        return file.write("x")


def _daemon(path: str) -> bool:
    """Leaves a process behind that goes on writing; only from outside can it be seen whether it lives on."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for beat in range(_BEATS):
                with open(path, "w") as file:  # noqa: PTH123
                    file.write(str(beat))
                time.sleep(0.1)
        os._exit(0)
    return False


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
