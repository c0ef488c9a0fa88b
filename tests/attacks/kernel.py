"""Attacks on the kernel's own doors: terminals, keyrings, namespaces, mounts, privileges, shared memory, settings.

Every call is harmless where it is let through: it changes nothing, or only what belongs to the attack itself.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from .harness import Attack, Ran, both, no_secret, unchanged, unmarked
from .host import still_there
from .scene import Scene

TERMINAL = """
import fcntl
sticks, linux = 0x5412, 0x541C
opened = [0, 1, 2]
for path in ['/dev/tty', '/dev/console', '/dev/tty0', '/dev/tty1', *glob.glob('/dev/pts/*')]:
    for flags in (os.O_RDWR, os.O_RDONLY, os.O_WRONLY):
        fd = attempt(os.open, path, flags | os.O_NOCTTY | os.O_NONBLOCK)
        if fd is not None:
            print('KERNEL: opened', path)
            opened.append(fd)
for fd in opened:
    if os.isatty(fd):
        print('KERNEL: a terminal at', fd)
    for request in (sticks, sticks | 1 << 32, linux, linux | 1 << 32):
        call('ioctl', fd, request, b'\\x03')
master = attempt(os.open, '/dev/ptmx', os.O_RDWR | os.O_NOCTTY)
"""

KEYRINGS = """
for keyring in (-1, -2, -3, -4, -5):
    call('keyctl', 0, keyring, 0)
    call('keyctl', 6, keyring, 0, 0)
call('keyctl', 1, 0)
call('add_key', b'user', F['token'].encode(), b'x', 1, -2)
call('request_key', b'user', b'any', 0, -2)
"""

USERFAULTFD = """
for flags in (0, 1):
    call('userfaultfd', flags)
if attempt(os.open, '/dev/userfaultfd', os.O_RDWR) is not None:
    print('KERNEL: /dev/userfaultfd')
"""

NAMESPACES = """
kinds = {'user': 1 << 28, 'mnt': 1 << 17, 'pid': 1 << 29, 'net': 1 << 30, 'ipc': 1 << 27, 'uts': 1 << 26}
kinds |= {'cgroup': 1 << 25, 'time': 1 << 7}
sys.stdout.flush()
for flag in [*kinds.values(), kinds['user'] | kinds['mnt'], kinds['user'] | kinds['net'] | kinds['pid']]:
    if flag != kinds['time'] and call('clone', flag | 17, 0, 0, 0, 0) == 0:
        libc._exit(0)
    if call('clone3', struct.pack('QQQQQQQQ', flag, 0, 0, 0, 17, 0, 0, 0), 64) == 0:
        libc._exit(0)
for name in kinds:
    for process in ('self', '1', str(os.getppid())):
        fd = attempt(os.open, f'/proc/{process}/ns/{name}', os.O_RDONLY)
        if fd is not None:
            call('setns', fd, 0)
call('setns', os.pidfd_open(os.getpid()), kinds['user'])
for flag in kinds.values():
    call('unshare', flag)
sys.stdout.flush()
print(subprocess.run(['unshare', '-Ur', 'echo', 'KERNEL: unshare'], capture_output=True, text=True))
"""

MOUNTS = """
os.makedirs('point', exist_ok=True)
call('mount', b'none', b'point', b'tmpfs', 0, 0)
call('mount', b'/', b'point', b'none', 0x1000, 0)
call('mount', b'none', b'/', b'none', 0x20 | 0x1000, 0)
call('umount2', b'/proc', 2)
call('umount2', os.getcwd().encode(), 2)
call('pivot_root', b'.', b'.')
call('chroot', b'.')
call('fsopen', b'tmpfs', 0)
call('fspick', -100, b'.', 0)
call('open_tree', -100, b'.', 1)
call('open_tree', -100, b'.', 0)
call('move_mount', -100, b'point', -100, b'.', 0)
call('mount_setattr', -100, b'.', 0, struct.pack('QQQQ', 0, 1, 0, 0), 32)
call('fanotify_init', 0x200, 0)
"""

BPF_PERF = """
call('bpf', 0, ctypes.create_string_buffer(struct.pack('IIIII', 2, 4, 4, 1, 0) + bytes(100)), 120)
attributes = ctypes.create_string_buffer(struct.pack('IIQQQQQ', 1, 112, 0, 0, 0, 0, 0x61) + bytes(64))
for process in (0, -1):
    call('perf_event_open', attributes, process, -1 if process == 0 else 0, -1, 0)
