"""Attacks that read what lies outside: files by every kind of path, other processes, inherited descriptors, devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .harness import Attack, Ran, both, no_secret, unmarked
from .scene import Scene

DOTS = """
for path in F['relative']:
    show(path)
for up in range(1, 14):
    for path in F['secrets']:
        show('../' * up + path.lstrip('/'))
show('./sub/../../beside.txt')
"""

ABSOLUTE = """
for path in [*F['secrets'], F['beside'], os.path.expanduser('~/.ssh/id_ed25519'), os.path.expanduser('~/.env')]:
    show(path)
    show('//' + path)
    show('/proc/self/cwd/../' + os.path.relpath(path, F['place']))
"""

SYMLINK = """
for number, path in enumerate([*F['secrets'], *F['relative'], F['beside']]):
    os.symlink(path, f'link{number}')
    show(f'link{number}')
os.symlink(F['home'], 'home')
os.symlink('/', 'top')
show('home/.env')
show('top' + F['beside'])
show('home/../beside.txt')
"""

HARD_LINK = """
for number, path in enumerate([*F['secrets'], F['beside'], *F['shared']]):
    attempt(os.link, path, f'hard{number}')
    if os.path.exists(f'hard{number}'):
        show(f'hard{number}')
"""

PROC_ROOT = """
for name in ('self', 'thread-self', *processes()):
    for path in [*F['secrets'], F['beside']]:
        show(f'/proc/{name}/root{path}')
    show(f'/proc/{name}/cwd/.env')
    show(f'/proc/{name}/cwd/../beside.txt')
    for fd in attempt(os.listdir, f'/proc/{name}/fd') or ():
        if os.path.isfile(f'/proc/{name}/fd/{fd}'):  # what is in a pipe would be taken from its reader
            show(f'/proc/{name}/fd/{fd}')
"""

PROC_ENVIRON = """
for name in ('self', *processes()):
    show(f'/proc/{name}/environ')
"""

PROC_CMDLINE = """
for name in processes():
    show(f'/proc/{name}/cmdline')
if F['walled'] and shutil.which('ps'):
    print(subprocess.run(['ps', 'axww'], capture_output=True, text=True).stdout)
"""

OWN_ENVIRONMENT = """
print(dict(os.environ))
show('/proc/self/environ')
print(subprocess.run(['env'], capture_output=True, text=True).stdout)
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
number = 0
while environ[number]:
    print(environ[number])
    number += 1
"""

FILE_DESCRIPTOR = """
for fd in range(3, 1024):
    try:
        print(fd, os.pread(fd, 4096, 0))
    except OSError:
        pass
"""

FOLDER_DESCRIPTOR = """
for fd in range(3, 1024):
    try:
        print(fd, os.listdir(fd))
        for name in ('id_ed25519', '../.env', '../../beside.txt'):
            print(os.read(os.open(name, os.O_RDONLY, dir_fd=fd), 4096))
        os.fchdir(fd)
        show('../.bashrc')
    except OSError:
        pass
"""

MEMORY = """
length, address = F['secret_length'], F['victim_address']
def read_memory():
    with open(f"/proc/{F['victim']}/mem", 'rb', buffering=0) as memory:
        memory.seek(address)
        print(memory.read(length))
attempt(read_memory)
kept = ctypes.create_string_buffer(length)
here = struct.pack('QQ', ctypes.addressof(kept), length)
there = struct.pack('QQ', address, length)
call('process_vm_readv', F['victim'], here, 1, there, 1, 0)
print(kept.value)
"""

PTRACE = """
seize, attach, detach = 0x4206, 16, 17
for process in processes():
    for request in (seize, attach):
        if (call('ptrace', request, process, 0, 0) or 0) >= 0:
            call('ptrace', detach, process, 0, 0)
"""

PROJECT_SECRETS = """
for path in ('.env', '.env.local', 'sub/.env', './/.env', 'sub/../.env'):
    show(path)
attempt(os.rename, '.env', 'plain')
attempt(os.link, '.env.local', 'hard')
attempt(os.rename, 'sub', 'moved')
attempt(os.unlink, '.env.local')
for path in ('plain', 'hard', 'moved/.env', '.env.local'):
    show(path)
