"""The system-call filter, assembled as a BPF program for this machine's architecture.

It is a deny-list: what is refused are doors that ordinary programs never use (mounting, namespaces, tracing, kernel
keyrings, memory that no limit sees). It does not confine files or the network: namespaces or Landlock do.
Numbers are those of the kernel's own tables; a program is an array of struct sock_filter.
"""

from __future__ import annotations

import errno
import struct
from typing import Literal, NamedTuple

AUDIT_ARCH: dict[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

# name: (x86_64, aarch64); None = that architecture has no such call
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # other processes, and memory behind their back
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "userfaultfd": (323, 282),
    # keyrings are shared with the user's other processes
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # large doors into the kernel; io_uring also goes round this filter
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "uselib": (134, None),
    "modify_ldt": (154, None),
    "lookup_dcookie": (212, 18),
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    # namespaces (clone by its flags, below)
    "setns": (308, 268),
    "unshare": (272, 97),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, None),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "ioprio_set": (251, 30),
    # memory that no resource limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    # device nodes; named pipes too, which could make a host-side reader wait
    "mknod": (133, None),
    "mknodat": (259, 33),
    # decided by their arguments
    "clone": (56, 220),
    "clone3": (435, 435),
    "personality": (135, 92),
    "ioctl": (16, 29),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "fallocate": (285, 47),
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "creat": (85, None),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    # without a mount namespace: metadata by path, which Landlock does not cover, and other processes' settings
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "fchown": (93, 55),
    "fsetxattr": (190, 7),
    "fremovexattr": (199, 16),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "prlimit64": (302, 261),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
}

_BY_PATH = (
    *("chown", "lchown", "utime", "utimes", "futimesat", "file_setattr"),
    *("setxattr", "lsetxattr", "setxattrat", "removexattr", "lremovexattr", "removexattrat"),
)
_BY_DESCRIPTOR = {"fchmod": 0, "fchown": 0, "fsetxattr": errno.EOPNOTSUPP, "fremovexattr": errno.EOPNOTSUPP}
"""And the answers with which copies and archives go on, which try all of these on their own files; 0 for what is not
done."""
_WATCHES = ("inotify_init", "inotify_init1", "inotify_add_watch")
_ON_A_PROCESS = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr")

_NEW_NAMESPACE = 0x7E020080  # every CLONE_NEW* bit: time, mount, cgroup, uts, ipc, user, pid, net
_SET_ID = 0o6000
_CREATES = 0x40 | 0x400000  # O_CREAT, and the bit that makes O_TMPFILE
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # put characters into a terminal's input
_CHANGES_A_FILE = (
    *(0x40086602, 0x40046602, 0x401C5820),  # FS_IOC_SETFLAGS, the same with 32 bits, FS_IOC_FSSETXATTR
    *(0x40087602, 0x40047602, 0x40086604),  # FS_IOC_SETVERSION, the same with 32 bits, its older number in ext4
    *(0x40806685, 0x800C6613),  # FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY
)
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16


class Test(NamedTuple):
    """One comparison of half an argument. The low 32 bits are all that the kernel reads of those compared here, but for
    pointers, which need a test of each half."""

    argument: int
    op: Literal["eq", "ne", "any", "none"]
    """"any" and "none" are of the bits of `value`."""
    value: int
    high: bool = False


class Rule(NamedTuple):
    """`error` is the answer when all tests of `when` hold (none: always); 0 says that it was done."""

    name: str
    when: tuple[Test, ...] = ()
    error: int = errno.EPERM


def rules(network: bool = True) -> list[Rule]:
    """What is refused, in order. `network=False` is for a process without namespaces of its own: no sockets but pairs,
    nothing about files by path nor about other processes."""
    by_argument = {rule.name for rule in _by_argument(network)}
    later = {*_BY_PATH, *_BY_DESCRIPTOR, *_WATCHES, *_ON_A_PROCESS, "utimensat", "fchownat", "setpriority"}
    always = [Rule(name) for name in NUMBERS if name not in by_argument and name not in later]
    return [*_by_argument(network), *always]


