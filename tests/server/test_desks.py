"""The interpreters of threads, and their folders on the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentrunner.config import Settings
from agentrunner.server import desks as desks_module
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


@pytest.mark.usefixtures("full_sandbox")
def test_of_many_interpreters_that_wait_those_used_last_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        monkeypatch.setattr(desks_module, "MAX_WAITING", 2)
        desks = Desks(tmp_path, Settings(home=tmp_path), lambda thread_id: thread_id == "thread_works")
        try:
            opened = {name: await desks.at(f"thread_{name}") for name in ("works", "busy", "used", "asked")}
            opened["busy"].busy = opened["used"].ran = True
            for name in ("third", "fourth"):
                opened[name] = await desks.at(f"thread_{name}")
            names = ("works", "busy", "used", "third", "fourth", "asked")
            kept = [await desks.at(f"thread_{name}") is opened[name] for name in names]
            assert kept == [True, True, True, True, True, False]
        finally:
            await desks.aclose()

    asyncio.run(check())
