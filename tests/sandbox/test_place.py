"""The workspace at a second path: programs begin there, and it is the same folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import open_sandbox

LOOK = "import os; print(os.getcwd(), os.listdir('.')); open('made', 'w').write('x')"


@pytest.mark.parametrize("launcher", ["bwrap", "native"])
def test_programs_find_the_workspace_where_it_is_wanted(tmp_path: Path, launcher: Literal["bwrap", "native"]) -> None:
    (tmp_path / "given").write_text("x")
    try:
        sandbox = open_sandbox(tmp_path, level="full", launcher=launcher, place="/mnt/data")
    except SandboxError as error:
        pytest.skip(str(error))

    async def look() -> str:
        ran = await sandbox.run(["python3", "-c", LOOK])
        interpreter = await sandbox.interpreter()
        cell = await interpreter.execute("import os; print(os.getcwd(), sorted(os.listdir('/mnt/data')))", 20)
        await sandbox.aclose()
        return f"{ran.stdout}{ran.stderr}{cell.stdout}"

    assert asyncio.run(look()) == "/mnt/data ['given']\n/mnt/data ['given', 'made']\n"
    assert (tmp_path / "made").read_text() == "x"
