"""The agent's Python is there in the sandbox wherever it lies, and only its folders are."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentrunner
from agentrunner.sandbox import plan

from .conftest import FULL, ids, open_or_skip

SOURCE = Path(agentrunner.__file__).parent.parent
full_walls = pytest.mark.parametrize("wall", FULL, ids=ids(FULL))
AGENT = """
import asyncio, json, sys
from dataclasses import asdict
from pathlib import Path
from agentrunner.sandbox import open_sandbox
workspace, level, launcher, *commands = sys.argv[1:]
box = open_sandbox(Path(workspace), level=level, launcher=launcher)
async def main():
    for command in commands:
        print(json.dumps(asdict(await box.run(["sh", "-c", command]))))
    python = await box.interpreter()
    print(json.dumps(asdict(await python.execute("import sys; sys.prefix", 20))))
    await box.aclose()
asyncio.run(main())
"""


def venv(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder], check=True)
    return folder / "bin" / "python"


def agent(python: Path, workspace: Path, wall: tuple[str, str], *commands: str, cwd: Path | None = None) -> list[Any]:
    """Runs commands in the sandbox of an agent that runs on `python`; the last answer is a cell's."""
    open_or_skip(workspace, wall).close()
    ran = subprocess.run(
        [python, "-c", AGENT, workspace, *wall, *commands],
        env={"PYTHONPATH": str(SOURCE), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


WHERE = ["beside", "in the workspace", "deep in the workspace", "behind a link", "the workspace itself"]


@full_walls
@pytest.mark.parametrize("where", WHERE)
def test_a_virtual_environment_works_wherever_it_lies(tmp_path: Path, wall: tuple[str, str], where: str) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    folder = {
        "beside": tmp_path / "venv",
        "in the workspace": workspace / ".venv",
        "deep in the workspace": workspace / "a" / "b" / "venv",
        "behind a link": tmp_path / "venv",
        "the workspace itself": workspace,
    }[where]
    python = venv(folder)
    if where == "behind a link":
        (tmp_path / "alias").symlink_to(folder)
        python = tmp_path / "alias" / "bin" / "python"
    shown = "python3 -c 'import sys; print(sys.prefix, sys.executable)'"
    attack = f"touch {folder}/lib/PWNED; mv {folder} x; mv a x; mv .venv x; echo ok > mine"
    ran, attacked, cell = agent(python, workspace, wall, shown, attack)
    prefix = str(python.parent.parent)
    assert ran["stdout"].split() == [prefix, f"{prefix}/bin/python3"], ran
    assert cell["value"] == repr(prefix), cell
    assert attacked["exit_code"] == 0
    assert (workspace / "mine").read_text() == "ok\n"
    assert python.exists()
    assert not (folder / "lib" / "PWNED").exists()


@full_walls
def test_an_editable_install_can_be_imported(tmp_path: Path, wall: tuple[str, str]) -> None:
    python = venv(tmp_path / "venv")
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "_agentrunner.pth").write_text(f"{SOURCE}\n")
    (tmp_path / "ws").mkdir()
    ran, _ = agent(python, tmp_path / "ws", wall, "python -c 'import agentrunner.errors as e; print(e.__file__)'")
    assert ran["stdout"].strip() == str(SOURCE / "agentrunner" / "errors.py"), ran


@full_walls
def test_folders_beside_the_interpreter_stay_hidden(tmp_path: Path, wall: tuple[str, str]) -> None:
    python = venv(tmp_path / "project")
    (tmp_path / "project" / "secret").write_text("CANARY")
    (tmp_path / "ws").mkdir()
    (beside, _) = agent(python, tmp_path / "ws", wall, f"cat {tmp_path}/project/secret", cwd=tmp_path / "project")
    assert "CANARY" not in beside["stdout"]
    assert beside["exit_code"] != 0


@full_walls
@pytest.mark.skipif(not importlib.util.find_spec("pandas"), reason="pandas is not installed")
def test_packages_of_the_agent_can_be_imported(tmp_path: Path, wall: tuple[str, str]) -> None:
    (ran, _) = agent(Path(sys.executable), tmp_path, wall, "python3 -c 'import pandas; print(pandas.__version__)'")
    assert ran["exit_code"] == 0, ran
    assert ran["stdout"].strip() == importlib.import_module("pandas").__version__


def test_what_is_mounted_has_parents_before_children_and_guards_last(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".env").write_text("x")
    steps = [*plan.mounts(str(tmp_path), 1000, 1000), *plan.guarded(str(tmp_path))]
    places = {step.target: number for number, step in enumerate(steps)}
    assert places["/tmp"] < places[str(tmp_path)] < places[f"{tmp_path}/.git"]
    assert steps[-1].target == f"{tmp_path}/.env"
    writable = {step.target for step in steps if step.writable and not step.devices}
    assert writable == {str(tmp_path)}
    for step in steps:
        assert step.source not in ("/", "/etc", str(Path.home())), step
