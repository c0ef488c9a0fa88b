"""Builds the walls of the full level: new namespaces, an empty root with only the listed mounts, no privileges.

What is mounted where is decided by the agent (plan.py); this file carries it out. Two ways in, by who started it:
an ordinary user is mapped to itself in a new user namespace; root makes the mounts with its own rights, id-maps what
belongs to it, and then becomes an unprivileged user of the host, so that limits bind and files keep their owner.
"""
# ruff: noqa: SIM105, PTH101, PTH119, PTH120 - pathlib is not loaded here

from __future__ import annotations

import os

from . import kernel, launcher, listen

TYPE_CHECKING = False  # as in launcher.py
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    import _signal as signal

_KERNEL_FILES_KEPT_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_KERNEL_FILES_HIDDEN = ("kcore", "keys", "key-users", "kmsg", "timer_list")
_BASE = "/usr"
"""Where the new root is put together: a directory that exists everywhere. Sources are opened before it is covered."""


def enter(plan: launcher.Plan) -> Callable[[], NoReturn]:
    """Called in the guard, which stays outside of all but the user namespace; the answer is called in its child."""
    if plan["host_ids"]:
        _make_mapped_namespaces(plan)
        kernel.unshare(kernel.CLONE_NEWPID)
    else:
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID)
        _write_maps("/proc/self", f"{uid} {uid} 1", f"{gid} {gid} 1")
    kernel.hide_from_same_user()
    return lambda: _first_process(plan)


