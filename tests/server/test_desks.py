"""The folders of threads on the disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agentrunner.config import Settings
from agentrunner.server.desks import Desks


def test_folders_of_threads_that_are_gone_are_removed_and_of_one_that_was_just_made_is_not(tmp_path: Path) -> None:
    desks = Desks(tmp_path, Settings(home=tmp_path))
    old, kept = desks.folder("thread_old"), desks.folder("thread_kept")
    listed = desks.folders()
    new = desks.folder("thread_new")  # its row came too late for whoever asked which threads there are

    asyncio.run(desks.clear(lambda id_: id_ != "thread_kept", listed))

    assert [folder.exists() for folder in (old, kept, new)] == [False, True, True]
