"""Attacks on processes: outliving the call, harming others, and using more processor, memory or tasks than allowed.

Every program is bounded: in time by the limits, in size by its own loops.
"""

from __future__ import annotations

from .beside import AT_MOST_S, LIMITS, beside, seen
from .harness import Attack, Judge, Ran
from .scene import Scene

_TASKS = 64 + 8
"""What belongs to the sandbox itself is not counted against the program: launchers, guard, process 1."""
_MEMORY_BYTES = int(1.25 * (2 << 30))
"""The watch looks every 100 ms."""

DAEMON = """
import os, subprocess, sys, time
sleeper = '''import signal, time
for number in range(1, 32):
    if number not in (9, 19):
        signal.signal(number, signal.SIG_IGN)
time.sleep(40)'''
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open('/dev/null', os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', sleeper, F['token']])
        os._exit(0)
for _ in range(3):
    os.wait()
time.sleep(0.3)
print('left')
"""

# The same with standard output held open: whoever waits for its end waits for ever.
DAEMON_WITH_PIPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', 'import time; time.sleep(40)', F['token']])
    os._exit(0)
os.wait()
print('left', flush=True)
"""

KILL_HOST = """
import os, signal
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGUSR1):
    try:
        os.kill(F['victim'], number)
    except OSError as refused:
        print(refused)
try:
    signal.pidfd_send_signal(os.pidfd_open(F['victim']), signal.SIGKILL)
except OSError as refused:
    print(refused)
"""

CHANGE_HOST = """
import os, resource
pid = F['victim']
def limits(): resource.prlimit(pid, resource.RLIMIT_NOFILE, (7, 7))
def core(): resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
def nice(): os.setpriority(os.PRIO_PROCESS, pid, 19)
def scheduler(): os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
def affinity(): os.sched_setaffinity(pid, {0})
for how in (limits, core, nice, scheduler, affinity):
    try:
        how()
    except OSError as refused:
        print(how.__name__, refused)
"""

# At most 150 * 9 processes.
FORK_BOMB = """
if F['token'] not in sys.argv:  # what survives is found by it
    os.execv(sys.executable, [*sys.orig_argv, F['token']])
import os, time
end = time.monotonic() + 2
made = 0
while made < 150 and time.monotonic() < end:
    try:
        if os.fork() == 0:
            try:
                for _ in range(8):
                    if os.fork() == 0:
                        break
            except OSError:
                pass
            time.sleep(max(0, end - time.monotonic()))
            os._exit(0)
        made += 1
    except OSError:
        time.sleep(0.02)
print('made', made)
"""

# Doubles eight times, each in a session of its own; then each starts one after the other until the time is over.
FORK_BOMB_IN_SESSIONS = """
if F['token'] not in sys.argv:
    os.execv(sys.executable, [*sys.orig_argv, F['token']])
end = time.monotonic() + 6
doubled = 0
while time.monotonic() < end:
    try:
        if doubled < 8:
            doubled += 1
            if os.fork() == 0:
                os.setsid()
            continue
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(0)
        os.waitpid(child, 0)
    except OSError:
        pass
    time.sleep(0.01)
"""

THREADS = """
import threading, time
end = time.monotonic() + 3
threading.stack_size(64 << 10)
made = 0
while made < 800 and time.monotonic() < end:
    try:
        threading.Thread(target=time.sleep, args=(max(0, end - time.monotonic()),), daemon=True).start()
        made += 1
    except RuntimeError:
        time.sleep(0.02)
time.sleep(1)
"""

MEMORY = """
import mmap, time
held = []
try:
    for _ in range(32):
        held.append(bytearray(b'x') * (128 << 20))
except MemoryError:
    print('refused after', len(held))
