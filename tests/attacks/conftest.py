"""The scene of an attack, and whether this machine has a wall."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import open_sandbox

from .harness import WALLS
from .scene import Scene


@cache
def _refusal(wall: str) -> str:
    """Why this machine cannot build it; empty when it can."""
    level, launcher = WALLS[wall]
    with tempfile.TemporaryDirectory() as folder:
        try:
            open_sandbox(Path(folder), level=level, launcher=launcher).close()  # type: ignore[arg-type]
        except SandboxError as refused:
            return str(refused)
    return ""


@pytest.fixture
def need_wall() -> Callable[[str], None]:
    """Skips, visibly, where the machine lacks a wall."""

    def need(wall: str) -> None:
        if refusal := _refusal(wall):
            pytest.skip(f"no wall {wall!r} here: {refusal}")

    return need


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(*, exposed: bool = False) -> Scene:
        scenes.append(Scene(tmp_path / f"scene{len(scenes)}", exposed=exposed))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()