def become_mapped(plan: launcher.Plan) -> None:
    """For another launcher that root wants to use: lays what belongs to root, id-mapped, where it can be bound by an
    unprivileged user, and becomes that user."""
    _make_mapped_namespaces(plan)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    trees = [_opened(step, plan) for step in plan["mounts"]]
    kernel.mount("tmpfs", plan["stage"], "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
    base = os.open(plan["stage"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for number, tree in enumerate(trees):
        _bind(base, {"target": f"/{number}"}, tree)
    os.setgroups([])
    uid, gid = plan["host_ids"]
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _make_mapped_namespaces(plan: launcher.Plan) -> None:
    made: dict[tuple[int, ...], int] = {}
    for ids in map(tuple, plan["owners"].values()):  # most often the same ones twice
        made[ids] = made.get(ids) or _mapped_namespace(ids, plan["host_ids"])
    plan["userns"] = {whose: made[tuple(ids)] for whose, ids in plan["owners"].items()}


def _first_process(plan: launcher.Plan) -> NoReturn:
    launcher.tie_to_parent(plan)
    apart = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    kernel.unshare(apart | kernel.CLONE_NEWCGROUP)
    kernel.set_host_name("sandbox")
    kernel.loopback_up()
    if plan["door"] >= 0:
        listen.hand_out(plan["door"])
    _build_root(plan)
    if plan["host_ids"]:
        _become(plan["userns"]["workspace"], *plan["owners"]["workspace"])
        launcher.tie_to_parent(plan)
    kernel.drop_capabilities()
    kernel.no_new_privileges()
    kernel.install_filter(plan["filter"])
    launcher.run_as_first(plan)


def _write_maps(process: str, uids: str, gids: str) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", uids), ("gid_map", gids)):
        fd = os.open(f"{process}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, text.encode())
        os.close(fd)


def _mapped_namespace(disk_ids: tuple[int, ...], host_ids: list[int]) -> int:
    """A user namespace in which the owner of the workspace is, outside, an unprivileged user of the host. The same
    mapping, laid on a mount, makes that user the owner of those files."""
    ready, go = os.pipe()  # the read and the write end
    child = os.fork()
    if not child:
        os.close(ready)
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(go, b"x")
        signal.pause()
    os.close(go)
    try:
        if not os.read(ready, 1):
            raise OSError(1, "the kernel refused a new user namespace", "unshare")
        _write_maps(f"/proc/{child}", *[f"{d} {h} 1" for d, h in zip(disk_ids, host_ids, strict=True)])
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _become(userns: int, uid: int, gid: int) -> None:
    os.setgroups([])
    kernel.setns(userns, kernel.CLONE_NEWUSER)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kernel.hide_from_same_user()


# --- the new root ------------------------------------------------------------------------------------------------


def _build_root(plan: launcher.Plan) -> None:
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    steps = plan["mounts"]
    trees = [_opened(step, plan) for step in steps]
    umask = os.umask(0o022)  # the agent's may be tighter than what the program needs to see its own root
    kernel.mount("tmpfs", _BASE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"size={plan['root_bytes']},mode=0755")
    os.chdir(_BASE)
    base = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for step, tree in zip(steps, trees, strict=True):
        if step["kind"] == "bind":
            _bind(base, step, tree)
        else:
            _MAKE[step["kind"]](base, step)
    kernel.set_mount(base, kernel.ATTR_RDONLY, recursive=False, about="/")
    os.close(base)
    kernel.pivot_root_here()
    os.umask(umask)


def _opened(step: dict[str, Any], plan: launcher.Plan) -> int | None:
    """A detached copy of what is to be bound. No link is followed: a path that was real when the agent looked and is a
    link now was changed by somebody else."""
    if step["kind"] != "bind":
        return None
    try:
        source = kernel.open_at(-100, step["source"], os.O_PATH, kernel.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        if step["optional"]:
            return None
        raise
    tree = kernel.clone_tree(source, step["source"])
    os.close(source)
    attributes = kernel.ATTR_NOSUID | (0 if step["devices"] else kernel.ATTR_NODEV)
    kernel.set_mount(tree, attributes | (0 if step["writable"] else kernel.ATTR_RDONLY), about=step["source"])
    if step["own"] and plan["host_ids"]:
        _map_owner(tree, plan["userns"][step["own"]], step)
    return tree


def _map_owner(tree: int, userns: int, step: dict[str, Any]) -> None:
    for recursive in (True, False):  # one mount below that cannot be mapped refuses the whole
        try:
            return kernel.set_mount(tree, kernel.ATTR_IDMAP, userns, recursive, about=f"id-map {step['source']}")
        except OSError:
            if not recursive and step["writable"]:
                raise
    return None


def _bind(base: int, step: dict[str, Any], tree: int | None) -> None:
    if tree is None:
        return
    target = _mount_point(base, step["target"], is_dir=_is_dir(tree))
    kernel.attach_tree(tree, target, step["target"])
    os.close(target)
    os.close(tree)


def _is_dir(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o040000


def _mount_point(base: int, path: str, is_dir: bool) -> int:
    """An fd of `path` under the new root, made where it is missing. Links are never followed: parts of the tree belong
    to the program that will run."""
    relative = path.lstrip("/")
    try:
        return kernel.open_at(base, relative, os.O_PATH, kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        parent = _make_dirs(base, os.path.dirname(relative))
    name = os.path.basename(relative)
    if is_dir:
        os.mkdir(name, 0o755, dir_fd=parent)
    else:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444, dir_fd=parent))
    made = kernel.open_at(parent, name, os.O_PATH, kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS)
    os.close(parent)
    return made


def _make_dirs(base: int, relative: str) -> int:
    directory = os.dup(base)
    for name in filter(None, relative.split("/")):
        try:
            os.mkdir(name, 0o755, dir_fd=directory)
        except FileExistsError:
            pass
        deeper = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        os.close(directory)
        directory = deeper
    return directory


def _make_tmpfs(base: int, step: dict[str, Any]) -> None:
    os.close(_mount_point(base, step["target"], is_dir=True))
    options = f"size={step['size_bytes']},nr_inodes={step['entries']},mode={step['mode']:o}"
    kernel.mount("tmpfs", "." + step["target"], "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)


def _make_proc(base: int, step: dict[str, Any]) -> None:
    os.close(_mount_point(base, step["target"], is_dir=True))
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "." + step["target"], "proc", flags)
    for name in _KERNEL_FILES_KEPT_READ_ONLY:
        _cover(base, f"{step['target']}/{name}", f"{_BASE}{step['target']}/{name}")
    for name in _KERNEL_FILES_HIDDEN:
        _cover(base, f"{step['target']}/{name}", f"{_BASE}/dev/null")


def _cover(base: int, target: str, source: str) -> None:
    try:
        over = _mount_point_that_exists(base, target)
    except OSError:  # this kernel has no such file
        return
    found = os.open(source, os.O_PATH | os.O_CLOEXEC)
    tree = kernel.clone_tree(found, source)
    kernel.set_mount(tree, kernel.ATTR_RDONLY | kernel.ATTR_NOSUID, about=target)
    kernel.attach_tree(tree, over, target)
    for fd in (over, found, tree):
        os.close(fd)


def _mount_point_that_exists(base: int, path: str) -> int:
    return kernel.open_at(base, path.lstrip("/"), os.O_PATH, kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS)


def _make_symlink(base: int, step: dict[str, Any]) -> None:
    parent = _make_dirs(base, os.path.dirname(step["target"]))
    os.symlink(step["source"], os.path.basename(step["target"]), dir_fd=parent)
    os.close(parent)


def _make_file(base: int, step: dict[str, Any]) -> None:
    parent = _make_dirs(base, os.path.dirname(step["target"]))
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    fd = os.open(os.path.basename(step["target"]), flags, step["mode"], dir_fd=parent)
    os.write(fd, step["data"])
    os.fchmod(fd, step["mode"])
    os.close(fd)
    os.close(parent)


def _make_dir(base: int, step: dict[str, Any]) -> None:
    made = _make_dirs(base, step["target"])
    os.chmod(f"/proc/self/fd/{made}", step["mode"])
    os.close(made)


_MAKE = {"dir": _make_dir, "tmpfs": _make_tmpfs, "proc": _make_proc, "symlink": _make_symlink, "file": _make_file}
