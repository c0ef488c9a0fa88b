"""What a program may leave in its workspace, or print: harmless in there, so the programs of the host must bear it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .harness import OVER, Attack, Ran, run_attack
from .scene import Scene

WALL = "native"

POISON = """
poison = f'''
try:
    with open({F['place'] + '/' + F['token']!r}, 'a') as file:
        file.write(__name__)
except OSError:
    pass
print('POISONED', __name__)
raise SystemExit(9)
'''
names = ('sitecustomize', 'usercustomize', 'json', 'os', 're', 'struct', 'marshal', 'ast', 'socket', 'typing')
packages = ('encodings', 'agentrunner', 'typer', 'pydantic', 'pandas', 'matplotlib', 'inside', 'asyncio')
for name in names:
    put(f'{name}.py', poison)
for name in packages:
    os.makedirs(name)
    for file in ('__init__', '__main__', 'launcher', 'worker'):
        put(f'{name}/{file}.py', poison)
put('own.pth', 'import sitecustomize\\n')
put('pyvenv.cfg', 'home = .\\n')
for name in ('bwrap', 'prlimit', 'python', 'python3', 'sh', 'git', 'true'):
    put(name, f"#!/bin/sh\\ntouch {F['place']}/{F['token']}\\necho POISONED\\n")
    os.chmod(name, 0o755)
