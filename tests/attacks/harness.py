"""A home full of secrets around a workspace, and one program run in there by `agent sandbox run`; judged from outside.

What stands on the host beside it (a victim with a secret, a terminal) is made here; what is attacked is said in the
tables. The program reads where things are from `F`, which names places and never holds a secret itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from agentrunner.sandbox.inside.seccomp import NUMBERS

from .scene import SHARED_FOLDERS, Scene

WALLS = {"bwrap": ("full", "bwrap"), "native": ("full", "native"), "partial": ("partial", "auto")}
OVER = "THE ATTACK IS OVER"
AT_MOST_S = 60.0
_REFUSED = 125

PRELUDE = """
import ctypes, errno, glob, json, os, shutil, socket, stat, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def attempt(action, *arguments):
    try:
        return action(*arguments)
    except OSError as refused:
        print(*[a for a in arguments if isinstance(a, (int, str))], refused)

def show(path):
    def read():
        with open(path, errors='replace') as file:
            print(path, file.read(1 << 20))
    attempt(read)

def processes():
    # Where nothing hides other people's, only what is there for this.
    found = {F['victim']}
    if F['walled']:
        found |= {1, os.getppid(), *map(int, filter(str.isdigit, attempt(os.listdir, '/proc') or ()))}
    return found - {0, os.getpid()}

def put(path, text='pwned\\n', mode='a'):
    def write():
        with open(path, mode) as file:
            file.write(text)
        print('wrote', path)
    attempt(write)

def call(name, *arguments):
    number = F['calls'].get(name)  # None: not on this architecture
    if number is not None:
        passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
        answer = libc.syscall(ctypes.c_long(number), *passed)
        print('KERNEL:' if answer >= 0 else 'refused:', name, answer, os.strerror(ctypes.get_errno()))
        return answer
"""
"""What every program has: tries that may be refused, and system calls by name."""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    seconds: float
    raw: bytes = b""
    """Standard output as it came."""

    @property
    def refused(self) -> bool:
        """Nothing was run, since no such sandbox may be had here."""
        return self.code == _REFUSED


Judge = Callable[[Scene, Ran], str]
"""Says in a few words what escaped; empty when the wall held."""


@dataclass(frozen=True)
class Attack:
    id: str
    program: str
    judge: Judge
    slow: bool = True
    limits: tuple[str, ...] = ()
    exposed: bool = False
    """Needs a workspace that holds `.git` and `.env`."""
    bites: bool = True
    """Does its harm, within this test's own things, where there is no wall: which shows that the judge can see it."""
    ends: bool = True
    """Comes to its own end; False for what a limit stops."""
    terminal: bool = False
    """The agent is started at a terminal."""
    host: Callable[[Scene], AbstractContextManager[Mapping[str, Any]]] = field(
        default=lambda scene: contextlib.nullcontext({})
    )
    """What stands on the host meanwhile; its facts are added to `F`."""


def run_attack(scene: Scene, wall: str, attack: Attack, options: tuple[str, ...] = ()) -> Ran:
    """`wall`: a name of `WALLS`, or "" for none at all. `options`: more of the agent's."""
    with ExitStack() as around:
        facts = (
            scene.facts() | {"calls": calls(), "walled": bool(wall)} | dict(around.enter_context(attack.host(scene)))
        )
        if not wall:  # nothing is made in the system's folders when nothing would prevent it
            facts["plant"] = [path for path in facts["plant"] if path.startswith((*SHARED_FOLDERS, str(scene.place)))]
            facts["homes"] = [str(scene.home)]
        program = f"{PRELUDE}\nF = json.loads({json.dumps(facts)!r})\n{attack.program}\nprint({OVER!r}, flush=True)"
        command = ["python3", "-c", program] if wall else [sys.executable, "-c", program]
        options = (*options, *(word for limit in attack.limits for word in ("--limit", limit)))
        return run(scene, wall, command, options, attack.terminal)


def run(scene: Scene, wall: str, command: list[str], options: tuple[str, ...] = (), terminal: bool = False) -> Ran:
    """One command behind that wall, with all that the scene holds within the agent's reach."""
    if wall:
        level, launcher = WALLS[wall]
        given = ["--workspace", str(scene.workspace), "--sandbox", level, "--sandbox-launcher", launcher, *options]
        command = scene.agent.command("sandbox", "run", *given, "--", *command)
    cwd = scene.agent.folder if wall else scene.workspace
    began = time.monotonic()
    with standard_input(terminal) as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=scene.environment(),
            stdin=stdin,
            stdout=out,
            stderr=err,
            pass_fds=scene.held_open,
            start_new_session=True,
            preexec_fn=_take_terminal if terminal else None,
        )
        try:
            process.wait(AT_MOST_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        seconds = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        raw = out.read()
        return Ran(process.returncode, raw.decode(errors="replace"), err.read().decode(errors="replace"), seconds, raw)


@contextlib.contextmanager
def standard_input(terminal: bool) -> Iterator[int]:
    """A terminal's end, or nothing."""
    if not terminal:
        yield subprocess.DEVNULL
        return
    host_end, program_end = pty.openpty()
    try:
        yield program_end
    finally:
        os.close(host_end)
        os.close(program_end)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def calls() -> dict[str, int | None]:
    """The numbers of this machine's system calls."""
    column = ("x86_64", "aarch64").index(os.uname().machine)
    return {name: numbers[column] for name, numbers in NUMBERS.items()}


# --- judges ------------------------------------------------------------------------------------------------------


def no_secret(scene: Scene, ran: Ran) -> str:
    """Nothing that lies outside was printed, or brought into the workspace."""
    if scene.secret in ran.out + ran.err:
        line = next(line for line in (ran.out + ran.err).splitlines() if scene.secret in line)
        return f"a secret was read: {line[:300]}"
    for path in scene.workspace.rglob("*"):
        if path.is_file() and not path.is_symlink() and scene.secret.encode() in path.read_bytes()[: 1 << 20]:
            return f"a secret was brought to {path}"
    return ""


def unchanged(scene: Scene, ran: Ran) -> str:
    """Nothing outside of the workspace was made, changed or removed."""
    found = [*scene.changes(), *(f"{path} was made" for path in scene.planted())]
    return "; ".join(found)


def unmarked(*markers: str) -> Judge:
    """The kernel refused: no line of the program begins with a marker."""

    def judge(scene: Scene, ran: Ran) -> str:
        return "; ".join(line for line in ran.out.splitlines() if line.startswith(markers))[:500]

    return judge


def both(*judges: Judge) -> Judge:
    return lambda scene, ran: "; ".join(filter(None, (judge(scene, ran) for judge in judges)))