try:
    for _ in range(8):
        more = mmap.mmap(-1, 512 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        for page in range(0, 512 << 20, 4096):
            more[page] = 1
        held.append(more)
except (OSError, ValueError) as refused:
    print(refused)
time.sleep(0.5)
"""

# Filled and let go of again: it is kept, but stands in no process's account.
MEMORY_LET_GO = """
import mmap, time
held = []
for _ in range(14):
    more = mmap.mmap(-1, 64 << 20)
    for page in range(0, 64 << 20, 4096):
        more[page] = 1
        if page % (4 << 20) == 0:
            more.madvise(mmap.MADV_DONTNEED)
    more.madvise(mmap.MADV_DONTNEED)
    held.append(more)
time.sleep(2)
"""

MEMORY_OF_MANY = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        held = bytearray(b'x') * (400 << 20)
        time.sleep(5)
        os._exit(0)
time.sleep(5)
"""

# Memory that belongs to no process: files in memory, and what the kernel keeps for System V.
SHARED_MEMORY = """
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
block = b'x' * (8 << 20)
for folder in ('/dev/shm', '/tmp', os.environ.get('TMPDIR', '/tmp'), '/run', '/var', '/dev', '/'):
    for number in range(300):
        try:
            with open(f'{folder}/held{number}', 'wb', buffering=0) as file:
                file.write(block)
        except OSError as refused:
            print(folder, number, refused)
            break
try:
    for number in range(200):
        fd = os.memfd_create('held')
        for _ in range(4):
            os.write(fd, block)
except OSError as refused:
    print('memfd', refused)
for _ in range(60):
    handle = libc.shmget(0, 32 << 20, 0o1600)
    if handle < 0:
        break
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(handle, None, 0)
    ctypes.memset(at, 1, 32 << 20)
    libc.shmctl(handle, 0, None)
time.sleep(0.5)
"""

CPU = """
import os, signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
os.fork()
while True:
    pass
"""

SLEEP = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(100)
"""

# Its parent, and process 1: in the sandbox these are the sandbox's own.
STOP_PARENTS = """
import os, signal
parents = {os.getppid()}
if os.getppid() <= 2:  # a namespace of its own, where 1 is nobody else's
    parents.add(1)
for pid in parents:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        try:
            os.kill(pid, number)
            print('sent', number, pid)
        except OSError as refused:
            print(pid, refused)
print('still here')
"""


def _nothing_left(scene: Scene, ran: Ran) -> str:
    if seen(scene).survivors:
        return f"{seen(scene).survivors} processes survived"
    return "" if ran.seconds < 5 else f"it hung for {ran.seconds:.1f} s"  # they sleep for 40 s


def _unharmed(scene: Scene, ran: Ran) -> str:
    return seen(scene).harm


def _few_tasks(scene: Scene, ran: Ran) -> str:
    tasks = seen(scene).peaks.tasks
    if "watched but not limited" in ran.err:  # root without a group for tasks, as is said then: ended, but not held
        return _ended(scene, ran) or ("" if tasks <= _TASKS or "it started more than" in ran.err else f"{tasks} tasks")
    return _ended(scene, ran) or ("" if tasks <= _TASKS else f"{tasks} tasks at once")


def _little_memory(scene: Scene, ran: Ran) -> str:
    held = seen(scene).peaks.memory_bytes
    return _ended(scene, ran) or ("" if held <= _MEMORY_BYTES else f"{held >> 20} MiB at once")


def _noticed(scene: Scene, ran: Ran) -> str:
    return _ended(scene, ran) or ("" if "of memory" in ran.err else "it was not noticed")


def _ended(scene: Scene, ran: Ran) -> str:
    """However the sandbox's own processes are treated, the agent comes to its end, and nothing else is touched."""
    if ran.seconds > AT_MOST_S:
        return f"it took {ran.seconds:.1f} s"
    return seen(scene).harm or ("processes survived" if seen(scene).survivors else "")


def _limited(id_: str, program: str, judge: Judge, slow: bool = True) -> Attack:
    return Attack(id_, program, judge, slow, LIMITS, bites=False, ends=False, host=beside)


ATTACKS = (
    Attack("p01_daemon", DAEMON, _nothing_left, slow=False, limits=LIMITS, host=beside),
    Attack("p02_daemon_with_pipe", DAEMON_WITH_PIPE, _nothing_left, limits=LIMITS, host=beside),
    Attack("p04_kill_host", KILL_HOST, _unharmed, slow=False, host=beside),
    Attack("p05_change_host", CHANGE_HOST, _unharmed, host=beside),
    _limited("p06_fork_bomb", FORK_BOMB, _few_tasks, slow=False),
    _limited("p07_fork_bomb_in_sessions", FORK_BOMB_IN_SESSIONS, _few_tasks),
    _limited("p08_threads", THREADS, _few_tasks),
    _limited("p09_memory", MEMORY, _little_memory),
    _limited("p10_memory_of_many", MEMORY_OF_MANY, _little_memory),
    Attack(
        "p10_memory_let_go",
        MEMORY_LET_GO,
        _noticed,
        limits=("wall=20", "memory_total=400M"),
        bites=False,
        ends=False,
        host=beside,
    ),
    _limited("p11_shared_memory", SHARED_MEMORY, _little_memory),
    _limited("p12_cpu", CPU, _ended),
    _limited("p13_sleep", SLEEP, _ended),
    _limited("p14_stop_parents", STOP_PARENTS, _ended),
)
"""p03, where the agent itself is killed, is test_kill.py."""