print(subprocess.run('cat .env* */.env*; tar cf - . | strings', shell=True, capture_output=True, text=True).stdout)
"""

DEVICES = """
names = ['mem', 'kmem', 'kmsg', 'port', 'kvm', 'fuse', 'net/tun', 'loop-control', 'loop0', 'console', 'mapper/control']
names += ['vda', 'sda', 'nvme0n1', 'xvda', 'dri/card0', 'input/event0', 'hpet', 'cpu/0/msr', 'snapshot', 'userfaultfd']
for path in [*(f'/dev/{name}' for name in names), '/proc/kcore', '/proc/kmsg']:
    for flags in (os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY | os.O_NONBLOCK):
        fd = attempt(os.open, path, flags)
        if fd is not None and os.fstat(fd).st_rdev != os.stat('/dev/null').st_rdev:  # which may stand in its place
            print('READ', path)
for name, major, minor in F['disks']:
    attempt(os.mknod, f'{name}-node', 0o600 | stat.S_IFBLK, os.makedev(major, minor))
    if attempt(os.open, f'{name}-node', os.O_RDONLY) is not None:
        print('READ', name)
"""

OPEN_BY_HANDLE = """
here = os.open('.', os.O_RDONLY)
kept = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))
number = ctypes.create_string_buffer(8)
call('name_to_handle_at', here, b'.', kept, number, 0)
for inode in (2, 128, 256):  # the root of ext4, xfs and btrfs
    handle = ctypes.create_string_buffer(struct.pack('IiII', 8, 1, inode, 0))
    call('open_by_handle_at', here, handle, 0)
"""

SHARED_FOLDERS = """
for path in F['shared']:
    show(path)
    show('/proc/self/root' + path)
for folder in ('/tmp', '/var/tmp', '/dev/shm', '/run', '/var') if F['walled'] else ():
    for name in attempt(os.listdir, folder) or ():
        if os.path.isfile(f'{folder}/{name}'):
            show(f'{folder}/{name}')
"""

HOMES = """
for folder in [*F['homes'], os.path.expanduser('~')]:
    for current, folders, files in os.walk(folder):
        print('LISTED', current, folders[:500], files[:500])
        del folders[20:]
        if current.count('/') > folder.count('/') + 1:
            del folders[:]
"""


def _no_project_secret(scene: Scene, ran: Ran) -> str:
    return "the project's secret was read" if scene.project_secret in ran.out + ran.err else ""


def _no_harm_to_victim(scene: Scene, ran: Ran) -> str:
    return "" if scene.victim.poll() is None else "the victim ended"


@contextmanager
def _disks(scene: Scene) -> Iterator[dict[str, Any]]:
    """Numbers of this machine's disks, for nodes of the attack's own making."""
    found = [(path.parent.name, *map(int, path.read_text().split(":"))) for path in Path("/sys/block").glob("*/dev")]
    yield {"disks": found[:20]}


ATTACKS = (
    Attack("r01_dotdot", DOTS, no_secret, slow=False),
    Attack("r02_absolute", ABSOLUTE, no_secret),
    Attack("r03_symlink", SYMLINK, no_secret, slow=False),
    Attack("r04_hardlink", HARD_LINK, no_secret),
    Attack("r05_proc_root", PROC_ROOT, no_secret),
    Attack("r06_proc_environ", PROC_ENVIRON, no_secret, slow=False),
    Attack("r07_proc_cmdline", PROC_CMDLINE, no_secret),
    Attack("r08_own_env", OWN_ENVIRONMENT, no_secret),
    Attack("r09_fd_file", FILE_DESCRIPTOR, no_secret),
    Attack("r10_fd_dir", FOLDER_DESCRIPTOR, no_secret),
    Attack("r11_proc_mem", MEMORY, both(no_secret, unmarked("KERNEL:")), bites=False),
    Attack("r12_ptrace", PTRACE, both(unmarked("KERNEL:"), _no_harm_to_victim), bites=False),
    Attack("r13_dotenv_ws", PROJECT_SECRETS, _no_project_secret, exposed=True),
    Attack("r14_dev", DEVICES, unmarked("READ"), bites=False, host=_disks),
    Attack("r15_open_by_handle", OPEN_BY_HANDLE, both(no_secret, unmarked("KERNEL:")), bites=False),
    Attack("r16_host_tmp", SHARED_FOLDERS, no_secret),
    Attack("r17_other_home", HOMES, no_secret),
)
