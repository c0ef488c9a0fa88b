"""Honest programs behind every wall: they must do as they should, or nothing that is refused would mean anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from .harness import WALLS, Ran, run
from .scene import Scene

walls = pytest.mark.parametrize("wall", WALLS)
slow_walls = pytest.mark.parametrize("wall", [pytest.param(wall, marks=pytest.mark.slow) for wall in WALLS])

PROGRAM = """
import os, sqlite3, subprocess, sys, tempfile, threading
print('a line', len(os.listdir('.')) > 0)
print('an error', file=sys.stderr)
with open('notes.txt', 'a') as file:
    file.write('more\\n')
os.makedirs('made/deeper')
os.rename('notes.txt', 'made/deeper/notes.txt')
print(open('made/deeper/notes.txt').read())
with tempfile.NamedTemporaryFile('w') as file:
    file.write('kept')
thread = threading.Thread(target=lambda: print('a thread'))
thread.start()
thread.join()
print(subprocess.run(['sh', '-c', 'echo one two | wc -w'], capture_output=True, text=True).stdout)
with sqlite3.connect('table.db') as table:
    table.execute('create table t (x)')
    table.execute('insert into t values (42)')
    print(table.execute('select x from t').fetchone())
sys.exit(7)
"""

PLOT = """
import pandas as pd
import matplotlib.pyplot as plt
pd.DataFrame({'x': [1, 2, 3], 'y': [4, 5, 6]}).plot(x='x', y='y')
plt.savefig('plot.png')
print(pd.DataFrame({'x': [1, 2]}).x.sum())
"""

SEVERAL_PROCESSES = """
import multiprocessing
def double(number):
    return 2 * number
if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(2) as pool:
        print(pool.map(double, range(4)))
"""


def _succeeds(ran: Ran) -> str:
    assert ran.code == 0, ran
    return ran.out


@walls
def test_a_program_prints_writes_reads_and_exits_with_its_code(
    make_scene: Callable[..., Scene], need_wall: Callable[[str], None], wall: str
) -> None:
    need_wall(wall)
    scene = make_scene()
    ran = run(scene, wall, ["python3", "-c", PROGRAM])
    assert ran.code == 7, ran
    assert ran.out.split("\n") == ["a line True", "nothing secret", "more", "", "a thread", "2", "", "(42,)", ""]
    assert "an error" in ran.err
    kept = scene.workspace / "made" / "deeper" / "notes.txt"
    assert kept.read_text() == "nothing secret\nmore\n"
    assert (kept.stat().st_uid, kept.stat().st_gid) == (os.getuid(), os.getgid())
    assert not scene.changes()


@slow_walls
def test_a_table_is_plotted(make_scene: Callable[..., Scene], need_wall: Callable[[str], None], wall: str) -> None:
    need_wall(wall)
    if not (find_spec("pandas") and find_spec("matplotlib")):
        pytest.skip("pandas and matplotlib are not installed")
    scene = make_scene()
    assert _succeeds(run(scene, wall, ["python3", "-c", PLOT])) == "3\n"
    assert (scene.workspace / "plot.png").read_bytes().startswith(b"\x89PNG")


@slow_walls
def test_a_compiler_makes_a_program_that_runs(
    make_scene: Callable[..., Scene], need_wall: Callable[[str], None], wall: str
) -> None:
    need_wall(wall)
    if wall == "partial":
        pytest.skip("no file is made executable by its path without a mount namespace")
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler")
    scene = make_scene()
    (scene.workspace / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    assert _succeeds(run(scene, wall, ["sh", "-c", "cc -O1 -o hello hello.c && ./hello"])) == "hello\n"


@slow_walls
def test_git_tells_the_state_of_the_workspace(
    make_scene: Callable[..., Scene], need_wall: Callable[[str], None], wall: str
) -> None:
    need_wall(wall)
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    scene = make_scene()
    options = ("--allow-exposed-workspace",) if wall == "partial" else ()
    setup = "git init -q . && git add notes.txt && git -c user.name=a -c user.email=a@b.example commit -q -m first"
    assert run(scene, "", ["sh", "-c", setup]).code == 0
    (scene.workspace / "notes.txt").write_text("changed\n")
    shown = _succeeds(run(scene, wall, ["sh", "-c", "git status --short && git log --format=%s"], options))
    assert shown == " M notes.txt\nfirst\n"


@slow_walls
def test_a_pool_of_processes_works(
    make_scene: Callable[..., Scene], need_wall: Callable[[str], None], wall: str
) -> None:
    need_wall(wall)
    if wall == "partial":
        pytest.skip("there is no shared memory without a mount namespace")
    assert _succeeds(run(make_scene(), wall, ["python3", "-c", SEVERAL_PROCESSES])) == "[0, 2, 4, 6]\n"
