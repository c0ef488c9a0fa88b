"""Attacks on the disk: one huge file, many, sparse ones, more entries than a walk can bear, trees too deep to remove.

None writes more than a gigabyte even where nothing stops it.
"""

from __future__ import annotations

import re

from .beside import AT_MOST_S, LIMITS, beside, seen
from .harness import OVER, Attack, Judge, Ran
from .scene import Scene

_GROWTH_BYTES = (512 + 256) << 20
"""The limit, and what a fast writer gains on a watch that looks when the free space has fallen."""
_ENTRIES = 10_000 + 8_000
_NOTICED = re.compile("grew by more than|the disk lost more than")

FILL = """
block = b'x' * (1 << 20)
with open('huge', 'wb', buffering=0) as file:
    for _ in range(1000):
        file.write(block)
print('written')
"""

# Below the limit of one file.
FILL_MANY = """
block = b'x' * (1 << 20)
for number in range(10):
    with open(f'part{number}', 'wb', buffering=0) as file:
        for _ in range(100):
            file.write(block)
print('written')
"""

ENTRIES = """
import os
for folder in range(60):
    os.mkdir(f'd{folder}')
    for number in range(1000):
        os.close(os.open(f'd{folder}/{number}', os.O_CREAT | os.O_WRONLY))
print('made')
"""

SPARSE = """
import os
for size in (1 << 40, 1 << 30):
    try:
        os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), size)
    except OSError as refused:
        print(refused)
    try:
        os.posix_fallocate(os.open('claimed', os.O_CREAT | os.O_RDWR), 0, 1 << 30)
    except OSError as refused:
        print(refused)
    try:
        fd = os.open('sought', os.O_CREAT | os.O_RDWR)
        os.pwrite(fd, b'x', size)
    except OSError as refused:
        print(refused)
"""

# Nothing is written: the file system hands out its blocks at once.
CLAIM = """
fd = os.open('kept', os.O_CREAT | os.O_RDWR)
call('fallocate', fd, 1, 0, 800 << 20)
call('fallocate', fd, 0, 0, 200 << 20)
print('blocks', os.fstat(fd).st_blocks)
for number in range(50):
    attempt(os.posix_fallocate, os.open(f'claimed{number}', os.O_CREAT | os.O_RDWR), 0, 16 << 20)
time.sleep(0.5)
"""

ZIP_BOMB = """
import io, zipfile
block = bytes(100 << 20)
with zipfile.ZipFile('bomb.zip', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
    for number in range(10):
        bomb.writestr(f'member{number}', block)
with zipfile.ZipFile('bomb.zip') as bomb:
    bomb.extractall('unpacked')
print('unpacked')
"""

DEEP = """
import os
here = os.open('.', os.O_RDONLY)
for _ in range(3000):
    os.mkdir('d' * 60, dir_fd=here)
    deeper = os.open('d' * 60, os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = deeper
os.close(os.open('bottom', os.O_CREAT | os.O_WRONLY, dir_fd=here))
print('made')
"""

# The same as many files, where no path can name them.
FILL_DEEP = """
here = os.open('.', os.O_RDONLY)
for _ in range(80):
    os.mkdir('d' * 60, dir_fd=here)
    deeper = os.open('d' * 60, os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = deeper
block = b'x' * (1 << 20)
for number in range(10):
    fd = os.open(f'part{number}', os.O_CREAT | os.O_WRONLY, dir_fd=here)
    for _ in range(100):
        os.write(fd, block)
    os.close(fd)
time.sleep(2)
"""

# The same without any name: open, and removed.
FILL_NAMELESS = """
block = b'x' * (1 << 20)
held = []
for number in range(10):
    held.append(os.open(f'part{number}', os.O_CREAT | os.O_WRONLY))
    os.unlink(f'part{number}')
    for _ in range(100):
        os.write(held[-1], block)
time.sleep(2.5)
"""

# Not even open any more: a page of each stays mapped, or they are on their way to nobody.
FILL_MAPPED = """
block = b'x' * (1 << 20)
held = []
for number in range(10):
    fd = os.open(f'part{number}', os.O_CREAT | os.O_RDWR)
    os.unlink(f'part{number}')
    for _ in range(100):
        os.write(fd, block)
    held.append(libc.mmap(None, 4096, 1, 1, fd, 0))  # Python's own would keep it open
    os.close(fd)
time.sleep(2.5)
"""
FILL_ON_THE_WAY = """
block = b'x' * (1 << 20)
ours, theirs = socket.socketpair()
for number in range(10):
    fd = os.open(f'part{number}', os.O_CREAT | os.O_RDWR)
    os.unlink(f'part{number}')
    for _ in range(100):
        os.write(fd, block)
    socket.send_fds(ours, [b'x'], [fd])
    os.close(fd)
time.sleep(2.5)
"""

