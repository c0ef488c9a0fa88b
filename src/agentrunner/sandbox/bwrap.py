"""Says in bubblewrap's own words what the sandbox is: one list of steps, one program, its limits.

Only `/usr/bin/bwrap` is ever used: one found on a search path could come from the workspace.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .plan import Step

PATH = "/usr/bin/bwrap"
_PRLIMIT = "/usr/bin/prlimit"
_NAMESPACES = ("user", "pid", "net", "ipc", "uts", "cgroup-try")
_LIMIT_OPTIONS = {
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_CPU: "cpu",
    resource.RLIMIT_DATA: "data",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_MEMLOCK: "memlock",
    resource.RLIMIT_NPROC: "nproc",
    getattr(resource, "RLIMIT_MSGQUEUE", 12): "msgqueue",
}


@cache
def version() -> tuple[int, ...]:
    """Of the installed bubblewrap; empty when there is none."""
    if not Path(PATH).exists():
        return ()
    shown = subprocess.run([PATH, "--version"], env={}, capture_output=True, text=True, timeout=5, check=False).stdout
    words = shown.split()
    return tuple(int(part) for part in words[-1].split(".") if part.isdigit()) if words else ()


def command(
    steps: Sequence[Step],
    program: dict[str, Any],
    root_bytes: int,
    status_fd: int,
    file_of: Callable[[bytes], int],
    ids: Sequence[int] | None,
) -> list[str]:
    """The arguments. `file_of` makes a file of bytes and answers its descriptor, which bubblewrap inherits. `ids`: the
    user and group that the program sees itself as, if that is somebody else."""
    options = [f"--unshare-{name}" for name in _NAMESPACES]
    if ids:
        options += ["--uid", str(ids[0]), "--gid", str(ids[1])]
    if version() >= (0, 8):  # older ones leave it to the filter
        options.append("--disable-userns")
    options += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv"]
    for name, value in program["env"].items():
        options += ["--setenv", name, value]
    options += ["--size", str(root_bytes), "--tmpfs", "/"]
    for step in steps:
        options += _options(step, file_of)
    # Process 1 is bubblewrap's own, of the same user and without limits: who could write its memory would be it.
    options += ["--perms", "0555", "--size", "4096", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1"]
    options += ["--remount-ro", "/", "--chdir", program["cwd"]]
    options += ["--seccomp", str(file_of(program["filter"])), "--json-status-fd", str(status_fd)]
    # By a file, since arguments can be read in /proc by every user of the machine.
    arguments = file_of(b"".join(os.fsencode(option) + b"\0" for option in options))
    limits = [f"--{_LIMIT_OPTIONS[number]}={value}:{value}" for number, value in program["rlimits"]]
    return [PATH, "--args", str(arguments), "--", _PRLIMIT, *limits, "--", *program["argv"]]


def _options(step: Step, file_of: Callable[[bytes], int]) -> list[str]:
    mode = f"{step.mode:04o}"
    if step.kind == "tmpfs":
        return ["--perms", mode, "--size", str(step.size_bytes), "--tmpfs", step.target]
    if step.kind == "dir":
        return ["--perms", mode, "--dir", step.target]
    if step.kind == "proc":
        return ["--proc", step.target]
    if step.kind == "symlink":
        return ["--symlink", step.source, step.target]
    if step.kind == "file":
        return ["--perms", mode, "--ro-bind-data", str(file_of(step.data)), step.target]
    kind = "--dev-bind" if step.devices else "--bind" if step.writable else "--ro-bind"
    return [kind + ("-try" if step.optional else ""), step.source, step.target]
