"""The system-call filter, run through a small BPF interpreter: rows of (call, arguments) and the answer."""

from __future__ import annotations

import errno
import struct

import pytest

from agentrunner.sandbox.inside import seccomp

ALLOW, KILL = seccomp.ALLOW, seccomp.KILL


def judge(program: bytes, audit_arch: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: only the instructions that the assembler uses."""
    data = struct.pack("<iIQ6Q", number, audit_arch, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    instructions = list(struct.iter_unpack("HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false


def answer(arch: str, name: str, *arguments: int, network: bool = True) -> str:
    number = seccomp.NUMBERS[name][("x86_64", "aarch64").index(arch)]
    assert number is not None
    verdict = judge(seccomp.assemble(arch, network), seccomp.AUDIT_ARCH[arch], number, *arguments)
    return "allow" if verdict == ALLOW else {0: "nothing is done", **errno.errorcode}[verdict & 0xFFFF]


UNIX, INET, INET6, NETLINK, VSOCK, PACKET = 1, 2, 10, 16, 40, 17
HIGH = 1 << 32
OTHER_KINDS = [kind for kind in range(16) if kind not in (1, 5)]  # datagrams and raw ones can be sent to any path
ROWS = [
    ("ptrace", (16, 1), "EPERM"),
    ("unshare", (0x10000000,), "EPERM"),
    ("mount", (), "EPERM"),
    ("io_uring_setup", (), "EPERM"),
    ("memfd_create", (), "EPERM"),
    ("keyctl", (), "EPERM"),
    ("open_tree_attr", (), "EPERM"),
    ("clone3", (), "ENOSYS"),
    ("openat2", (), "ENOSYS"),
    ("fallocate", (3, 0, 0, 4096), "ENOTSUP"),
    ("fallocate", (3, 1, 0, 4096), "ENOTSUP"),  # beyond the file's end, which no limit of its size sees
    ("clone", (0x11,), "allow"),
    ("clone", (0x003D0F00,), "allow"),  # a thread
    ("clone", (0x10000011,), "EPERM"),  # a new user namespace
    ("clone", (0x00020011,), "EPERM"),
    ("personality", (0,), "allow"),
    ("personality", (0xFFFFFFFF,), "allow"),
    ("personality", (0x0040000,), "EPERM"),
    ("ioctl", (0, 0x5401), "allow"),
    ("ioctl", (0, 0x5412), "EPERM"),
    ("ioctl", (0, 0x5412 | HIGH), "EPERM"),  # the kernel reads 32 bits of it
    ("ioctl", (0, 0x541C), "EPERM"),
    ("socket", (UNIX, 1, 0), "allow"),
    ("socket", (INET, 2, 17), "allow"),
    ("socket", (INET6, 1, 0), "allow"),
    ("socket", (NETLINK, 3, 0), "allow"),
    ("socket", (NETLINK, 3, 9), "EAFNOSUPPORT"),
    ("socket", (VSOCK, 1, 0), "EAFNOSUPPORT"),
    ("socket", (PACKET, 3, 0), "EAFNOSUPPORT"),
    ("socketpair", (UNIX, 1, 0), "allow"),
    ("socketpair", (UNIX, 2, 0), "allow"),
    ("socketpair", (INET, 1, 0), "EAFNOSUPPORT"),
    ("openat", (0, 0, 0o100, 0o644), "allow"),
    ("openat", (0, 0, 0, 0o6000), "allow"),  # without O_CREAT the mode is whatever the register holds
    ("openat", (0, 0, 0o100, 0o4755), "EPERM"),
    ("openat", (0, 0, 0o20200000, 0o2755), "EPERM"),  # O_TMPFILE
    ("fchmod", (3, 0o755), "allow"),
    ("fchown", (3, 0, 0), "allow"),
    ("fsetxattr", (3,), "allow"),
    ("ioctl", (3, 0x40086602), "allow"),
    ("inotify_init1", (), "allow"),
    ("inotify_add_watch", (3,), "allow"),
    ("fchmod", (3, 0o4755), "EPERM"),
    ("fchmodat", (0, 0, 0o2755), "EPERM"),
    ("fchmodat2", (0, 0, 0o4755), "EPERM"),
    ("mknodat", (0, 0, 0o10644), "EPERM"),  # a named pipe
    ("chown", (), "allow"),
    ("prlimit64", (1,), "allow"),
]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_each_call_gets_its_answer(arch: str) -> None:
    column = ("x86_64", "aarch64").index(arch)
    for name, arguments, expected in ROWS:
        if seccomp.NUMBERS[name][column] is not None:
            assert answer(arch, name, *arguments) == expected, (name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("open", (0, 0o100, 0o644), "allow"),
        ("open", (0, 0o100, 0o4755), "EPERM"),
        ("creat", (0, 0o4755), "EPERM"),
        ("chmod", (0, 0o4755), "EPERM"),
        ("mknod", (0, 0o10644), "EPERM"),
    ],
)
def test_older_calls_of_x86_64_are_judged_the_same_way(name: str, arguments: tuple[int, ...], expected: str) -> None:
    assert answer("x86_64", name, *arguments) == expected


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_without_namespaces_sockets_paths_and_other_processes_are_refused_too(arch: str) -> None:
    rows = [
        ("fallocate", (3, 1, 0, 4096), "ENOTSUP"),
        ("socket", (UNIX, 1, 0), "EACCES"),
        ("socketpair", (UNIX, 1, 0), "allow"),
        ("socketpair", (UNIX, 0o2004001, 0), "allow"),  # not blocking, closed by exec
        ("socketpair", (UNIX, 5, 0), "allow"),
        *(("socketpair", (UNIX, kind | flags, 0), "EACCES") for kind in OTHER_KINDS for flags in (0, 0o2004000, HIGH)),
        ("socketpair", (INET, 1, 0), "EAFNOSUPPORT"),
        ("fchmodat", (0, 0, 0o644), "EPERM"),
        ("fchmod", (3, 0o644), "nothing is done"),
        ("fchmod", (3, 0o4755), "EPERM"),
        ("fchown", (3, 0, 0), "nothing is done"),
        ("fsetxattr", (3,), "ENOTSUP"),
        ("fremovexattr", (3,), "ENOTSUP"),
        ("ioctl", (3, 0x40086602), "EPERM"),  # FS_IOC_SETFLAGS
        ("ioctl", (3, 0x401C5820), "EPERM"),  # FS_IOC_FSSETXATTR
        ("ioctl", (3, 0x401C5820 | HIGH), "EPERM"),
        ("ioctl", (3, 0x5401), "allow"),
        ("ioctl", (3, 0x80086601), "allow"),  # FS_IOC_GETFLAGS
        ("inotify_init1", (), "ENOSYS"),
        ("inotify_add_watch", (3,), "ENOSYS"),
        ("fchownat", (), "EPERM"),
        ("setxattr", (), "EPERM"),
        ("utimensat", (3, 0), "allow"),
        ("utimensat", (3, 0x7000), "EPERM"),
        ("utimensat", (3, HIGH), "EPERM"),
        ("prlimit64", (0,), "allow"),
        ("prlimit64", (77,), "EPERM"),
        ("setpriority", (0, 0), "allow"),
        ("setpriority", (0, 77), "EPERM"),
        ("setpriority", (1, 0), "EPERM"),  # all of this group
        ("setpriority", (2, 0), "EPERM"),  # all of this user
        ("unshare", (0x10000000,), "EPERM"),
    ]
    for name, arguments, expected in rows:
        assert answer(arch, name, *arguments, network=False) == expected, (name, arguments)


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_ordinary_calls_pass(arch: str, network: bool) -> None:
    program = seccomp.assemble(arch, network)
    ordinary = {"x86_64": (0, 1, 3, 9, 35, 39, 59, 231), "aarch64": (63, 64, 57, 222, 101, 172, 221, 94)}[arch]
    for number in ordinary:  # read, write, close, mmap, nanosleep, getpid, execve, exit_group
        assert judge(program, seccomp.AUDIT_ARCH[arch], number) == ALLOW


def test_calls_of_another_architecture_kill_and_those_of_x32_do_not_exist() -> None:
    program = seccomp.assemble("x86_64")
    assert judge(program, 0x40000003, 3) == KILL  # int 0x80
    assert judge(program, seccomp.AUDIT_ARCH["aarch64"], 63) == KILL
    assert judge(program, seccomp.AUDIT_ARCH["x86_64"], 0x40000000 | 41, UNIX) == seccomp.ERRNO | errno.ENOSYS


def test_an_architecture_without_a_table_has_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp.assemble("riscv64")
