"""Decides what the sandbox can see: a list of mounts that both launchers carry out in order.

Looks at the machine (where the interpreter lies, what the workspace holds) but changes nothing.
"""
# ruff: noqa: PTH109, PTH100, PTH110, PTH111, PTH112, PTH114, PTH115, PTH118, PTH119, PTH120 - plain strings, as the kernel takes them

from __future__ import annotations

import os
import stat
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentrunner.errors import SandboxError

TMP_BYTES, SHM_BYTES, ROOT_BYTES = 256 << 20, 64 << 20, 64 << 20
"""Private memory file systems. They fill only as they are used; no resource limit of a process counts them."""
TMPFS_ENTRIES = 20_000

_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = [
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "pki/ca-trust/extracted",
    "crypto-policies",
    "localtime",
    "timezone",
    "fonts",
    "mime.types",
    "protocols",
    "services",
    "magic",
    "matplotlibrc",
]
_ETC_WITHOUT_NAMESPACES = ("passwd", "group", "hosts", "nsswitch.conf")
_KERNEL_FACTS = ("cpuinfo", "meminfo", "stat", "filesystems")
DEVICES = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")]
_STORES = ("/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew")
"""Package trees in which an interpreter's libraries lie beside its prefix; readable to all by design."""
_PARTS_OF_A_PREFIX = ("bin", "lib", "lib64", "include", "share", "pyvenv.cfg")
_NOT_A_WORKSPACE = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
]
_MAX_SCANNED, _MAX_DEPTH = 50_000, 32
"""A search for secrets in a huge workspace ends here, so that a start stays a start."""


@dataclass(frozen=True, slots=True)
class Step:
    """One mount, directory, link or file of the new root. `source` is a host path (bind) or a link's text (symlink)."""

    kind: Literal["bind", "tmpfs", "proc", "dir", "symlink", "file"]
    target: str
    source: str = ""
    data: bytes = b""
    mode: int = 0o755
    size_bytes: int = 0
    entries: int = TMPFS_ENTRIES
    writable: bool = False
    own: Literal["", "caller", "workspace"] = ""
    """Whose files these are: when the sandbox runs as somebody else, it must still be their owner."""
    devices: bool = False
    optional: bool = False
    """May be gone when it is mounted."""


def mounts(workspace: str, uid: int, gid: int, extra: tuple[Step, ...] = ()) -> list[Step]:
    """All steps in order: what lies deeper comes later. `workspace` is a real path; `extra` are further binds. What
    guards the workspace's own secrets (`guarded`) belongs after them."""
    binds = [
        *_etc(),
        *interpreter(workspace),
        Step("bind", workspace, workspace, writable=True, own="workspace"),
        *extra,
    ]
    covered: set[str] = set()
    wanted: list[Step] = []
    for step in sorted(binds, key=lambda step: step.target.count("/")):
        if step.target not in covered:
            covered.add(step.target)
            wanted.append(step)
    anchors = dict.fromkeys(anchor for step in wanted for anchor in _anchors(workspace, step.target))
    inside = [step for step in wanted if step.target.startswith(workspace + "/")]
    outside = [step for step in wanted if step not in inside]
    return [*_system(), *_accounts(uid, gid), *outside, *anchors, *inside]


def readable(workspace: str) -> list[str]:
    """What may be read where there is no root of our own: the same, by host path."""
    system = [step.source for step in [*_system(), *_etc()] if step.kind == "bind" and not step.devices]
    more = [f"/etc/{name}" for name in _ETC_WITHOUT_NAMESPACES] + [f"/proc/{name}" for name in _KERNEL_FACTS]
    return [*system, *more, *[step.source for step in interpreter(workspace) if step.kind == "bind"]]


def check_workspace(path: Path) -> str:
    """Its real path. Raises `SandboxError` for what cannot be a workspace."""
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        raise SandboxError(f"the workspace {str(path)!r} is not a directory", "create it or name another")
    top = "/" + real.split("/")[1]
    if real in _NOT_A_WORKSPACE or (top in ("/proc", "/sys", "/dev") and not real.startswith("/dev/shm/")):  # noqa: S108
        raise SandboxError(f"{real!r} cannot be a workspace: it is part of the system", "name an ordinary directory")
    return real


def _system() -> Iterator[Step]:
    yield Step("tmpfs", "/dev", size_bytes=1 << 16, entries=64)
    for path in DEVICES:
        yield Step("bind", path, path, writable=True, devices=True)
    for name, text in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        yield Step("symlink", f"/dev/{name}", f"/proc/self/{text}")
    yield Step("tmpfs", "/dev/shm", size_bytes=SHM_BYTES, mode=0o1777)  # noqa: S108
    yield Step("proc", "/proc")
    yield Step("tmpfs", "/tmp", size_bytes=TMP_BYTES, mode=0o1777)  # noqa: S108
    yield Step("symlink", "/var/tmp", "/tmp")  # noqa: S108
    yield Step("dir", "/tmp/mpl", mode=0o1777)  # noqa: S108
    yield Step("bind", "/usr", "/usr")
    for name in _SYSTEM_LINKS:
        path = f"/{name}"
        if os.path.islink(path):
            yield Step("symlink", path, os.readlink(path))
        elif os.path.isdir(path):
            yield Step("bind", path, path)