"""

# Only those who may at all are told what is wrong with the arguments.
MACHINE = """
os.close(os.open('image', os.O_CREAT))
tries = (
    ('init_module', b'', 0, b''), ('finit_module', os.open('image', os.O_RDONLY), b'', 0),
    ('delete_module', b'none', 0),
    ('kexec_load', 0, 0, 0, 0), ('reboot', 0, 0, 0, 0), ('swapon', b'image', 0), ('swapoff', b'image'),
    ('settimeofday', 0, 0), ('clock_settime', 0, 0), ('sethostname', os.uname().nodename.encode(), -1),
    ('setdomainname', b'x', -1), ('iopl', 3), ('ioperm', 0x80, 1, 1), ('acct', b'image'), ('syslog', 10, 0, 0),
    ('syslog', 3, 0, 0), ('quotactl', 0x800001 << 8, 0, 0, 0), ('ioprio_set', 1, 0, 1 << 13),
)
for name, *arguments in tries:
    ctypes.set_errno(0)
    answer = call(name, *arguments)
    if answer is not None and ctypes.get_errno() not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        print('KERNEL: let through', name, os.strerror(ctypes.get_errno()))
"""

SET_USER_ID = """
for line in attempt(open, '/proc/self/status') or ():
    name, _, value = line.partition(':')
    if name in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb') and int(value, 16) or name == 'NoNewPrivs' and int(value) != 1:
        print('ROOT', line)
if libc.prctl(39, 0, 0, 0, 0) != 1:  # PR_GET_NO_NEW_PRIVS, where /proc cannot be read
    print('ROOT: may gain privileges')