def _by_argument(network: bool) -> list[Rule]:
    found = [
        Rule("clone", (Test(0, "any", _NEW_NAMESPACE),)),
        Rule("clone3", (), errno.ENOSYS),  # flags behind a pointer; the C library falls back to clone
        Rule("openat2", (), errno.ENOSYS),  # mode behind a pointer; callers fall back to openat
        Rule("personality", (Test(0, "ne", 0), Test(0, "ne", 0xFFFFFFFF))),
        Rule("ioctl", (Test(1, "eq", _TIOCSTI),)),
        Rule("ioctl", (Test(1, "eq", _TIOCLINUX),)),
        Rule("socketpair", (Test(0, "ne", _UNIX),), errno.EAFNOSUPPORT),
        Rule("open", (Test(1, "any", _CREATES), Test(2, "any", _SET_ID))),
        Rule("openat", (Test(2, "any", _CREATES), Test(3, "any", _SET_ID))),
        Rule("creat", (Test(1, "any", _SET_ID),)),
        Rule("fchmod", (Test(1, "any", _SET_ID),)),
        # it heeds no limit of a file's size and takes a disk in no time; the C library's own falls back to writing
        Rule("fallocate", (), errno.EOPNOTSUPP),
    ]
    if network:
        named = tuple(Test(0, "ne", family) for family in (_UNIX, _INET, _INET6, _NETLINK))
        found += [Rule("socket", named, errno.EAFNOSUPPORT)]
        found += [Rule("socket", (Test(0, "eq", _NETLINK), Test(2, "ne", 0)), errno.EAFNOSUPPORT)]
        found += [Rule("chmod", (Test(1, "any", _SET_ID),))]
        return found + [Rule(name, (Test(2, "any", _SET_ID),)) for name in ("fchmodat", "fchmodat2")]
    found += [Rule("socket", (), errno.EACCES)]
    # Only SOCK_STREAM (1) and SOCK_SEQPACKET (5) stay with their other end; the rest can be sent from to any path.
    found += [Rule("socketpair", (Test(1, "none", 1),), errno.EACCES)]
    found += [Rule("socketpair", (Test(1, "any", 0xA),), errno.EACCES)]
    found += [Rule(name) for name in ("chmod", "fchmodat", "fchmodat2", "fchownat", *_BY_PATH)]
    # A descriptor that was opened for reading is enough for these, so its opening says nothing.
    found += [Rule(name, (), answer) for name, answer in _BY_DESCRIPTOR.items()]
    found += [Rule("ioctl", (Test(1, "eq", request),)) for request in _CHANGES_A_FILE]
    found += [Rule(name, (), errno.ENOSYS) for name in _WATCHES]  # tells names in folders that cannot be read
    # utimensat(fd, NULL, ...) is futimens, which `touch` and every copy needs; times of files that can be read change.
    found += [Rule("utimensat", (Test(1, "ne", 0, high),)) for high in (False, True)]
    found += [Rule(name, (Test(0, "ne", 0),)) for name in _ON_A_PROCESS]
    # With 0 as the second argument it is this process, this group or this user: the user's other processes too.
    return [*found, *(Rule("setpriority", (Test(argument, "ne", 0),)) for argument in (0, 1))]


def assemble(arch: str, network: bool = True) -> bytes:
    """The program as struct sock_filter[]. Raises `KeyError` for an architecture without a table."""
    column = ("x86_64", "aarch64").index(arch) if arch in AUDIT_ARCH else -1
    if column < 0:
        raise KeyError(arch)
    out = [_ld(4), _jump(0x15, AUDIT_ARCH[arch], 1, 0), _ret(KILL), _ld(0)]
    if arch == "x86_64":  # the x32 table has other numbers for the same calls
        out += [_jump(0x35, 0x40000000, 0, 1), _ret(ERRNO | errno.ENOSYS)]
    grouped: dict[int, list[Rule]] = {}
    for rule in rules(network):
        number = NUMBERS[rule.name][column]
        if number is not None:
            grouped.setdefault(number, []).append(rule)
    for number, group in grouped.items():
        out += _one_call(number, group)
    return b"".join([*out, _ret(ALLOW)])


def _one_call(number: int, group: list[Rule]) -> list[bytes]:
    body: list[bytes] = []
    for rule in group:
        if not rule.when:
            body.append(_ret(ERRNO | rule.error))
            break
        left = 2 * len(rule.when)  # instructions from the first load to the return
        for test in rule.when:
            left -= 2
            body.append(_ld(16 + 8 * test.argument + 4 * test.high))
            miss = left + 1  # over the other tests and the return
            code = 0x45 if test.op in ("any", "none") else 0x15
            inverted = test.op in ("ne", "none")
            body.append(_jump(code, test.value, miss, 0) if inverted else _jump(code, test.value, 0, miss))
        body.append(_ret(ERRNO | rule.error))
    else:
        body.append(_ret(ALLOW))
    return [_jump(0x15, number, 0, len(body)), *body]


def _ld(offset: int) -> bytes:
    return struct.pack("HBBI", 0x20, 0, 0, offset)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _ret(value: int) -> bytes:
    return struct.pack("HBBI", 0x06, 0, 0, value)