def _accounts(uid: int, gid: int) -> Iterator[Step]:
    passwd = f"agent:x:{uid}:{gid}:agent:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    yield Step("file", "/etc/passwd", data=passwd.encode(), mode=0o444)
    yield Step("file", "/etc/group", data=f"agent:x:{gid}:\nnogroup:x:65534:\n".encode(), mode=0o444)
    yield Step("file", "/etc/hosts", data=b"127.0.0.1 localhost sandbox\n::1 localhost\n", mode=0o444)
    yield Step("file", "/etc/nsswitch.conf", data=b"passwd: files\ngroup: files\nhosts: files\n", mode=0o444)


def _etc() -> Iterator[Step]:
    for name in _ETC:
        path = f"/etc/{name}"
        if os.path.exists(path):
            yield Step("bind", path, os.path.realpath(path))


# --- the agent's interpreter -------------------------------------------------------------------------------------


def interpreter(workspace: str) -> list[Step]:
    """The folders that the agent's own Python needs, wherever they lie, and nothing beside them."""
    steps: list[Step] = []
    package = str(Path(__file__).resolve().parent.parent)
    for folder in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, package, *extra_packages()):
        for part in _parts(os.path.abspath(folder), workspace):
            for target in {part, os.path.realpath(part)}:
                if not _under_one_of(target, steps):
                    steps.append(Step("bind", target, os.path.realpath(part), own="caller"))
    return [*steps, *_links_to_interpreter(steps)]


def extra_packages() -> list[str]:
    """Package folders on this interpreter's path that lie outside its prefixes: `pip install --user`, `--target`."""
    own = [os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, "/usr")]
    found = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    return [path for path in found if os.path.isdir(path) and not _inside(os.path.realpath(path), own)]


def _parts(prefix: str, workspace: str) -> list[str]:
    """The prefix itself, unless it holds the home or the workspace (`python -m venv .`): then only what is Python's."""
    real = os.path.realpath(prefix)
    for store in _STORES:
        if _inside(real, [store]):
            return [store]
    private = [os.path.realpath(os.path.expanduser("~")), workspace]
    with suppress(FileNotFoundError):  # the working directory may have been removed
        private.append(os.getcwd())
    if any(_inside(folder, [real]) for folder in private):
        paths = [os.path.join(prefix, name) for name in _PARTS_OF_A_PREFIX]
        return [path for path in paths if os.path.exists(path) and not (os.path.islink(path) and real == workspace)]
    return [prefix]


def _links_to_interpreter(steps: list[Step]) -> Iterator[Step]:
    """`sys.executable` may be a link to a link (venv, uv, pyenv): each one must be there."""
    hop = os.path.abspath(sys.executable)
    for _ in range(16):
        if not os.path.islink(hop):
            return
        following = os.path.normpath(os.path.join(os.path.dirname(hop), os.readlink(hop)))
        if not _under_one_of(hop, steps):
            yield Step("symlink", hop, following)
        hop = following


def _under_one_of(path: str, steps: list[Step]) -> bool:
    return _inside(path, ["/usr", *[step.target for step in steps]])


def _inside(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


# --- what the workspace must not give away -----------------------------------------------------------------------


def guarded(workspace: str) -> list[Step]:
    """`.git` read-only as a whole (a mount point cannot be renamed away); `.env*` files and sockets out of reach, also
    for whoever would move their folder to where the next search does not come. What cannot be searched is hidden."""
    steps: list[Step] = []
    git = f"{workspace}/.git"
    if os.path.exists(git) and not os.path.islink(git):
        steps.append(Step("bind", git, git, own="workspace", optional=True))
    found = list(secrets(workspace))
    anchors = [anchor for path in found if not _inside(path, [git]) for anchor in _anchors(workspace, path)]
    masks = [
        Step("tmpfs", path, size_bytes=1 << 12, entries=2, mode=0o555)
        if os.path.isdir(path)
        else Step("bind", path, "/dev/null", optional=True)
        for path in found
    ]
    return [*steps, *dict.fromkeys(anchors), *masks]


def exposed(workspace: str) -> list[str]:
    """Names in it that only a mount can keep from programs: `.git` and `.env*` files, relative to it."""
    git = [".git"] if os.path.lexists(f"{workspace}/.git") else []
    return git + [os.path.relpath(path, workspace) for path in secrets(workspace)]


def secrets(workspace: str) -> Iterator[str]:
    """`.env*` files and sockets, wherever they lie in it, and folders whose contents cannot be listed. Links are not
    followed, packages not entered; of `.git` only what lies at its top."""
    left = _MAX_SCANNED
    folders = deque([(workspace, 0)])  # what lies near the top is found first
    while folders and left > 0:
        folder, depth = folders.popleft()
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except PermissionError:  # a program may have made it so, to make it readable again later
            if folder != workspace:
                yield folder
            continue
        except OSError:  # gone meanwhile
            continue
        left -= len(entries)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name == ".git":
                    folders.append((entry.path, _MAX_DEPTH))
                elif depth < _MAX_DEPTH and entry.name not in ("node_modules", "site-packages"):
                    folders.append((entry.path, depth + 1))
            elif _is_secret(entry):
                yield entry.path


def _is_secret(entry: os.DirEntry[str]) -> bool:
    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return entry.name.startswith(".env") and not entry.is_symlink()
    try:
        return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return False


def _anchors(workspace: str, target: str) -> Iterator[Step]:
    """Folders between the workspace and a read-only one inside it, mounted onto themselves: a program that could rename
    them could put its own interpreter in place of the agent's."""
    if target.startswith(workspace + "/"):
        between = target[len(workspace) + 1 :].split("/")[:-1]
        for depth in range(1, len(between) + 1):
            folder = "/".join([workspace, *between[:depth]])
            yield Step("bind", folder, folder, writable=True, own="workspace")
