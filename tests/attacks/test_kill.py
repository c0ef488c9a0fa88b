"""kill -9 of the agent, at any moment and behind any wall, leaves nothing of what it had started."""

from __future__ import annotations

import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import open_sandbox
from tests.support.program import Agent, says

from .host import descendants, ended, started_at, still_there, survivors

LEFT_AFTER_S = 2.0
WALLS = [("full", "native"), ("full", "bwrap"), ("partial", "auto")]
EARLY_S = (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
"""After the agent's start, which takes some 0.4 s to the moment in which the wall is built."""
TASKS = 5
"""Processes with the marker once all of `DAEMONS` runs."""

DAEMONS = """
import os, subprocess, sys, time
sleeper = '''import signal, sys, time
for number in range(1, 32):
    if number not in (9, 17, 19):
        signal.signal(number, signal.SIG_IGN)
time.sleep(40)'''
for _ in range({daemons}):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', sleeper, '{marker}'])
        os._exit(0)
for _ in range({daemons}):
    os.wait()
subprocess.run([sys.executable, '-I', '-S', '-c', sleeper, '{marker}'])
"""

walls = pytest.mark.parametrize(
    "wall",
    [pytest.param(wall, id="-".join(wall), marks=[] if wall == WALLS[0] else [pytest.mark.slow]) for wall in WALLS],
)


@pytest.fixture
def marker() -> str:
    return f"daemon-{secrets.token_hex(8)}"


@walls
def test_a_command_with_daemons_ends_with_its_agent(agent: Agent, wall: tuple[str, str], marker: str) -> None:
    _check_wall(agent, wall)
    process = agent.start(*_sandbox_run(agent, wall, DAEMONS.format(daemons=TASKS - 1, marker=marker)))
    _kill_when_up(process, marker)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", EARLY_S)
@pytest.mark.parametrize("wall", WALLS, ids=["-".join(wall) for wall in WALLS])
def test_an_agent_killed_while_it_builds_the_wall_leaves_nothing(
    agent: Agent, wall: tuple[str, str], marker: str, delay_s: float
) -> None:
    _check_wall(agent, wall)
    process = agent.start(*_sandbox_run(agent, wall, DAEMONS.format(daemons=TASKS - 1, marker=marker)))
    time.sleep(delay_s)
    _kill(process, marker)


@walls
@pytest.mark.parametrize("tool", ["python", "shell"])
def test_a_session_killed_in_the_middle_of_a_call_leaves_nothing(
    agent: Agent, wall: tuple[str, str], marker: str, tool: str
) -> None:
    _check_wall(agent, wall)
    code = DAEMONS.format(daemons=TASKS - 1, marker=marker)
    if tool == "shell":
        (agent.workspace / "daemons.py").write_text(code)
        code = (
            f"nohup setsid python3 daemons.py > /dev/null 2>&1 & sleep 40 & exec python3 -c 'while True: pass' {marker}"
        )
    script = agent.script(says(tool, **{"python": {"code": code}, "shell": {"command": code}}[tool]))
    options = ["--sandbox", wall[0], "--sandbox-launcher", wall[1]]
    process = agent.start("run", "go", "--script", script, "--workspace", str(agent.workspace), "--json", *options)
    _kill_when_up(process, marker)


@pytest.mark.slow
@pytest.mark.parametrize("wall", WALLS, ids=["-".join(wall) for wall in WALLS])
def test_a_stopped_agent_that_is_killed_leaves_nothing(agent: Agent, wall: tuple[str, str], marker: str) -> None:
    _check_wall(agent, wall)
    process = agent.start(*_sandbox_run(agent, wall, DAEMONS.format(daemons=TASKS - 1, marker=marker)))
    _wait_until_up(process, marker)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    _kill(process, marker)


def _sandbox_run(agent: Agent, wall: tuple[str, str], code: str) -> list[str]:
    options = ["--sandbox", wall[0], "--sandbox-launcher", wall[1], "--limit", "wall=30"]
    return ["sandbox", "run", "--workspace", str(agent.workspace), *options, "--", "python3", "-c", code]


def _check_wall(agent: Agent, wall: tuple[str, str]) -> None:
    agent.workspace.mkdir(exist_ok=True)
    try:
        open_sandbox(agent.workspace, level=wall[0], launcher=wall[1]).close()  # type: ignore[arg-type]
    except SandboxError as refused:
        pytest.skip(str(refused))


def _kill_when_up(process: subprocess.Popen[bytes], marker: str) -> None:
    _wait_until_up(process, marker)
    _kill(process, marker)


def _wait_until_up(process: subprocess.Popen[bytes], marker: str) -> None:
    deadline = time.monotonic() + 20
    while len(survivors(marker)) < TASKS and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    if len(survivors(marker)) < TASKS:
        process.kill()
        out, err = process.communicate(timeout=5)
        raise AssertionError(f"the daemons did not start: {out.decode()} {err.decode()}")


def _kill(process: subprocess.Popen[bytes], marker: str) -> None:
    below = {pid: started_at(pid) for pid in descendants(process.pid)}
    process.kill()
    process.wait()
    deadline = time.monotonic() + LEFT_AFTER_S
    left = still_there(marker, LEFT_AFTER_S)
    while (guards := [pid for pid, start in below.items() if start and started_at(pid) == start]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    _close(process)
    shown = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in [*left, *guards] if Path(f"/proc/{pid}").exists()]
    ended(left)
    assert not left, shown
    assert not guards, shown


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdout, process.stderr):
        assert stream
        stream.close()
