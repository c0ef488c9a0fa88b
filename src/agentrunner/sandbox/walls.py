"""Which walls this machine can build, best first; what each lacks; and what to do where none can be had."""
# ruff: noqa: PTH111, PTH116, PTH118, PTH120 - plain strings, as the kernel takes them

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from agentrunner.errors import SandboxError

from . import bwrap
from .group import TaskGroup
from .inside import landlock, seccomp
from .launch import Launcher, Wall, launch
from .plan import Step, mounts
from .private import PrivateFolder
from .values import Limits

Level = Literal["FULL", "PARTIAL", "NONE"]

_TRY_OUT_S = 10.0
"""A wall stands after some 20 ms; this is for a machine that swaps."""
_SPARE_IDS = (1_879_048_192, 1 << 24)
"""First and count: user ids above those that accounts, containers and service managers hand out, and below 2^31."""
_WRAPPERS = "/.agent/bin"
_UNBOUNDED = "root's files cannot be id-mapped and no control group can be made, so processes could not be counted"


class Offer(NamedTuple):
    level: Level
    launcher: Launcher
    unprivileged: bool = True
    """Whether root becomes somebody else behind it; nothing to ordinary users."""


def offers(level: str, launcher: str) -> list[Offer]:
    """What could satisfy `level` and `launcher`, best first."""
    if level == "none":
        return [Offer("NONE", "none")]
    if level == "partial":
        return [Offer("PARTIAL", "landlock")]
    root = os.geteuid() == 0
    native = [Offer("FULL", "native")] + ([Offer("FULL", "native", unprivileged=False)] if root else [])
    bubble = [Offer("FULL", "bwrap")] + ([Offer("FULL", "bwrap", unprivileged=False)] if root else [])
    if launcher == "auto":
        both = [bubble[0], native[0], *bubble[1:], *native[1:]]
        full = both if bwrap.version() else native
    else:
        full = bubble if launcher == "bwrap" else native
    return [*full, Offer("PARTIAL", "landlock")] if level == "auto" else full


def build(offer: Offer, workspace: str, limits: Limits, environment: Mapping[str, str], place: str = "") -> Wall:
    """Nothing is started yet. Below FULL it makes a private temporary folder, which `Wall.discard`
    removes. `place` is where the workspace is mounted a second time; only FULL can do that."""
    full = offer.level == "FULL"
    private = None if full else PrivateFolder.make()
    tmp = private.path if private else ""
    wrappers = _wrappers()
    fonts = tuple(_font_lists(workspace))
    if tmp:
        _fill(tmp, wrappers, fonts)
    own = [os.getuid(), os.getgid()]
    state = os.stat(workspace)
    owner = [state.st_uid, state.st_gid] if os.geteuid() == 0 else own
    path = [os.path.join(tmp, "bin") if tmp else _WRAPPERS] if wrappers else []
    machine = os.uname().machine
    second = (Step("bind", place, workspace, writable=True, own="workspace"),) if place and full else ()
    host_ids = _spare_ids() if full and offer.unprivileged and os.geteuid() == 0 else None
    return Wall(
        launcher=offer.launcher,
        workspace=workspace,
        limits=limits,
        environment={**_environment(tmp or "/tmp", path), **environment},  # noqa: S108 - a private one
        filter=seccomp.assemble(machine, network=full) if machine in seccomp.AUDIT_ARCH else b"",
        mounts=() if tmp else tuple(mounts(workspace, owner[0], owner[1], (*wrappers, *fonts, *second))),
        host_ids=host_ids,
        owners={"workspace": owner, "caller": own},
        private=private,
        place=place if full else "",
        group=_task_group(limits) if os.geteuid() == 0 and not host_ids else None,
    )


def _task_group(limits: Limits) -> TaskGroup | None:
    try:
        return TaskGroup(limits.tasks)
    except OSError:
        return None


def try_out(wall: Wall) -> str:
    """Builds it once around nothing. Empty when that worked, else why not."""
    if not wall.filter:
        return f"there is no system-call filter for {os.uname().machine}"
    if wall.launcher == "bwrap" and not bwrap.version():
        return f"{bwrap.PATH} is not installed"
    if wall.launcher == "landlock" and not landlock.version():
        return "this kernel has no Landlock, or it is switched off"
    if wall.launcher in ("bwrap", "native") and os.geteuid() == 0 and not (wall.host_ids or wall.group):
        return _UNBOUNDED
    try:
        child = launch(wall, ["true"] if wall.launcher == "bwrap" else [])
    except SandboxError as failure:
        return failure.message
    try:
        code = child.process.wait(_TRY_OUT_S)
        told = child.failure() or os.read(child.stderr, 4096).decode(errors="replace").strip()
        return "" if code == 0 else told or f"it ended with exit code {code}"
    except subprocess.TimeoutExpired:
        return f"it did not answer within {_TRY_OUT_S:g} s"
    finally:
        child.discard()


# --- what programs find ------------------------------------------------------------------------------------------