# In a folder that may be entered, and not read.
FILL_CLOSED = """
os.mkdir('closed', 0o300)
block = b'x' * (1 << 20)
for number in range(10):
    with open(f'closed/part{number}', 'wb', buffering=0) as file:
        for _ in range(80):
            file.write(block)
time.sleep(2.5)
"""

# By a process that lets nobody look at it.
FILL_UNSEEN = "libc.prctl(4, 0, 0, 0, 0)\n" + FILL_NAMELESS

FILL_TEMPORARY = """
folder = os.environ.get('TMPDIR', '.')
if folder in ('/tmp', '.'):  # where it is a file system of its own, the kernel bounds it
    folder = '.'
block = b'x' * (1 << 20)
for number in range(10):
    with open(f'{folder}/part{number}', 'wb', buffering=0) as file:
        for _ in range(80):
            file.write(block)
time.sleep(2.5)
"""

# While the walk that measures is led away: the folder that it enters is a link to everything a moment later.
FILL_BEHIND_LINKS = """
for number in range(50):
    os.mkdir(f'd{number}')
    os.symlink('/usr', f'l{number}')
if os.fork() == 0:
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for number in range(50):
            libc.renameat2(-100, f'd{number}'.encode(), -100, f'l{number}'.encode(), 2)
    os._exit(0)
block = b'x' * (1 << 20)
time.sleep(0.5)
for number in range(10):
    with open(f'part{number}', 'wb', buffering=0) as file:
        for _ in range(100):
            file.write(block)
    time.sleep(0.1)
time.sleep(2)
"""


def _little_disk(scene: Scene, ran: Ran) -> str:
    peaks = seen(scene).peaks
    if ran.seconds > AT_MOST_S:
        return f"it took {ran.seconds:.1f} s"
    if peaks.size_bytes > _GROWTH_BYTES:
        return f"the workspace grew by {peaks.size_bytes >> 20} MiB"
    if peaks.entries > _ENTRIES:
        return f"the workspace grew by {peaks.entries} entries"
    largest = seen(scene).largest_bytes
    return "" if largest <= 256 << 20 else f"a file of {largest} bytes"


def _stopped_for_its_growth(scene: Scene, ran: Ran) -> str:
    """The kernel gives everything back at the end: only the agent's word says that it was seen."""
    return _little_disk(scene, ran) or ("" if _NOTICED.search(ran.err) else "it was not noticed")


def _deep_is_survived(scene: Scene, ran: Ran) -> str:
    """A deep tree is allowed; the agent that watched it must have come to its end, and the program too."""
    return _little_disk(scene, ran) or ("" if OVER in ran.out and ran.code == 0 else f"the agent: {ran.err[-300:]}")


def _limited(id_: str, program: str, judge: Judge = _little_disk, slow: bool = True) -> Attack:
    return Attack(id_, program, judge, slow, LIMITS, bites=False, ends=False, host=beside)


ATTACKS = (
    _limited("d01_fill", FILL, slow=False),
    _limited("d02_fill_many", FILL_MANY),
    _limited("d03_entries", ENTRIES),
    _limited("d04_sparse", SPARSE, slow=False),
    _limited("d02_fill_deep", FILL_DEEP),
    _limited("d02_fill_nameless", FILL_NAMELESS, _stopped_for_its_growth),
    _limited("d02_fill_mapped", FILL_MAPPED, _stopped_for_its_growth),
    _limited("d02_fill_on_the_way", FILL_ON_THE_WAY, _stopped_for_its_growth),
    _limited("d02_fill_closed", FILL_CLOSED, _stopped_for_its_growth),
    _limited("d02_fill_unseen", FILL_UNSEEN, _stopped_for_its_growth),
    _limited("d02_fill_temporary", FILL_TEMPORARY, _stopped_for_its_growth),
    _limited("d02_fill_behind_links", FILL_BEHIND_LINKS),
    _limited("d04_claim", CLAIM, slow=False),
    _limited("d05_zip_bomb", ZIP_BOMB),
    _limited("d06_deep", DEEP, _deep_is_survived),
)
