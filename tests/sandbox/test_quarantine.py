"""What programs leave in a workspace for other programs to execute is moved aside; the user's own things stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from agentrunner.sandbox.quarantine import Quarantine


def names(workspace: Path) -> set[str]:
    found = {str(path.relative_to(workspace)) for path in workspace.rglob("*")}
    return {name for name in found if not name.startswith("quarantined")}


def test_what_is_new_is_moved_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    (tmp_path / ".vscode/settings.json").write_text("{}")
    quarantine = Quarantine(tmp_path)
    (tmp_path / ".envrc").write_text("touch pwned")
    (tmp_path / "sub/.idea").mkdir(parents=True)
    (tmp_path / ".vscode/tasks.json").write_text("{}")
    (tmp_path / "notes.md").write_text("text")
    moved = quarantine.sweep()
    assert moved == ((".envrc", "quarantined/envrc-1.txt"), ("sub/.idea", "quarantined/idea-1"))
    assert names(tmp_path) == {".vscode", ".vscode/settings.json", ".vscode/tasks.json", "notes.md", "sub"}
    assert (tmp_path / "quarantined/envrc-1.txt").read_text() == "touch pwned"
    assert quarantine.sweep() == ()
    (tmp_path / ".envrc").write_text("again")
    assert quarantine.sweep() == ((".envrc", "quarantined/envrc-2.txt"),)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_a_new_repository_works_but_executes_nothing(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *words], cwd=workspace, env=environment, check=True, capture_output=True)

    workspace = tmp_path / "ws"
    workspace.mkdir()
    quarantine = Quarantine(workspace)
    git("init", "-b", "main")
    git("config", "user.name", "Agent A")
    git("config", "user.email", "a@example.org")
    assert quarantine.sweep() == ()
    (workspace / ".git/hooks/pre-commit").write_text("#!/bin/sh\ntouch pwned\n")
    (workspace / ".git/hooks/pre-commit").chmod(0o755)
    assert [moved.path for moved in quarantine.sweep()] == [".git/hooks/pre-commit"]
    git("commit", "--allow-empty", "-m", "first")
    assert not (workspace / "pwned").exists()
    git("config", "core.fsmonitor", "touch pwned; false")
    assert [moved.path for moved in quarantine.sweep()] == [".git/config"]
    git("status")
    assert not (workspace / "pwned").exists()


@pytest.mark.parametrize(
    "config",
    [
        "[core]\n\tfsmonitor = touch pwned",
        "[core] fsmonitor = touch pwned",
        "[core]\n\teditor = x",
        "[CORE]\n\tPager = x",
        "[include]\n\tpath = ../other",
        '[includeIf "gitdir:."]\n\tpath = ../other',
        '[filter "x"]\n\tclean = x',
        "[alias]\n\tst = !x",
        "[user]\n\tname = a \\\n[core]\n\tpager = x",
        "[core]\n\tbare = false\n[diff.x]\n\tcommand = x",
        "\N{BYTE ORDER MARK}[core]\n\tpager = x",
    ],
)
def test_a_configuration_that_may_name_a_command_is_moved(tmp_path: Path, config: str) -> None:
    quarantine = Quarantine(tmp_path)
    for repository in (tmp_path / ".git", tmp_path / "deep/down/bare.git"):
        for folder in ("objects", "refs"):
            (repository / folder).mkdir(parents=True)
        (repository / "HEAD").write_text("ref: refs/heads/main")
        (repository / "config").write_text(config, encoding="utf-8")
    assert {moved.path for moved in quarantine.sweep()} == {".git/config", "deep/down/bare.git/config"}


def test_a_file_or_link_that_leads_to_a_repository_is_moved(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.git").write_text("gitdir: ../elsewhere")
    (tmp_path / ".git").symlink_to("elsewhere")
    assert {moved.path for moved in quarantine.sweep()} == {".git", "a/.git"}


def test_links_lead_it_nowhere(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    workspace.mkdir()
    (outside / ".vscode").mkdir(parents=True)
    quarantine = Quarantine(workspace)
    (workspace / "link").symlink_to(outside)
    (workspace / "quarantined").symlink_to(outside)
    (workspace / ".envrc").symlink_to(outside / ".vscode")
    (moved,) = quarantine.sweep()
    assert moved.path == ".envrc"
    assert moved.now.startswith("quarantined-")
    assert [path.name for path in outside.iterdir()] == [".vscode"]


def test_a_program_that_swaps_folders_for_links_moves_nothing_of_others(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    (workspace / "real/.vscode").mkdir(parents=True)
    (outside / ".vscode").mkdir(parents=True)
    (workspace / ".envrc").mkdir()
    quarantine = Quarantine(workspace)
    quarantine._users.clear()  # pyright: ignore[reportPrivateUsage] - everything counts as new
    over = threading.Event()

    def swap() -> None:
        place, aside = workspace / "real", workspace / "aside"
        while not over.is_set():
            place.rename(aside)
            place.symlink_to(outside)
            place.unlink()
            aside.rename(place)
            (place / ".vscode").mkdir(exist_ok=True)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(200):
            quarantine.sweep()
    finally:
        over.set()
        thread.join()
    assert [path.name for path in outside.iterdir()] == [".vscode"]
