"""Each limit is reached by a program that wants more, and said in a sentence; what stays below it is left alone."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrunner.errors import UsageError
from agentrunner.sandbox import Limits
from agentrunner.sandbox.usage import descendants, hides_files, measure

from .conftest import ALL, FULL, MAIN, Box, ids

every_wall = pytest.mark.parametrize("wall", ALL, ids=ids(ALL))
main_wall = pytest.mark.parametrize("wall", MAIN)
full_walls = pytest.mark.parametrize("wall", FULL, ids=ids(FULL))
Opener = Callable[..., Box]


def test_a_program_that_runs_too_long_is_ended_with_its_children(box: Box) -> None:
    began = time.monotonic()
    ran = box.run("sh", "-c", "echo before; (while true; do date > beat; sleep 0.05; done) & sleep 100", timeout_s=0.7)
    assert time.monotonic() - began < 3
    assert ran.stopped == "it ran longer than 0.7 s"
    assert ran.stdout == "before\n"
    last = (box.workspace / "beat").stat().st_mtime
    time.sleep(0.3)
    assert (box.workspace / "beat").stat().st_mtime == last


@main_wall
def test_long_output_keeps_its_beginning_and_end(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(output_bytes=1000))
    ran = box.python("print('begin'); print('x' * 50_000); print('end')")
    assert ran.stdout.startswith("begin\nxxx")
    assert ran.stdout.endswith("xxx\nend\n")
    assert ran.cut_bytes == 50_011 - 1000
    assert f"[... {ran.cut_bytes} bytes left out ...]" in ran.stdout
    assert box.python("print('short')").stdout == "short\n"


@main_wall
def test_a_flood_of_output_is_ended(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(output_bytes=10_000, output_kill_bytes=1 << 20))
    for command in ("yes", "yes >&2"):
        ran = box.run("sh", "-c", command, timeout_s=20)
        assert ran.stopped == "it printed more than 1 MiB"
        assert len(ran.stdout + ran.stderr) < 11_000


def test_output_that_is_not_text_does_no_harm(box: Box) -> None:
    ran = box.python("import os; os.write(1, b'\\xff\\x00\\xed\\xa0\\x80ok')")
    assert ran.stdout.endswith("ok")
    ran.stdout.encode()


@every_wall
def test_memory_of_one_process_is_limited(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(memory_bytes=128 << 20))
    assert box.python("b = bytearray(32 << 20); print(len(b))").exit_code == 0
    ran = box.python("b = bytearray(512 << 20); print(len(b))")
    assert ran.exit_code == 1
    assert "MemoryError" in ran.stderr


@main_wall
def test_memory_of_all_processes_together_is_limited(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(memory_bytes=256 << 20, memory_total_bytes=300 << 20))
    greedy = (
        "import os, time\nfor i in range(4):\n if os.fork() == 0:\n  b = b'x' * (150 << 20); time.sleep(20)\n"
        "time.sleep(20)"
    )
    ran = box.python(greedy, timeout_s=15)
    assert ran.stopped == "its processes used more than 300 MiB of memory together"


@full_walls
def test_a_fork_bomb_stays_within_its_number_of_tasks(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(tasks=20))
    if box.sandbox.lacks:
        pytest.skip(box.sandbox.lacks[0])
    bomb = (
        "import os, time\nn = 0\nfor i in range(60):\n try:\n  if os.fork() == 0: time.sleep(30); os._exit(0)\n"
        "  n += 1\n except OSError: break\nprint(n)"
    )
    ran = box.python(bomb)
    assert 10 <= int(ran.stdout) <= 20


@every_wall
def test_a_file_cannot_grow_beyond_its_limit(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(file_bytes=1 << 20))
    ran = box.run("sh", "-c", "head -c 4000000 /dev/zero > big")
    assert ran.exit_code != 0
    assert (box.workspace / "big").stat().st_size <= 1 << 20


@main_wall
def test_a_workspace_that_grows_too_much_ends_the_program(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(growth_bytes=20 << 20))
    script = "i=0; while true; do head -c 5000000 /dev/zero > f$i; i=$((i+1)); done"
    ran = box.run("sh", "-c", script, timeout_s=20)
    assert ran.stopped == "the workspace grew by more than 20 MiB; delete what is not needed"
    assert box.run("rm", "-rf", *[path.name for path in box.workspace.iterdir()]).stopped == ""


@main_wall
def test_too_many_files_end_the_program(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(entries=100))
    ran = box.python("import time\nfor i in range(200): open(f'f{i}', 'w').close()\ntime.sleep(20)", timeout_s=10)
    assert ran.stopped == "the workspace grew by more than 100 files; delete what is not needed"


@every_wall
def test_an_honest_program_is_not_taken_for_one_that_hides_files(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall)

    async def look() -> list[bool]:
        running = asyncio.create_task(box.sandbox.run(["sh", "-c", "touch ready; sleep 5 | sleep 5"]))
        while not (box.workspace / "ready").exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        (started,) = (child.process.pid for child in box.sandbox._children)  # pyright: ignore[reportPrivateUsage]
        found = descendants(started)
        assert len(found) >= 3
        seen = [hides_files([pid], box.workspace) for pid in found]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return seen

    assert not any(asyncio.run(look()))


def test_what_folders_themselves_take_up_is_measured(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    before = measure(tmp_path)
    for number in range(400):
        (tmp_path / "many" / f"{number:0200}").touch()
    if (tmp_path / "many").stat().st_blocks * 512 < 400 * 100:
        pytest.skip("folders take up nothing on this file system")
    after = measure(tmp_path)
    assert after.size_bytes - before.size_bytes >= 400 * 100
    assert after.entries - before.entries == 400


@main_wall
def test_processor_time_is_limited(open_box: Opener, wall: tuple[str, str]) -> None:
    box = open_box(wall, Limits(cpu_s=1))
    ran = box.python("while True: pass", timeout_s=20)
    assert ran.stopped == "it used more than 1 s of processor time" or ran.exit_code == 137
    assert ran.seconds < 10


def test_tmp_is_private_and_capped_at_the_full_level(full: Box) -> None:
    ran = full.run("sh", "-c", "for i in 1 2 3 4 5 6; do head -c 60000000 /dev/zero > /tmp/f$i || exit 9; done")
    assert ran.exit_code == 9
    assert full.run("sh", "-c", "ls /tmp/f1").exit_code != 0


def test_a_cancelled_run_leaves_nothing(box: Box) -> None:
    async def cancelled(after_s: float) -> None:
        running = asyncio.create_task(box.sandbox.run(["sh", "-c", "while true; do date > beat; sleep 0.02; done"]))
        await asyncio.sleep(after_s)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    for after_s in (0.0, 0.005, 0.3):
        asyncio.run(cancelled(after_s))
    last = (box.workspace / "beat").stat().st_mtime
    time.sleep(0.3)
    assert (box.workspace / "beat").stat().st_mtime == last


@every_wall
def test_killing_the_agent_kills_its_sandbox(open_box: Opener, wall: tuple[str, str], tmp_path: Path) -> None:
    workspace = open_box(wall).workspace
    agent = f"""