for path in [*F['set_user_id'], *(shutil.which(name) for name in ('sudo', 'su', 'mount', 'ping', 'pkexec'))]:
    if path:
        options = {'sudo': ['-n', 'id'], 'su': ['-c', 'id'], 'ping': ['-f', '-c', '1', '127.0.0.1']}
        arguments = options.get(os.path.basename(path), [])
        ran = subprocess.run([path, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10)
        if 'euid=0' in ran.stdout and os.geteuid() != 0:
            print('ROOT', path)
        print(path, ran.stdout[:200], ran.stderr[:200])
"""

SYSV_IPC = """
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(F['key'], 0, 0)
if segment >= 0:
    print('KERNEL: segment', ctypes.string_at(libc.shmat(segment, None, 0), F['secret_length']))
if libc.msgget(F['key'], 0) >= 0:
    print('KERNEL: queue')
for make, remove, arguments in ((libc.shmget, libc.shmctl, (4096,)), (libc.msgget, libc.msgctl, ())):
    made = make(0, *arguments, 0o1600)
    if made >= 0:
        print('KERNEL: made', make)
        remove(made, 0, None)
if libc.semget(0, 1, 0o1600) >= 0:
    print('KERNEL: made semaphores')
"""

# Descriptors opened for reading are enough. Nothing is changed but the file that stands there for this.
OWN_FILE = """
import fcntl
for path in filter(None, [F['own_file']]):
    fd = attempt(os.open, path, os.O_RDONLY)
    if fd is not None:
        attempt(os.fchmod, fd, 0o666)
        attempt(os.fchown, fd, -1, -1)
        attempt(os.setxattr, fd, 'user.agent', b'x')
        for get, change in ((0x80086601, 0x40086602), (0x801C581F, 0x401C5820)):
            held = bytearray(28)
            if attempt(fcntl.ioctl, fd, get, held) is not None:
                held[0] |= 0x40  # not to be dumped, in both
                attempt(fcntl.ioctl, fd, change, held)
"""

# Names of files in folders that cannot be read.
WATCHES = """
fd = call('inotify_init1', 0)
for path in (F['home'] + '/.ssh', F['home']):
    if call('inotify_add_watch', fd, path.encode(), 0xFFF) in (None, -1):
        continue
    print('ESCAPED: watches', path)
"""

OUTSIDE_SERVICES = """
sleeper = ['python3', '-c', 'import time; time.sleep(30)', F['token']]
commands = (['systemd-run', '--user', '--no-block', *sleeper], ['systemd-run', '--no-block', *sleeper])
for command in commands:
    if shutil.which(command[0]):
        print(subprocess.run(command, capture_output=True, text=True, timeout=10))
if shutil.which('at'):
    print(subprocess.run(['at', 'now'], input=' '.join(sleeper), capture_output=True, text=True, timeout=10))
for path in ('/run/dbus/system_bus_socket', f'/run/user/{os.getuid()}/bus', '/run/systemd/private', '/run/cron.sock'):
    attempt(lambda: socket.socket(socket.AF_UNIX).connect(path) or print('KERNEL: connected to', path))
for path in F['plant']:
    if 'cron' in path or 'systemd' in path:
        put(path)
put(F['home'] + '/.config/systemd/user/own.service')
"""

CORE = """
import resource
attempt(lambda: print(resource.getrlimit(resource.RLIMIT_CORE)))
code = ('import os, resource\\ntry: resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))\\n'
        'except (OSError, ValueError) as refused: print(refused)\\n'
        'else: print("KERNEL: the limit was raised")\\nos.abort()')
print(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout)
"""

SETTINGS = """
names = ['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sys/vm/overcommit_memory']
names += ['/proc/sys/kernel/randomize_va_space', '/proc/sysrq-trigger', '/proc/sys/net/ipv4/ip_forward']
names += ['/proc/sys/user/max_user_namespaces', '/proc/1/oom_score_adj', '/proc/1/clear_refs', '/proc/1/comm']
names += ['/sys/kernel/uevent_helper', '/sys/power/state', '/sys/fs/cgroup/cgroup.procs', '/proc/1/mem']
names += [*glob.glob('/sys/block/*/uevent'), *glob.glob('/proc/irq/*')[:1], '/sys/kernel/security', '/proc/acpi']
for name in names:
    if os.path.isfile(name) and attempt(os.open, name, os.O_WRONLY) is not None:
        print('WROTE', name)
def write(name, text):
    with open(name, 'w') as file:
        file.write(text)
    print('WROTE', name)
for name, text in (('oom_score_adj', '-1000'), ('uid_map', '0 0 1'), ('gid_map', '0 0 1')):
    attempt(write, f'/proc/self/{name}', text)
"""

OWN_LAUNCHER = """
mounts = attempt(os.listdir, '/proc') is not None
names = ['/proc/self/exe', '/proc/1/exe', f'/proc/{os.getppid()}/exe', F['executable'], '/usr/bin/bwrap', '/bin/sh']
names += [os.path.realpath(F['executable']), *glob.glob('/proc/[0-9]*/exe')]
for name in names:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        try:
            os.open(name, flags)
            print('KERNEL: opened', name)
        except OSError as refused:
            # Busy is said before read-only: then the mount tells, where there are mounts of our own.
            busy = refused.errno == errno.ETXTBSY and mounts and not os.statvfs(name).f_flag & os.ST_RDONLY
            print('KERNEL: only busy' if busy else 'refused:', name, refused)
    fd = attempt(os.open, name, os.O_PATH)
    if fd is not None and attempt(os.open, f'/proc/self/fd/{fd}', os.O_WRONLY) is not None:
        print('KERNEL: opened again', name)
for folder in {os.path.dirname(F['executable']), os.path.dirname(os.path.realpath(F['executable'])), '/usr/bin'}:
    put(f"{folder}/{F['token']}")
"""


@contextmanager
def _shared_memory(scene: Scene) -> Iterator[dict[str, Any]]:
    """A segment and a queue that every user may read."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    key = secrets.randbelow(1 << 30) + 1
    segment, queue = libc.shmget(key, 4096, 0o1666), libc.msgget(key, 0o1666)
    try:
        ctypes.memmove(libc.shmat(segment, None, 0), scene.secret.encode(), len(scene.secret))
        yield {"key": key}
    finally:
        libc.shmctl(segment, 0, None)
        libc.msgctl(queue, 0, None)


@contextmanager
def _set_user_id(scene: Scene) -> Iterator[dict[str, Any]]:
    """A program of root's, if this is root, that says who it runs as."""
    path = scene.workspace / "whoami"
    program = shutil.which("id")
    if os.geteuid() == 0 and program:
        shutil.copyfile(program, path)
        path.chmod(0o4755)
    yield {"set_user_id": [str(path)] if path.exists() else []}


_changed: WeakKeyDictionary[Scene, str] = WeakKeyDictionary()


@contextmanager
def _own_file(scene: Scene) -> Iterator[dict[str, Any]]:
    """Beside the agent's interpreter, where programs may read, if the caller may write there."""
    path = Path(sys.prefix, scene.token)
    try:
        path.touch(0o644)
    except OSError:
        yield {"own_file": ""}
        return
    try:
        before = _all_of(path)
        yield {"own_file": str(path)}
        after = _all_of(path)
        _changed[scene] = "" if after == before else f"{path} was changed from {before} to {after}"
    finally:
        path.unlink()


def _all_of(path: Path) -> tuple[object, ...]:
    state = path.stat()
    return (oct(state.st_mode), state.st_ctime_ns, tuple(os.listxattr(path)))


def _no_survivor(scene: Scene, ran: Ran) -> str:
    return f"processes were started outside: {found}" if (found := still_there(scene.token, 1.0)) else ""


def _no_core(scene: Scene, ran: Ran) -> str:
    found = [path.name for path in scene.workspace.glob("*core*")]
    return f"memory was left in {found}" if found else ""


def _unchanged_file(scene: Scene, ran: Ran) -> str:
    return _changed.get(scene, "")


_REFUSED = unmarked("KERNEL:")

ATTACKS = (
    Attack("k01_tiocsti", TERMINAL, _REFUSED, terminal=True, bites=False),
    Attack("k02_keyctl", KEYRINGS, _REFUSED, bites=False),
    Attack("k03_userfaultfd", USERFAULTFD, _REFUSED, slow=False, bites=False),
    Attack("k04_userns", NAMESPACES, _REFUSED, slow=False, bites=False),
    Attack("k05_mount", MOUNTS, _REFUSED, bites=False),
    Attack("k06_bpf_perf", BPF_PERF, _REFUSED, bites=False),
    Attack("k07_modules", MACHINE, _REFUSED, bites=False),
    Attack("k08_suid", SET_USER_ID, unmarked("ROOT"), slow=False, host=_set_user_id),
    Attack("k09_sysv_ipc", SYSV_IPC, both(no_secret, _REFUSED), host=_shared_memory),
    Attack("k10_dbus_systemd", OUTSIDE_SERVICES, both(_no_survivor, unchanged, _REFUSED), bites=False),
    Attack("k11_core", CORE, both(_no_core, _REFUSED), bites=False),
    Attack("k12_proc_sys", SETTINGS, unmarked("WROTE"), bites=False),
    Attack("k13_selfexec", OWN_LAUNCHER, both(unchanged, _REFUSED), bites=False),
    Attack("k14_own_file", OWN_FILE, _unchanged_file, bites=os.access(sys.prefix, os.W_OK), host=_own_file),
    Attack("k15_watches", WATCHES, unmarked("ESCAPED")),
)