"""

LINKS = """
os.symlink(F['home'] + '/.ssh/id_ed25519', 'out.png')
os.symlink('../home/.env', 'notes.md')
os.symlink('notes.md', 'chain.md')
os.symlink(F['home'], 'home')
os.symlink('..', 'up')
os.symlink('/proc/self/environ', 'environ')
os.symlink(F['place'] + '/made.txt', 'dangling.txt')
"""

READS: list[tuple[str, dict[str, Any]]] = [
    *(("read_file", {"path": path}) for path in ("out.png", "notes.md", "chain.md", "home/.env", "up/beside.txt")),
    ("read_file", {"path": "environ"}),
    ("list_files", {"path": "home"}),
    ("list_files", {"path": ".", "depth": 9}),
    ("search_files", {"pattern": "SECRET"}),
    ("search_files", {"pattern": "SECRET", "path": "home"}),
]
WRITES: list[tuple[str, dict[str, Any]]] = [
    *(("write_file", {"path": path, "content": "x"}) for path in ("home/.bashrc", "up/new.txt", "home/new")),
    *(("write_file", {"path": path, "content": "x"}) for path in ("out.png", "dangling.txt", "chain.md")),
    *(("append_file", {"path": path, "content": "x"}) for path in ("notes.md", "home/.bashrc", "dangling.txt")),
    ("edit_file", {"path": "up/beside.txt", "old": "SECRET", "new": "x"}),
    ("move_file", {"from": "up/beside.txt", "to": "taken.txt"}),
    ("move_file", {"from": "notes.txt", "to": "home/notes.txt"}),
    *(("delete_file", {"path": path}) for path in ("home/.env", "up/folder", "home")),
]

ESCAPES = r"""
shown = ('\x1b[2J\x1b[H', '\x1b]0;title\x07', '\x1b]52;c;cHduZWQ=\x07', '\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\')
shown += ('\x9b2J', '\x90q\x9c', '\x1bP1$r\x1b\\', '\x1b[6n', '\u202egnp.exe', '\u2066x\u2069', 'ok\b\bno', 'a\rb')
for text in shown:
    print(text)
    print(text, file=sys.stderr)
os.write(1, b'\x9b31m raw c1 \xc2\x9b31m\n')
print('AFTER')
"""
_DANGEROUS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _plant(scene: Scene, need_wall: Callable[[str], None], program: str) -> None:
    need_wall(WALL)
    ran = run_attack(scene, WALL, Attack("planting", program, lambda scene, ran: ""))
    assert OVER in ran.out, ran


def _in_workspace(scene: Scene, *arguments: str) -> Ran:
    """The agent of somebody who stands in the workspace, and whose search path begins there. It is started as its
    console script is: without the working directory among the places of its modules."""
    began = time.monotonic()
    environment = scene.environment()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "agentrunner", *arguments],
        cwd=scene.workspace,
        env=environment | {"PATH": f".:{environment['PATH']}"},
        capture_output=True,
        timeout=60,
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return Ran(done.returncode, out, err, time.monotonic() - began, done.stdout)


def _call(scene: Scene, name: str, arguments: dict[str, Any]) -> Ran:
    return _in_workspace(scene, "tools", "call", name, "--args", json.dumps(arguments), "--workspace", ".")


def test_modules_and_programs_left_in_the_workspace_are_not_taken_by_the_next_run(
    make_scene: Callable[..., Scene], need_wall: Callable[[str], None]
) -> None:
    scene = make_scene()
    _plant(scene, need_wall, POISON)
    ran = _in_workspace(scene, "sandbox", "run", "--workspace", ".", "--", "sh", "-c", "echo fine")
    assert (ran.code, ran.out) == (0, "fine\n"), ran
    cell = _call(scene, "python", {"code": "import json, struct\njson.dumps([1 + 1])"})
    assert cell.code == 0, cell
    assert "[2]" in cell.out, cell
    assert "POISONED" not in cell.out + cell.err + ran.err
    assert not scene.planted()
    assert not scene.changes()


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(READS[:2], id="reads-a-few"),
        pytest.param(READS, id="reads", marks=pytest.mark.slow),
        pytest.param(WRITES, id="writes", marks=pytest.mark.slow),
    ],
)
def test_links_left_in_the_workspace_are_not_followed_by_the_tools_of_the_host(
    make_scene: Callable[..., Scene],
    need_wall: Callable[[str], None],
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    scene = make_scene()
    _plant(scene, need_wall, LINKS)
    for name, arguments in calls:
        ran = _call(scene, name, arguments)
        assert "Traceback" not in ran.err, ran
        assert scene.secret not in ran.out + ran.err, (name, arguments, ran)
        assert not scene.changes(), (name, arguments, ran)


def test_a_pipe_left_in_the_workspace_does_not_make_a_reader_wait(
    make_scene: Callable[..., Scene], need_wall: Callable[[str], None]
) -> None:
    scene = make_scene()
    _plant(scene, need_wall, "attempt(os.mkfifo, 'pipe.txt')")
    if not (scene.workspace / "pipe.txt").exists():
        os.mkfifo(scene.workspace / "pipe.txt")  # as if it had got through
    ran = _call(scene, "read_file", {"path": "pipe.txt"})
    assert (ran.code, "Traceback" in ran.err) == (1, False), ran
    assert ran.seconds < 10


def test_a_terminal_is_shown_no_commands(make_scene: Callable[..., Scene], need_wall: Callable[[str], None]) -> None:
    need_wall(WALL)
    scene = make_scene()
    shown = _at_a_terminal(scene, f"import os, sys\n{ESCAPES}")
    assert "AFTER" in shown
    assert not _DANGEROUS.findall(shown), repr(shown)


def test_a_file_is_given_what_was_printed(make_scene: Callable[..., Scene], need_wall: Callable[[str], None]) -> None:
    need_wall(WALL)
    ran = run_attack(make_scene(), WALL, Attack("printing", ESCAPES, lambda scene, ran: ""))
    assert "\x1b[2J\x1b[H\n" in ran.out
    assert "\u202egnp.exe\n" in ran.out


def _at_a_terminal(scene: Scene, program: str) -> str:
    """What a terminal receives of both streams."""
    host_end, program_end = pty.openpty()
    options = ["--workspace", str(scene.workspace), "--sandbox", "full", "--sandbox-launcher", WALL]
    process = subprocess.Popen(
        scene.agent.command("sandbox", "run", *options, "--", "python3", "-c", program),
        cwd=Path("/"),
        env=scene.environment() | {"TERM": "xterm-256color"},
        stdin=program_end,
        stdout=program_end,
        stderr=program_end,
        start_new_session=True,
    )
    received = b""
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            running = process.poll() is None
            while select.select([host_end], [], [], 0.1)[0]:
                received += os.read(host_end, 65536)
            if not running:
                break
    finally:
        process.kill()
        process.wait()
        os.close(program_end)
        os.close(host_end)
    return received.decode(errors="replace").replace("\r\n", "\n")
