"""The walls of this machine, each opened on a fresh workspace; a wall that cannot be had is a visible skip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import Limits, Ran, Sandbox, open_sandbox

FULL = [("full", "native"), ("full", "bwrap")]
ALL = [*FULL, ("partial", "auto")]
MAIN = [
    pytest.param(wall, marks=[] if wall == ("full", "native") else [pytest.mark.slow], id="-".join(wall))
    for wall in ALL
]
"""For what does not depend on the wall, or waits for a clock: our own launcher by default, the others with `slow`."""


class Box:
    """A sandbox with synchronous shorthands."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.workspace = sandbox.workspace

    def run(self, *argv: str, **options: Any) -> Ran:
        return asyncio.run(self.sandbox.run(argv, **options))

    def python(self, code: str, **options: Any) -> Ran:
        return self.run("python3", "-c", code, **options)


def open_or_skip(workspace: Path, wall: tuple[str, str], **options: Any) -> Sandbox:
    try:
        return open_sandbox(workspace, level=wall[0], launcher=wall[1], **options)  # type: ignore[arg-type]
    except SandboxError as refused:
        pytest.skip(str(refused))


@pytest.fixture
def open_box(tmp_path: Path) -> Iterator[Callable[..., Box]]:
    opened: list[Sandbox] = []

    def opening(wall: tuple[str, str], limits: Limits | None = None, **options: Any) -> Box:
        workspace = options.pop("workspace", tmp_path / "ws")
        workspace.mkdir(exist_ok=True)
        opened.append(open_or_skip(workspace, wall, limits=limits, **options))
        return Box(opened[-1])

    yield opening
    for sandbox in opened:
        sandbox.close()


def ids(walls: list[tuple[str, str]]) -> list[str]:
    return ["-".join(wall) for wall in walls]


@pytest.fixture(params=ALL, ids=ids(ALL))
def box(request: pytest.FixtureRequest, open_box: Callable[..., Box]) -> Box:
    """Every wall."""
    return open_box(request.param)


@pytest.fixture(params=MAIN)
def main_box(request: pytest.FixtureRequest, open_box: Callable[..., Box]) -> Box:
    """Our own launcher, or with `slow` every wall."""
    return open_box(request.param)


@pytest.fixture(params=FULL, ids=ids(FULL))
def full(request: pytest.FixtureRequest, open_box: Callable[..., Box]) -> Box:
    """The walls of the full level."""
    return open_box(request.param)
