"""Attacks that change what lies outside, or leave something in the workspace that would act later or trap a reader."""

from __future__ import annotations

import os
import stat

from .harness import Attack, Ran, both, unchanged, unmarked
from .scene import Scene

START_FILES = """
for name in ('.bashrc', '.profile', '.ssh/authorized_keys', '.config/gh/hosts.yml', '.config/autostart.desktop'):
    put(f"{F['home']}/{name}")
    put(os.path.expanduser(f'~/{name}'))
"""

OUTSIDE = """
for path in ['../outside.txt', F['beside'], '../folder/new', *F['plant']]:
    put(path)
attempt(os.mkdir, '../made')
attempt(os.mkdir, F['place'] + '/made')
attempt(os.symlink, '/', '../made-link')
attempt(os.mkfifo, '../made-pipe')
"""

THROUGH_SYMLINK = """
os.symlink(F['beside'], 'file')
os.symlink('../beside.txt', 'relative')
os.symlink(F['place'] + '/new.txt', 'new')
os.symlink(F['home'], 'folder')
os.symlink('..', 'up')
for path in ('file', 'relative', 'new', 'folder/.bashrc', 'folder/new', 'up/beside.txt', 'up/new'):
    put(path)
"""

RENAME_OUT = """
for path in (F['place'] + '/moved', '../moved', F['beside'], F['home'] + '/.bashrc'):
    put('file')
    attempt(os.link, 'file', path + '-linked')
    attempt(os.rename, 'file', path)
attempt(os.rename, F['beside'], 'taken')
exchange = 2
for there in (F['beside'], F['place'] + '/folder'):
    put('file')
    print(libc.renameat2(-100, b'file', -100, there.encode(), exchange))
attempt(os.rename, os.getcwd(), F['place'] + '/elsewhere')
"""

TRUNCATE = """
for path in [F['beside'], *F['secrets'], '../beside.txt']:
    attempt(os.truncate, path, 0)
    attempt(os.open, path, os.O_RDONLY | os.O_TRUNC)
    attempt(os.open, path, os.O_WRONLY | os.O_TRUNC)
    attempt(os.rename, path, path + '.gone')
    attempt(os.unlink, path)
attempt(os.rmdir, F['place'] + '/folder')
"""

METADATA = """
for path in [F['beside'], F['home'], F['home'] + '/.ssh', F['place'], '..', '../beside.txt', *F['secrets']]:
    attempt(os.chmod, path, 0o777)
    attempt(os.chown, path, os.getuid(), os.getgid())
    attempt(os.utime, path, (1, 1))
    attempt(os.setxattr, path, 'user.mark', b'x')
    fd = attempt(os.open, path, os.O_PATH)
    if fd is not None:
        for name in (f'/proc/self/fd/{fd}', f'/dev/fd/{fd}'):
            attempt(os.chmod, name, 0o777)
            attempt(os.utime, name, (1, 1))
    fd = attempt(os.open, path, os.O_RDONLY)
    if fd is not None:
        attempt(os.fchmod, fd, 0o777)
        attempt(os.utime, fd, (1, 1))
        attempt(os.setxattr, fd, 'user.mark', b'x')
"""

SHARED_FOLDERS = """
for path in F['plant']:
    if path.startswith(('/tmp', '/var/tmp', '/dev/shm')):
        put(path)
for path in F['shared']:
    put(path)
    attempt(os.unlink, path)
"""

GIT = """
for name in ('hooks/pre-commit', 'hooks/post-commit', 'config', 'config.worktree', 'index', 'info/attributes'):
    put(f'.git/{name}')
attempt(os.chmod, '.git/hooks/post-commit', 0o755)
attempt(os.rename, '.git', 'old')
attempt(os.mkdir, '.git')
shutil.rmtree('.git', ignore_errors=True)
os.symlink('.git', 'other')
put('other/config')
subprocess.run(['git', 'config', 'core.fsmonitor', 'touch pwned'], capture_output=True) if shutil.which('git') else None
"""

# What other programs would execute when somebody enters the folder, opens it, or calls git in there.
START_FILES_OF_TOOLS = """
put('.envrc')
put('.gitmodules')
for folder in ('.vscode', '.idea', 'deep/.vscode'):
    attempt(os.makedirs, folder)
    put(f'{folder}/tasks.json')
for repository in ('.git', 'deep/.git', 'bare.git'):
    for folder in ('hooks', 'objects', 'refs/heads', 'info'):
        os.makedirs(f'{repository}/{folder}')
    put(f'{repository}/HEAD', 'ref: refs/heads/main\\n')
    put(f'{repository}/config', '[core]\\n\\tfsmonitor = touch pwned\\n')
    put(f'{repository}/hooks/post-checkout', '#!/bin/sh\\ntouch pwned\\n')
    attempt(os.chmod, f'{repository}/hooks/post-checkout', 0o755)
"""