import asyncio
from pathlib import Path
from agentrunner.sandbox import open_sandbox
box = open_sandbox(Path({str(workspace)!r}), level={wall[0]!r}, launcher={wall[1]!r})
asyncio.run(box.run(["sh", "-c", "while true; do date > beat; sleep 0.02; done"]))
"""
    process = subprocess.Popen([sys.executable, "-c", agent])
    try:
        deadline = time.monotonic() + 10
        while not (workspace / "beat").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    time.sleep(0.5)
    last = (workspace / "beat").stat().st_mtime
    time.sleep(0.3)
    assert (workspace / "beat").stat().st_mtime == last


def test_limits_are_read_from_pairs() -> None:
    limits = Limits.parse(["wall=8", "memory=1.5G", "tasks=64", "output=512K", "file=10"])
    assert (limits.wall_s, limits.memory_bytes, limits.tasks) == (8.0, 3 << 29, 64)
    assert (limits.output_bytes, limits.file_bytes, limits.cpu_s) == (512 << 10, 10, Limits().cpu_s)


@pytest.mark.parametrize("pair", ["wall", "wall=", "wall=-1", "wall=0", "memory=1T", "disk=1G", "cpu=inf", "tasks=1e3"])
def test_a_limit_that_is_none_is_refused_with_an_example(pair: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(pair))):
        Limits.parse([pair])
