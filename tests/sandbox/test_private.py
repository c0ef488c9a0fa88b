"""The private folder of a sandbox without a mount namespace, and what a killed agent leaves of it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from agentrunner.sandbox.private import PrivateFolder


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[reportUnusedFunction]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def _age(folder: PrivateFolder) -> Path:
    path = Path(folder.path)
    (path / "deeper").mkdir()
    (path / "deeper" / "link").symlink_to("/")
    os.utime(path, (time.time() - 120,) * 2)
    return path


def test_a_folder_that_a_killed_agent_left_is_removed_by_the_next() -> None:
    left = PrivateFolder.make()
    path = _age(left)
    os.close(left.lock)  # as the kernel does when a process is killed
    PrivateFolder.make().remove()
    assert not path.exists()


def test_folders_that_a_program_closed_are_removed_too() -> None:
    used = PrivateFolder.make()
    path = Path(used.path)
    for mode in (0o300, 0o500, 0o000):
        (path / "closed" / f"{mode:o}").mkdir(parents=True)
        (path / "closed" / f"{mode:o}" / "file").touch()
        (path / "closed" / f"{mode:o}").chmod(mode)
    (path / "closed").chmod(0o300)
    used.remove()
    assert not path.exists()


def test_a_folder_in_use_is_left_alone() -> None:
    used = PrivateFolder.make()
    path = _age(used)
    PrivateFolder.make().remove()
    assert (path / "deeper").is_dir()
    used.remove()
    used.remove()
    assert not path.exists()


def test_a_folder_of_that_name_behind_a_link_is_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "agent-tmp-link").symlink_to(kept)
    PrivateFolder.make().remove()
    assert (kept / "file").exists()
