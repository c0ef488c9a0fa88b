"""Root's programs where no other user can be put in their place: a control group bounds how many there are."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import Limits, Ran, open_sandbox
from agentrunner.sandbox.group import OWN_TASKS, TaskGroup

_TASKS = 20
_FORKS = """
import os, time
made = 0
try:
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(0.5)
            os._exit(0)
        made += 1
except OSError:
    pass
open('made', 'w').write(str(made))
"""


@pytest.fixture
def no_id_maps(tmp_path: Path) -> Iterator[Path]:
    """A workspace on a file system whose mounts the kernel does not id-map."""
    if os.geteuid():
        pytest.skip("not root: an ordinary user's processes are counted by the kernel")
    folders = {name: tmp_path / name for name in ("lower", "upper", "work", "merged")}
    for folder in folders.values():
        folder.mkdir()
    options = f"lowerdir={folders['lower']},upperdir={folders['upper']},workdir={folders['work']}"
    mounting = ["mount", "-t", "overlay", "overlay", "-o", options, str(folders["merged"])]
    if (done := subprocess.run(mounting, capture_output=True, text=True)).returncode:
        pytest.skip(f"overlayfs cannot be mounted here: {done.stderr.strip()}")
    try:
        place = folders["merged"] / "workspace"
        place.mkdir()
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(folders["merged"])], check=True)


def _forks(workspace: Path, level: Literal["full", "partial"], launcher: Literal["bwrap", "native", "auto"]) -> Ran:
    try:
        box = open_sandbox(workspace, level=level, launcher=launcher, limits=Limits(tasks=_TASKS))
    except SandboxError as refused:
        pytest.skip(str(refused))
    if any("watched" in lack for lack in box.lacks):
        box.close()
        pytest.skip("no control group can be made here")

    async def run() -> Ran:
        try:
            return await box.run(["python3", "-c", _FORKS])
        finally:
            await box.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize(("level", "launcher"), [("full", "bwrap"), ("full", "native"), ("partial", "auto")])
def test_roots_processes_are_bounded_where_its_files_cannot_be_id_mapped(
    no_id_maps: Path, level: Literal["full", "partial"], launcher: Literal["bwrap", "native", "auto"]
) -> None:
    ran = _forks(no_id_maps, level, launcher)
    assert ran.exit_code == 0, ran
    made = no_id_maps / "made"
    assert 5 <= int(made.read_text()) <= _TASKS + OWN_TASKS
    assert made.stat().st_uid == 0
    assert not list(Path("/sys/fs/cgroup").glob(f"**/agent-{os.getpid()}-*")), "the group outlived its sandbox"


def test_a_group_that_a_killed_agent_left_is_removed_by_the_next() -> None:
    try:
        first = TaskGroup(10)
    except OSError as refused:
        pytest.skip(f"no control group can be made here: {refused}")
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = first._path.rename(first._path.with_name(f"agent-{ended.pid}-00000000"))  # type: ignore[reportPrivateUsage]
    with closing(TaskGroup(10)):
        assert not left.exists()
