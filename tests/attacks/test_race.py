"""A program swaps a folder of the workspace for a link that leads outside, at full speed; file tools never follow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.tools import LocalToolbox, build_toolbox
from agentrunner.types import ToolCall
from tests.support.program import Agent

SECRET = "kept-outside-of-the-workspace"
LISTED = "a-name-that-only-a-listing-tells"
SAMPLE_S, WHOLE_S = 0.5, 3.0
AT_MOST_S = 15.0
"""Where the machine is so busy that one of the two has hardly run, they go on until they have met."""

# `there` is a folder and a link in turn, by one exchange of names where the kernel has that, else by two renames.
SWAP = """
import ctypes, os, time
outside = {outside!r}
os.makedirs('there/deeper', exist_ok=True)
open('there/file.txt', 'w').write('inside')
open('there/deeper/file.txt', 'w').write('inside')
os.symlink(outside, 'link')
libc = ctypes.CDLL(None)
end = time.monotonic() + {at_most}
count = 0
print('swapping', flush=True)
open('ready', 'w').close()
while time.monotonic() < end and not os.path.exists('stop'):
    for _ in range(100):
        if libc.renameat2(-100, b'there', -100, b'link', 2):
            os.rename('there', 'third'); os.rename('link', 'there'); os.rename('third', 'link')
        count += 1
print('swapped', count)
"""


@pytest.fixture
def outside(agent: Agent) -> Path:
    """What must never be read nor changed."""
    folder = agent.folder / "outside"
    (folder / "deeper").mkdir(parents=True)
    for name in ("file.txt", "only-outside.txt", LISTED, "deeper/file.txt"):
        (folder / name).write_text(SECRET)
    return folder


@pytest.mark.parametrize(
    "seconds", [SAMPLE_S, pytest.param(WHOLE_S, marks=pytest.mark.slow)], ids=["sample", "three_seconds"]
)
def test_file_tools_win_against_a_program_that_swaps_folders(
    agent: Agent, sandboxed: None, outside: Path, tmp_path: Path, seconds: float
) -> None:
    before = _state(outside)
    agent.workspace.mkdir()
    toolbox = build_toolbox(
        workspace=agent.workspace, outputs=tmp_path / "outputs", sandbox=None, web="off", approve="auto"
    )
    with _swapping(agent, outside) as process:
        outcomes, leaks = asyncio.run(_use_files(toolbox, seconds))
        (agent.workspace / "stop").touch()
        out, err = process.communicate(timeout=20)
    swapped = int(out.split()[-1])
    assert not leaks
    assert _state(outside) == before
    assert swapped > 1000 * seconds, (out, err)
    assert outcomes["read_file", "ok"] > 0, outcomes  # some calls met the folder,
    assert outcomes["read_file", "error"] > 0, outcomes  # and some the link
    print(f"{swapped} swaps, {outcomes.total()} calls: {dict(outcomes)}")


@contextlib.contextmanager
def _swapping(agent: Agent, outside: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = SWAP.format(outside=str(outside), at_most=AT_MOST_S + 5)
    limits = ["--limit", f"wall={AT_MOST_S + 10:.0f}"]
    process = agent.start(
        *["sandbox", "run", "--workspace", str(agent.workspace), *limits, "--", "python3", "-I", "-c", program]
    )
    try:
        deadline = time.monotonic() + 10
        while not (agent.workspace / "ready").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


async def _use_files(toolbox: LocalToolbox, seconds: float) -> tuple[Counter[tuple[str, str]], list[str]]:
    """What came of the calls, by tool; and every result that held something from outside."""
    outcomes: Counter[tuple[str, str]] = Counter()
    leaks: list[str] = []
    began = time.monotonic()
    number = 0
    while (passed := time.monotonic() - began) < seconds or (
        passed < AT_MOST_S and not (outcomes["read_file", "ok"] and outcomes["read_file", "error"])
    ):
        number += 1
        for name, arguments in _calls(number):
            result = await toolbox.call(ToolCall(f"c{number}", name, arguments), f"/tool:{number}:0", 10.0)
            outcomes[name, result.outcome] += 1
            if SECRET in result.content or LISTED in result.content:
                leaks.append(f"{name} {arguments}: {result.content}")
    return outcomes, leaks


def _calls(number: int) -> list[tuple[str, dict[str, object]]]:
    return [
        ("read_file", {"path": "there/file.txt"}),
        ("read_file", {"path": "there/deeper/file.txt"}),
        ("write_file", {"path": f"there/new{number % 7}.txt", "content": "from the model"}),
        ("write_file", {"path": "there/file.txt", "content": "inside"}),
        ("append_file", {"path": "there/deeper/file.txt", "content": "x"}),
        ("list_files", {"path": "there"}),
        ("search_files", {"pattern": "kept|only", "path": "there"}),
        ("move_file", {"source": f"there/new{number % 7}.txt", "destination": f"there/deeper/moved{number}.txt"}),
        ("delete_file", {"path": f"there/deeper/moved{number}.txt"}),
        ("delete_file", {"path": "there/only-outside.txt"}),
    ]


def _state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found: dict[str, tuple[int, int, bytes]] = {}
    for path in sorted(folder.rglob("*")):
        status = os.lstat(path)
        found[str(path)] = (status.st_mtime_ns, status.st_ino, path.read_bytes() if path.is_file() else b"")
    return found
