"""The self-examination: what it claims is what `open_sandbox` gives, and a broken wall is not believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentrunner.sandbox import doctor, open_sandbox
from agentrunner.sandbox.walls import Offer

from .conftest import Box


def test_every_way_is_tried_and_the_best_is_what_auto_gives(tmp_path: Path) -> None:
    report = doctor.examine(tmp_path)
    sandbox = open_sandbox(tmp_path)
    sandbox.close()
    assert (report.level, report.launcher, report.lacks) == (sandbox.level, sandbox.launcher, sandbox.lacks)
    assert {check.launcher for check in report.checks} == {"bwrap", "native", "landlock"}
    for check in report.checks:
        assert check.works or check.cause
        assert not check.works or check.refused >= check.of - 1
    assert json.loads(json.dumps(report.as_json()))["level"] == report.level
    assert report.as_text().startswith(f"sandbox        {report.level}")
    assert list(tmp_path.iterdir()) == []


def test_without_a_wall_the_attacks_are_seen_to_succeed(tmp_path: Path) -> None:
    check = doctor._check(Offer("NONE", "none"), tmp_path)  # pyright: ignore[reportPrivateUsage]
    assert not check.works
    assert {"secret", "tcp", "udp", "unix", "write"} <= set(check.succeeded)


@pytest.mark.parametrize("wall", [("full", "native"), ("full", "bwrap"), ("partial", "auto")])
def test_no_descriptor_is_left_open_by_runs_and_interpreters(
    open_box: Callable[..., Box], wall: tuple[str, str]
) -> None:
    import asyncio

    box = open_box(wall)

    async def some() -> None:
        python = await box.sandbox.interpreter()
        await python.execute("1", 10)
        await python.aclose()
        await box.sandbox.run(["true"])
        await box.sandbox.run(["sleep", "9"], timeout_s=0.05)

    asyncio.run(some())
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    asyncio.run(some())
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before
