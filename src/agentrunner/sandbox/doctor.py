"""Says what holds on this machine by trying to break it: each launcher is used once, and ten attacks are run inside.

The level is the best whose attacks were all refused. Nothing is concluded from settings; they only explain a failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentrunner.errors import SandboxError

from .box import Sandbox
from .group import OWN_TASKS
from .plan import check_workspace
from .values import Limits
from .walls import Level, Offer, build, lacking, offers, remedy, try_out

_TASKS = 32
_FORKS = (
    "import os, time\nn = 0\nfor i in range(60):\n try:\n  if os.fork() == 0: time.sleep(1); os._exit(0)\n  n += 1\n"
    " except OSError: break\nprint(n, flush=True); time.sleep(0.3)"
)
"""Tries 60 where 32 are allowed, and stays long enough to be counted from outside."""
_SURVIVAL_S = 0.3
_ATTACKS = ("secret", "environment", "tcp", "udp", "unix", "write", "ptrace", "unshare", "daemon", "fork")


@dataclass(frozen=True, slots=True)
class Check:
    """One way to build a sandbox, and how it fared. `cause` and `remedy` are empty where it works."""

    level: Level
    launcher: str
    works: bool
    cause: str = ""
    remedy: str = ""
    refused: int = 0
    of: int = len(_ATTACKS)
    succeeded: tuple[str, ...] = ()
    """Attacks that were not refused."""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """`level` and `launcher` are what `auto` can rely on here."""

    level: Level
    launcher: str
    lacks: tuple[str, ...]
    checks: tuple[Check, ...]
    system: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        """For people: the verdict, then each way that was tried."""
        how = "" if self.level == "NONE" else f" by {self.launcher}"
        lines = [f"sandbox        {self.level}{how}"]
        lines += [f"  lacks        {lack}" for lack in self.lacks]
        for check in self.checks:
            verdict = f"{check.refused} of {check.of} attacks refused" if check.works else f"no: {check.cause}"
            lines.append(f"  {check.launcher:<12} {check.level}, {verdict}")
            if check.remedy:
                lines.append(f"  {'':<12} to mend it: {check.remedy}")
        return "\n".join([*lines, f"system         {self.system}", "not covered    flaws of the kernel, side channels"])


def examine(workspace: Path | None = None) -> Report:
    """Takes about a second. With `workspace` it is tried on the same file system, in a folder that is removed again."""
    system = f"{sys.platform} {os.uname().release} {os.uname().machine}"
    if sys.platform != "linux":
        cause = f"there is no sandbox for {sys.platform} yet"
        check = Check("NONE", "none", False, cause, "use Linux, or WSL 2 on Windows")
        return Report("NONE", "none", (), (check,), system)
    parent = check_workspace(workspace) if workspace else None
    checks: list[Check] = []
    for offer in (*offers("full", "bwrap"), *offers("full", "native"), *offers("partial", "auto")):
        if any(check.launcher == offer.launcher and check.works for check in checks):
            continue  # the same launcher already works in its better form
        folder = Path(tempfile.mkdtemp(prefix=".agent-doctor-", dir=parent))
        try:
            check = _check(offer, folder)
            if (check.launcher, check.cause) not in [(other.launcher, other.cause) for other in checks]:
                checks.append(check)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    best = next((check for check in _preferred(checks) if check.works), None)
    if best is None:
        return Report("NONE", "none", (), tuple(checks), system)
    return Report(best.level, best.launcher, best.lacks, tuple(checks), system)


def _preferred(checks: list[Check]) -> list[Check]:
    """The order of `open_sandbox`: by level, and what lacks nothing first."""
    return sorted(checks, key=lambda check: (check.level != "FULL", len(check.lacks)))


def _check(offer: Offer, folder: Path) -> Check:
    workspace = folder / "workspace"
    workspace.mkdir()
    wall = build(offer, str(workspace.resolve()), Limits(tasks=_TASKS, wall_s=20), {})
    if refusal := try_out(wall):
        wall.discard()
        return Check(offer.level, offer.launcher, False, refusal, remedy([f"{offer.launcher}: {refusal}"]))
    sandbox = Sandbox(wall, offer.level, lacking(offer, wall))
    try:
        succeeded = asyncio.run(_attack(sandbox, folder))
    except (SandboxError, ValueError) as failure:  # it answered something that is no report
        return Check(offer.level, offer.launcher, False, f"the self-test failed: {failure}")
    finally:
        sandbox.close()
    excused = {"fork"} if offer.level == "PARTIAL" and os.geteuid() == 0 and not wall.group else set[str]()
    works = not set(succeeded) - excused
    cause = "" if works else f"these attacks succeeded: {', '.join(succeeded)}"
    return Check(
        offer.level,
        offer.launcher,
        works,
        cause,
        refused=len(_ATTACKS) - len(succeeded),
        succeeded=tuple(succeeded),
        lacks=sandbox.lacks,
    )


async def _attack(sandbox: Sandbox, folder: Path) -> list[str]:
    """The names of the attacks that succeeded."""
    mark = secrets.token_hex(8)
    home = Path.home() if os.access(Path.home(), os.W_OK) else folder
    secret, outside = home / f".agent-doctor-{mark}", folder / "outside"
    secret.write_text(mark)
    os.environ["AGENT_DOCTOR_CANARY"] = mark
    try:
        with (
            closing(socket.create_server(("127.0.0.1", 0))) as tcp,
            closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
            closing(socket.socket(socket.AF_UNIX)) as unix,
        ):
            udp.bind(("127.0.0.1", 0))
            udp.setblocking(False)
            unix.bind("\0" + mark)
            unix.listen()
            given = {"mark": mark, "secret": str(secret), "outside": str(outside), "unix": mark, "beat": "beat"}
            given |= {"tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1]}
            found = await _selftest(sandbox, given)
            found["udp"] = _received(udp)
    finally:
        del os.environ["AGENT_DOCTOR_CANARY"]
        secret.unlink()
    found["write"] = outside.exists()
    found["daemon"] = _still_written(sandbox.workspace / "beat")
    forks = await sandbox.run(["python3", "-c", _FORKS])
    found["fork"] = not forks.stopped and not (
        forks.stdout.strip().isdigit() and int(forks.stdout) <= _TASKS + OWN_TASKS
    )
    return [name for name in _ATTACKS if found.get(name, True)]


async def _selftest(sandbox: Sandbox, given: dict[str, Any]) -> dict[str, bool]:
    program = str(Path(__file__).parent / "inside" / "selftest.py")
    ran = await sandbox.run([sys.executable, "-I", program, json.dumps(given)])
    control = sandbox.workspace / "control"
    if ran.exit_code != 0 or not control.is_file() or control.read_text() != "42":
        raise SandboxError(f"a program that must succeed did not: {ran.stderr.strip()[-300:] or ran.stopped}")
    found = json.loads(ran.stdout.splitlines()[-1])
    return {str(name): succeeded is not False for name, succeeded in dict(found).items()}


def _received(listener: socket.socket) -> bool:
    try:
        return bool(listener.recv(16))
    except BlockingIOError:
        return False


def _still_written(path: Path) -> bool:
    before = path.stat().st_mtime_ns if path.exists() else 0
    time.sleep(_SURVIVAL_S)
    return path.exists() and path.stat().st_mtime_ns != before