def _environment(tmp: str, path: list[str]) -> dict[str, str]:
    """All of it: nothing of the agent's own environment is passed on."""
    threads = str(min(4, os.cpu_count() or 1))
    folders = [*path, os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": ":".join(dict.fromkeys(folders)),
        "HOME": tmp,
        "TMPDIR": tmp,
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "GIT_CONFIG_NOSYSTEM": "1",  # one in /etc that it may not read would end it
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": f"{tmp}/mpl",
        # one thread per core of a big machine would use up the memory limit for stacks and buffers
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }


def _wrappers() -> tuple[Step, ...]:
    """`python` and `python3` for an interpreter whose folder lacks one of these names, or has another Python there."""
    folder = Path(sys.executable).parent
    real = Path(sys.executable).resolve()
    script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'.encode()
    missing = [name for name in ("python", "python3") if (folder / name).resolve() != real]
    return tuple(Step("file", f"{_WRAPPERS}/{name}", data=script) for name in missing)


def _fill(tmp: str, wrappers: tuple[Step, ...], fonts: tuple[Step, ...]) -> None:
    """What is mounted at the full level lies in the private folder here."""
    for folder in ("bin", "mpl"):
        Path(tmp, folder).mkdir()
    for wrapper in wrappers:
        path = Path(tmp, "bin", Path(wrapper.target).name)
        path.write_bytes(wrapper.data)
        path.chmod(wrapper.mode)
    for font_list in fonts:
        shutil.copyfile(font_list.source, Path(tmp, "mpl", Path(font_list.target).name))


def _font_lists(workspace: str) -> Iterator[Step]:
    """matplotlib's list of fonts, if it was ever made on this machine: making it takes longer than a plot."""
    if workspace in ("/tmp", "/tmp/mpl"):  # noqa: S108 - nothing is ever put into the workspace
        return
    home = Path(os.environ.get("MPLCONFIGDIR") or os.path.expanduser("~/.cache/matplotlib"))
    for path in sorted(home.glob("fontlist-v*.json")):
        if path.is_file():
            yield Step("bind", f"/tmp/mpl/{path.name}", str(path.resolve()), own="caller", optional=True)  # noqa: S108


def _spare_ids() -> tuple[int, int] | None:
    """A user and group id of this host that nobody uses; None where root of a container has no ids to spare."""
    first, count = _SPARE_IDS
    chosen = first + secrets.randbelow(count)
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        start, _, length = map(int, line.split())
        if start <= chosen < start + length:
            return chosen, chosen
        if length > 1000:
            spare = start + length - 1 - secrets.randbelow(500)
            return spare, spare
    return None


# --- what is told to people --------------------------------------------------------------------------------------


def lacking(offer: Offer, wall: Wall) -> tuple[str, ...]:
    """What people and the model must know about this wall, in sentences; nothing for a full one."""
    if offer.level == "NONE":
        return ("there is no sandbox: code and commands can do whatever you can do",)
    if offer.level == "PARTIAL":
        found = [
            ".env files and .git in the workspace can be read, and .git can be changed",
            "programs can see that other processes exist",
            "programs can learn of any path outside whether it is there, how large it is, where a link leads and what "
            "its extended attributes say",
            "programs can set the times of those of your files that they can read",
            "modes and owners of files cannot be changed: by path it is refused, by descriptor nothing happens",
        ]
        if os.geteuid():
            found.append("the number of processes is counted together with your other ones")
        elif wall.group is None:
            found.append("the number of processes is watched but not limited, since this is root")
        if landlock.version() < 6:
            found.append("programs can send signals to your other processes (Linux 6.12 closes this)")
        if landlock.version() < 3:
            found.append("files that can be read can also be emptied (Linux 6.2 closes this)")
        return tuple(found)
    return ()


def remedy(refusals: list[str]) -> str:
    """What to do about it, by what was refused and what this machine says about itself."""
    refused = "; ".join(refusals)
    if _UNBOUNDED in refused:
        return "run it as an ordinary user, or with a workspace on ext4, xfs, btrfs or tmpfs"
    if not any(word in refused for word in ("unshare", "mount", "namespace", "permitted", "uid map", "not installed")):
        return "`agent doctor` tries each way and says what is missing"
    if _reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor keeps programs from making user namespaces: install bubblewrap and apparmor-profiles, copy "
            "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict to /etc/apparmor.d/, then run "
            "`sudo apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict`"
        )
    if _reads("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are switched off: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _reads("/proc/sys/user/max_user_namespaces") == "0":
        return "user namespaces are switched off: sudo sysctl -w user.max_user_namespaces=15000"
    if f"{bwrap.PATH} is not installed" in refused:
        return "install it: sudo apt install bubblewrap (or dnf, pacman, apk); not the package of that name on PyPI"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "this container refuses namespaces: start it with a seccomp profile that allows unshare and mount"
    return "`agent doctor` tries each way and says what is missing"


def _reads(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