INTERPRETER = """
import importlib.util, site, sysconfig
library = os.path.dirname(os.__file__)
for folder in {library, *site.getsitepackages(), sysconfig.get_path('scripts'), os.path.dirname(sys.executable)}:
    for name in (F['token'], F['token'] + '.pth'):
        put(f'{folder}/{name}')
    attempt(os.mkdir, f"{folder}/{F['token']}")
caches = [os.path.dirname(importlib.util.cache_from_source(file)) for file in (os.__file__, json.__file__)]
for path in [os.__file__, json.__file__, *glob.glob(library + '/__pycache__/os.*'), *glob.glob(caches[0] + '/*')[:5]]:
    if attempt(os.open, path, os.O_WRONLY | os.O_APPEND) is not None:
        print('KERNEL: may write', path)
for folder in caches:
    put(f"{folder}/{F['token']}")
"""

TRAPS = """
attempt(os.mkfifo, 'pipe')
attempt(os.mknod, 'null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))
attempt(os.mknod, 'zero', 0o666 | stat.S_IFCHR, os.makedev(1, 5))
attempt(os.mknod, 'disk', 0o666 | stat.S_IFBLK, os.makedev(254, 0))
attempt(os.truncate, os.open('sparse', os.O_CREAT | os.O_RDWR), 1 << 40)
"""

SET_USER_ID = """
shell = '/bin/sh'
shutil.copyfile(shell, 'chmod')
attempt(os.chmod, 'chmod', 0o4755)
attempt(os.chmod, 'chmod', 0o6755)
for number, flags in enumerate((os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_TRUNC)):
    attempt(os.open, f'open{number}', flags | os.O_WRONLY, 0o4755)
    attempt(os.open, f'group{number}', flags | os.O_WRONLY, 0o2755)
fd = attempt(os.open, '.', os.O_TMPFILE | os.O_WRONLY, 0o4755)
if fd is not None:
    attempt(lambda: os.link(f'/proc/self/fd/{fd}', 'unnamed', follow_symlinks=True))
fd = os.open('fchmod', os.O_CREAT | os.O_WRONLY, 0o755)
attempt(os.fchmod, fd, 0o4755)
call('openat2', -100, b'openat2', struct.pack('QQQ', os.O_CREAT | os.O_WRONLY, 0o4755, 0), 24)
call('creat', b'creat', 0o4755)
for name in ('fchmodat', 'fchmodat2'):
    call(name, -100, b'chmod', 0o4755, 0)
capability = struct.pack('<IIIII', 0x02000001, 1 << 7, 0, 0, 0)
attempt(os.setxattr, 'chmod', 'security.capability', capability)
subprocess.run(['cp', '-p', '/usr/bin/passwd', 'copied'], capture_output=True)
subprocess.run(['chmod', 'u+s', 'copied'], capture_output=True)
subprocess.run(['install', '-m', '4755', shell, 'installed'], capture_output=True)
"""


def _shared_is_there(scene: Scene, ran: Ran) -> str:
    """What other programs keep in the folders that are everybody's is as it was."""
    changed = [path for path in scene.shared if not path.exists() or path.read_text() != scene.secret]
    return f"changed or removed: {changed}" if changed else ""


def _nothing_acts(scene: Scene, ran: Ran) -> str:
    names = {".envrc", ".gitmodules", ".vscode", ".idea", "post-checkout"}
    found = [path for path in scene.workspace.rglob("*") if path.name in names]
    found += [path for path in scene.workspace.rglob("config") if "fsmonitor" in path.read_text()]
    return f"would be executed: {found}" if found else ""


def _no_traps(scene: Scene, ran: Ran) -> str:
    """A reader on the host would wait for ever at a pipe or a device, and fill its memory with a sparse file."""
    found: list[str] = []
    for path in scene.workspace.rglob("*"):
        state = path.lstat()
        kind = stat.S_IFMT(state.st_mode)
        if kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK) or state.st_size > 1 << 30:
            found.append(f"{path.name} was left: {stat.filemode(state.st_mode)}, {state.st_size} bytes")
    return "; ".join(found)


def _no_set_id(scene: Scene, ran: Ran) -> str:
    found: list[str] = []
    for path in scene.workspace.rglob("*"):
        capability = not path.is_symlink() and "security.capability" in os.listxattr(path)
        if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID) or capability:
            found.append(f"{path.name} was left: {stat.filemode(path.lstat().st_mode)}")
    return "; ".join(found)


ATTACKS = (
    Attack("w01_bashrc", START_FILES, unchanged, slow=False),
    Attack("w02_outside", OUTSIDE, unchanged, slow=False),
    Attack("w03_symlink_write", THROUGH_SYMLINK, unchanged),
    Attack("w04_rename_out", RENAME_OUT, unchanged),
    Attack("w05_truncate", TRUNCATE, unchanged),
    Attack("w06_chmod", METADATA, unchanged),
    Attack("w07_host_tmp", SHARED_FOLDERS, both(unchanged, _shared_is_there)),
    Attack("w08_git_hooks", GIT, unchanged, exposed=True),
    Attack("w08_start_files", START_FILES_OF_TOOLS, _nothing_acts, slow=False),
    Attack("w10_pycache", INTERPRETER, both(unchanged, unmarked("KERNEL:")), bites=False),
    Attack("w11_fifo", TRAPS, _no_traps),
    Attack("w12_setuid", SET_USER_ID, _no_set_id, slow=False),
)
