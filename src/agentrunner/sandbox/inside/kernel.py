"""The few system calls that Python does not wrap. Each raises `OSError` with what it was about.

Numbers from 424 on are the same on every architecture; for older calls the C library has functions. They are called
through the C half of ctypes alone: loading the Python half takes longer than building a wall.
"""

from __future__ import annotations

import _ctypes
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
MNT_DETACH = 2

ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_IDMAP = 0x1, 0x2, 0x4, 0x100000
"""Attributes of mount_setattr."""

RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08

_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_OPENAT2, _NR_CLOSE_RANGE, _NR_MOUNT_SETATTR = 428, 429, 437, 436, 442
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_FDCWD = 0x1000, 0x8000, -100
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER = 38, 22, 36
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_SELF = _ctypes.dlopen(None, 0)  # pyright: ignore[reportArgumentType] - None is this process, as in ctypes


_Simple = _ctypes._SimpleCData  # pyright: ignore[reportPrivateUsage] - what ctypes itself derives its types from


class _Int(_Simple):
    _type_ = "i"


class _Long(_Simple):
    """A whole number as an argument becomes an int, so what the kernel reads as 64 bits is wrapped in this."""

    _type_ = "l"


class _Char(_Simple):
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _LongFunction(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def _function(name: str, kind: type[_ctypes.CFuncPtr] = _Function) -> _ctypes.CFuncPtr:
    return kind(_ctypes.dlsym(_SELF, name))


_syscall = _function("syscall", _LongFunction)
_prctl = _function("prctl")


def _buffer(data: bytes) -> _ctypes.Array[_Char]:
    """Memory that the kernel may write to, with these bytes in it."""
    return (_Char * len(data)).from_buffer_copy(data)


def _check(result: int, about: str) -> int:
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
    return result


def syscall(number: int, *arguments: int | bytes | None, about: str) -> int:
    """One raw system call; whole numbers travel as 64 bits, bytes as pointers."""
    passed = [_Long(a) if isinstance(a, int) else a for a in arguments]
    return _check(_syscall(_Long(number), *passed), about)


def prctl(option: int, argument: int = 0, about: str = "prctl") -> None:
    _check(_prctl(option, _Long(argument), _Long(0), _Long(0), _Long(0)), about)


def die_with_parent(signal_number: int) -> None:
    """The signal comes when the *thread* that started this process ends, and a change of user id forgets it."""
    prctl(_PR_SET_PDEATHSIG, signal_number, "PR_SET_PDEATHSIG")


def hide_from_same_user() -> None:
    """No /proc/PID/mem, environ or ptrace of this process by others of its user."""
    prctl(_PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE")


def adopt_orphans() -> None:
    prctl(_PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")


def no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")


def install_filter(program: bytes) -> None:
    """`program`: an array of struct sock_filter."""
    code = (_Char * len(program)).from_buffer_copy(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, _ctypes.addressof(code))
    _check(_prctl(_PR_SET_SECCOMP, _Long(2), header, _Long(0), _Long(0)), "PR_SET_SECCOMP")


def drop_capabilities() -> None:
    """Every set: ambient, bounding, then effective, permitted and inheritable."""
    _prctl(_PR_CAP_AMBIENT, _Long(_PR_CAP_AMBIENT_CLEAR_ALL), *[_Long(0)] * 3)
    for capability in range(64):
        # Numbers beyond the kernel's last capability answer EINVAL; without CAP_SETPCAP there is nothing to drop from.
        _prctl(_PR_CAPBSET_DROP, _Long(capability), *[_Long(0)] * 3)
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _check(_function("capset")(header, bytes(24)), "capset")


def unshare(flags: int) -> None:
    _check(_function("unshare")(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_function("setns")(fd, kind), "setns")


def set_limit(number: int, value: int) -> None:
    """A resource limit, soft and hard; never above the hard limit that is there."""
    found = _buffer(bytes(16))
    _check(_function("getrlimit")(number, found), "getrlimit")
    value = min(value, *struct.unpack("QQ", bytes(found))[1:])
    _check(_function("setrlimit")(number, struct.pack("QQ", value, value)), "setrlimit")


def set_host_name(name: str) -> None:
    _check(_function("sethostname")(name.encode(), _Long(len(name))), "sethostname")


def loopback_up() -> None:
    """Through the C library, since the modules for sockets would have to be loaded for this one call."""
    control = _check(_function("socket")(2, 2 | os.O_CLOEXEC, 0), "socket")  # AF_INET, SOCK_DGRAM
    request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
    try:
        _check(_function("ioctl")(control, _Long(0x8914), request), "SIOCSIFFLAGS")
    finally:
        os.close(control)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    passed = [os.fsencode(text) or None for text in (source, target, kind)]
    _check(_function("mount")(*passed, _Long(flags), options.encode() or None), f"mount {kind} {target}".strip())


def detach_mount(target: str) -> None:
    _check(_function("umount2")(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root_here() -> None:
    """The working directory, a mount point, becomes `/`; the old root is taken off."""
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    syscall(number, b".", b".", about="pivot_root")
    detach_mount(".")
    os.chdir("/")


def open_at(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2; `directory` may be -100 for the working directory. The fd is close-on-exec."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    return syscall(_NR_OPENAT2, directory, os.fsencode(path), how, len(how), about=path)


def clone_tree(fd: int, about: str) -> int:
    """A detached copy of the mount that `fd` lies in, from `fd` down, with the mounts below it."""
    return syscall(_NR_OPEN_TREE, fd, b"", _AT_EMPTY_PATH | _AT_RECURSIVE | os.O_CLOEXEC | 1, about=about)


def set_mount(fd: int, attributes: int, userns_fd: int = 0, recursive: bool = True, about: str = "") -> None:
    attr = struct.pack("QQQQ", attributes, 0, 0, userns_fd)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    syscall(_NR_MOUNT_SETATTR, fd, b"", flags, attr, len(attr), about=about or "mount_setattr")


def attach_tree(tree: int, target: int, about: str) -> None:
    """Mounts the detached `tree` on what the O_PATH fd `target` names."""
    syscall(_NR_MOVE_MOUNT, tree, b"", target, b"", 0x4 | 0x40, about=about)  # both paths are empty: fds only


def close_all_but(keep: set[int]) -> None:
    """Every descriptor above 2 that is not in `keep`."""
    start = 3
    for fd in sorted(fd for fd in keep if fd > 2):
        os.closerange(start, fd)
        start = fd + 1
    try:
        syscall(_NR_CLOSE_RANGE, start, 0xFFFFFFFF, 0, about="close_range")
    except OSError:  # before Linux 5.9
        os.closerange(start, os.sysconf("SC_OPEN_MAX"))
