"""What code that runs already may do while another wall is built over its workspace, or before the next one is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import Sandbox, open_sandbox

full = pytest.mark.parametrize("launcher", ["bwrap", "native"])
SECRET = "SECRET-of-the-host"

SWAP = """
import os, threading, time, ctypes, socket
libc = ctypes.CDLL(None)
os.mkdir('.git')
os.symlink('/oldroot' + {outside!r}, 'gg')
os.mkdir('dd')
socket.socket(socket.AF_UNIX).bind('dd/planted')
os.symlink('/oldroot' + {outside!r}, 'll')
def swap(end=time.monotonic() + 60):
    while time.monotonic() < end:
        libc.renameat2(-100, b'.git', -100, b'gg', 2)
        libc.renameat2(-100, b'dd', -100, b'll', 2)
        libc.renameat2(-100, b'sub', -100, b'sub2', 2)
threading.Thread(target=swap, daemon=True).start()
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with a secret in it, and a workspace with another one beside it."""
    outside, workspace = tmp_path / "outside", tmp_path / "workspace"
    for folder in (outside, workspace / "sub", workspace / "sub2"):
        folder.mkdir(parents=True)
    (outside / "secret").write_text(SECRET)
    (workspace / "sub" / ".env").write_text(SECRET)
    return tmp_path


def behind(scene: Path, launcher: str, use: Callable[[Sandbox], Any]) -> Any:
    """What `use` comes to behind that wall."""
    try:
        wanted: Literal["bwrap", "native"] = "bwrap" if launcher == "bwrap" else "native"
        box = open_sandbox(scene / "workspace", level="full", launcher=wanted)
    except SandboxError as refused:
        pytest.skip(str(refused))

    async def run() -> Any:
        try:
            return await use(box)
        finally:
            await box.aclose()

    return asyncio.run(run())


@full
@pytest.mark.parametrize("seconds", [2, pytest.param(15, marks=pytest.mark.slow)])
def test_a_thread_of_a_cell_does_not_lead_the_mounts_of_a_command_astray(
    scene: Path, launcher: str, seconds: float
) -> None:
    async def use(box: Sandbox) -> int:
        cell = await (await box.interpreter()).execute(SWAP.format(outside=str(scene / "outside")), 20)
        assert cell.ok, cell
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            paths = [".git/secret", "gg/secret", "sub/.env", "sub2/.env"]
            ran = await box.run(["sh", "-c", "cat " + " ".join(paths)], timeout_s=5)
            assert SECRET not in ran.stdout, f"after {count} launches"
            count += 1
        return count

    assert behind(scene, launcher, use) > 5
    assert [path.name for path in (scene / "outside").iterdir()] == ["secret"]


@full
@pytest.mark.parametrize(
    "before",
    [
        "mkdir node_modules; mv sub node_modules/; ln -s node_modules/sub s",
        "mkdir -p site-packages/a; mv sub/.env site-packages/a/; ln -s site-packages/a s",
        "ln -s sub s; chmod 300 sub",
        "mv sub .git; ln -s .git s",
    ],
)
def test_what_was_hidden_stays_hidden_wherever_its_folder_is_moved(scene: Path, launcher: str, before: str) -> None:
    async def use(box: Sandbox) -> str:
        await box.run(["sh", "-c", before])
        found = await box.run(
            ["sh", "-c", "chmod -R u+rwx . ; cat s/.env sub/.env; find . -name '.env*' -exec cat {} +"]
        )
        return found.stdout

    assert SECRET not in behind(scene, launcher, use)


@full
def test_a_program_that_is_held_for_a_launch_goes_on(scene: Path, launcher: str) -> None:
    counting = (
        "import threading, time\nseen = []\n"
        "def count():\n    while True:\n        seen.append(1)\n        time.sleep(0.01)\n"
        "threading.Thread(target=count, daemon=True).start()"
    )

    async def use(box: Sandbox) -> tuple[int, int]:
        interpreter = await box.interpreter()
        await interpreter.execute(counting, 10)
        await box.run(["true"])
        first = await interpreter.execute("len(seen)", 10)
        await asyncio.sleep(0.2)
        second = await interpreter.execute("len(seen)", 10)
        return int(first.value), int(second.value)

    first, second = behind(scene, launcher, use)
    assert second > first + 5


FORGED = """
import json, os, socket, struct
for fd in map(int, os.listdir('/proc/self/fd')):
    try:
        control = socket.socket(fileno=os.dup(fd))
        control.getpeername()
    except OSError:
        continue
    reply = {reply}
    data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    try:
        for _ in range({times}):
            control.sendall(struct.pack('>I', len(data)) + data)
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("reply", "times"),
    [
        ("{'id': 7777, 'ok': True, 'value': '', 'error': '', 'figures': []}", 10_000_000),
        ("b'[' * 1_000_000", 1),
    ],
)
def test_forged_replies_of_a_cell_hold_nobody_up(scene: Path, sandboxed: None, reply: str, times: int) -> None:
    async def use(box: Sandbox) -> tuple[bool, float]:
        interpreter = await box.interpreter()
        beats: list[float] = []

        async def beat() -> None:
            while True:
                beats.append(time.monotonic())
                await asyncio.sleep(0.05)

        beating = asyncio.create_task(beat())
        began = time.monotonic()
        cell = await interpreter.execute(FORGED.format(reply=reply, times=times), 3)
        took = time.monotonic() - began
        beating.cancel()
        assert max((later - earlier for earlier, later in pairwise(beats)), default=0) < 1.5
        return cell.ok, took

    ok, took = behind(scene, "native", use)
    assert not ok
    assert took < 8


@full
def test_a_program_cannot_pretend_that_there_was_no_sandbox(scene: Path, launcher: str) -> None:
    async def use(box: Sandbox) -> list[int]:
        said = ['echo "bwrap: no" >&2; exit 1', "exit 125", "exit 1"]
        return [(await box.run(["sh", "-c", text])).exit_code for text in said]

    assert behind(scene, launcher, use) == [1, 125, 1]
