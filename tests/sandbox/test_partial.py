"""What the level without a mount namespace refuses of its own accord, and what honest programs can still do there."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from .conftest import Box


@pytest.fixture
def partial(open_box: Callable[..., Box]) -> Box:
    return open_box(("partial", "auto"))


PRIORITIES = """
import os
# A group and a user that nobody has: where it is not refused, the kernel says that there is none.
for which in (os.PRIO_PGRP, os.PRIO_USER):
    for who in (0, (1 << 31) - 5):
        try:
            os.setpriority(which, who, os.getpriority(os.PRIO_PROCESS, 0))
        except OSError as refused:
            print(refused.errno)
os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 1)
print('its own')
"""


def test_priorities_of_whole_groups_and_users_stay_as_they_are(partial: Box) -> None:
    assert partial.python(PRIORITIES).stdout == "1\n1\n1\n1\nits own\n"


MODES = """
import os, shutil
open('a', 'w').write('kept')
mode = os.stat('a').st_mode
fd = os.open('a', os.O_RDWR)
os.fchmod(fd, 0o700)
os.fchown(fd, 12345, 12345)
print(os.stat('a').st_mode == mode, os.stat('a').st_uid == os.getuid())
for change in (lambda: os.setxattr(fd, 'user.x', b'x'), lambda: os.chmod('a', 0o700)):
    try:
        change()
    except OSError:
        print('refused')
os.utime(fd, (1, 1))
print(os.stat('a').st_mtime)
shutil.copyfile('a', 'b')
print(open('b').read())
"""


def test_modes_stay_and_copies_go_on(partial: Box) -> None:
    assert partial.python(MODES).stdout == "True True\nrefused\nrefused\n1.0\nkept\n"
    assert any("modes and owners" in sentence for sentence in partial.sandbox.lacks)


@pytest.mark.parametrize(
    "command",
    [
        "tar -cf a.tar a && mkdir out && tar -xf a.tar -C out && cat out/a",
        "cp a out && touch out && cat out",
        "cp -p a out && cat out",
        "gzip a && gunzip a.gz && cat a",
        "sed -i s/kept/kept/ a && cat a",
        "python3 -m zipfile -c a.zip a && python3 -m zipfile -e a.zip out && cat out/a",
        "tail -n 1 a",
    ],
)
def test_ordinary_programs_do_their_work(partial: Box, command: str) -> None:
    if not shutil.which(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is not installed")
    (partial.workspace / "a").write_text("kept\n")
    ran = partial.run("sh", "-c", command)
    assert (ran.exit_code, ran.stdout) == (0, "kept\n"), ran
