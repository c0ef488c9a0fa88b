"""The interpreters of threads, and their folders on the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentrunner.config import Settings
from agentrunner.server.desks import IDLE_S, Desks
from tests.runs.conftest import full_sandbox

__all__ = ["full_sandbox"]


def test_folders_of_threads_that_are_gone_are_removed_and_of_one_that_was_just_made_is_not(tmp_path: Path) -> None:
    desks = Desks(tmp_path, Settings(home=tmp_path))
    old, kept = desks.folder("thread_old"), desks.folder("thread_kept")
    listed = desks.folders()
    new = desks.folder("thread_new")  # its row came too late for whoever asked which threads there are

    asyncio.run(desks.clear(lambda id_: id_ != "thread_kept", listed))

    assert [folder.exists() for folder in (old, kept, new)] == [False, True, True]


@pytest.mark.usefixtures("full_sandbox")
def test_an_interpreter_is_ended_after_an_hour_without_use_and_its_files_stay(tmp_path: Path) -> None:
    async def value_of(desks: Desks, code: str) -> str:
        cell = await (await desks.at("thread_a")).cells.execute(code, 30)
        return cell.stdout + cell.error

    async def check() -> None:
        desks = Desks(tmp_path, Settings(home=tmp_path))
        try:
            await value_of(desks, "x = 6; open('kept.txt', 'w').write('kept')")
            desk = await desks.at("thread_a")
            desk.used -= IDLE_S - 60
            await desks.clear(lambda _: False, [])
            assert await value_of(desks, "print(x)") == "6\n"
            (await desks.at("thread_a")).used -= IDLE_S + 1
            desk.busy = True  # Whatever takes longer than an hour is a use.
            await desks.clear(lambda _: False, [])
            assert await value_of(desks, "print(x)") == "6\n"
            desk.used, desk.busy = desk.used - IDLE_S - 1, False
            await desks.clear(lambda _: False, [])
            assert "NameError" in await value_of(desks, "print(x)")
            assert await value_of(desks, "print(open('kept.txt').read())") == "kept\n"
        finally:
            await desks.aclose()

    asyncio.run(check())
