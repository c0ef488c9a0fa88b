"""What programs leave in a workspace for other programs to execute is moved aside; the user's own things stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import suppress
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
    swept = quarantine.sweep()
    assert swept.changed == (".vscode/tasks.json",)
    assert swept.moved == ((".envrc", "quarantined/envrc-1.txt"), ("sub/.idea", "quarantined/idea-1"))
    assert names(tmp_path) == {".vscode", ".vscode/settings.json", ".vscode/tasks.json", "notes.md", "sub"}
    assert (tmp_path / "quarantined/envrc-1.txt").read_text() == "touch pwned"
    assert not quarantine.sweep()
    (tmp_path / ".envrc").write_text("again")
    assert quarantine.sweep().moved == ((".envrc", "quarantined/envrc-2.txt"),)


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
    assert not quarantine.sweep()
    (workspace / ".git/hooks/pre-commit").write_text("#!/bin/sh\ntouch pwned\n")
    (workspace / ".git/hooks/pre-commit").chmod(0o755)
    assert [moved.path for moved in quarantine.sweep().moved] == [".git/hooks/pre-commit"]
    git("commit", "--allow-empty", "-m", "first")
    assert not (workspace / "pwned").exists()
    git("config", "core.fsmonitor", "touch pwned; false")
    assert [moved.path for moved in quarantine.sweep().moved] == [".git/config"]
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
    assert {moved.path for moved in quarantine.sweep().moved} == {".git/config", "deep/down/bare.git/config"}


def test_a_file_or_link_that_leads_to_a_repository_is_moved(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.git").write_text("gitdir: ../elsewhere")
    (tmp_path / ".git").symlink_to("elsewhere")
    assert {moved.path for moved in quarantine.sweep().moved} == {".git", "a/.git"}


def test_links_lead_it_nowhere(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    workspace.mkdir()
    (outside / ".vscode").mkdir(parents=True)
    quarantine = Quarantine(workspace)
    (workspace / "link").symlink_to(outside)
    (workspace / "quarantined").symlink_to(outside)
    (workspace / ".envrc").symlink_to(outside / ".vscode")
    (moved,) = quarantine.sweep().moved
    assert moved.path == ".envrc"
    assert moved.now.startswith("quarantined-")
    assert [path.name for path in outside.iterdir()] == [".vscode"]


def test_a_program_that_swaps_folders_for_links_moves_nothing_of_others(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "ws", tmp_path / "outside"
    (workspace / "real/.vscode").mkdir(parents=True)
    (outside / ".vscode").mkdir(parents=True)
    (workspace / ".envrc").mkdir()
    quarantine = Quarantine(workspace)
    quarantine._owned.clear()  # pyright: ignore[reportPrivateUsage]
    quarantine._users.clear()  # pyright: ignore[reportPrivateUsage] - everything counts as new
    over = threading.Event()

    def swap() -> None:
        place, aside = workspace / "real", workspace / "aside"
        while not over.is_set():
            place.rename(aside)
            place.symlink_to(outside)
            place.unlink()
            aside.rename(place)
            with suppress(FileExistsError):  # "exist_ok" looks a second time, and it may be moved then
                (place / ".vscode").mkdir()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(200):
            quarantine.sweep()
    finally:
        over.set()
        thread.join()
    assert [path.name for path in outside.iterdir()] == [".vscode"]


def repository(place: Path, **parts: str) -> None:
    """Without the parts of which none is given; "dir" and "link" make those."""
    place.mkdir(parents=True)
    (place / "HEAD").write_text("ref: refs/heads/main\n")
    for name, content in parts.items():
        if content == "dir":
            (place / name).mkdir()
        elif content == "link":
            (place / f"real-{name}").mkdir()
            (place / name).symlink_to(f"real-{name}")
        else:
            (place / name).write_text(content)
            (place / name).chmod(0o755)


EVIL = "[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch pwned; false\n"
SHAPES = {
    "objects is a link": {"objects": "link", "refs": "dir", "config": EVIL},
    "refs is a link": {"objects": "dir", "refs": "link", "config": EVIL},
    "objects is a file": {"objects": "x", "refs": "dir", "config": EVIL},
    "both are elsewhere": {"commondir": "../real", "config": EVIL},
    "nothing but a configuration": {"config": EVIL},
}


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
@pytest.mark.parametrize("shape", SHAPES)
def test_what_git_takes_for_a_repository_is_one_here(tmp_path: Path, shape: str) -> None:
    quarantine = Quarantine(tmp_path)
    repository(tmp_path / ".git", **SHAPES[shape])
    repository(tmp_path / "real", objects="dir", refs="dir", config=EVIL)
    (tmp_path / "real/hooks").symlink_to("../elsewhere")
    moved = {moved.path for moved in quarantine.sweep().moved}
    assert moved >= {".git/config", "real/config", "real/hooks"}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "status"], cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert not (tmp_path / "pwned").exists()


def test_a_repository_of_mercurial_keeps_all_but_its_configuration(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    (tmp_path / "a/.hg/store").mkdir(parents=True)
    (tmp_path / "a/.hg/hgrc").write_text("[hooks]\nupdate = touch pwned")
    (tmp_path / ".hg").symlink_to("elsewhere")
    assert [moved.path for moved in quarantine.sweep().moved] == [".hg", "a/.hg/hgrc"]
    assert (tmp_path / "a/.hg/store").is_dir()


@pytest.mark.parametrize(
    "name", [".vimrc", ".Rprofile", ".pdbrc", ".irbrc", ".ghci", ".octaverc", "opencode.json", ".cargo/config.toml"]
)
def test_what_interpreters_editors_and_agents_read_is_moved(tmp_path: Path, name: str) -> None:
    quarantine = Quarantine(tmp_path)
    (tmp_path / "sub" / name).parent.mkdir(parents=True)
    (tmp_path / "sub" / name).write_text("x")
    assert [moved.path for moved in quarantine.sweep().moved] == [f"sub/{name.split('/')[0]}"]


@pytest.mark.skipif(os.geteuid() == 0, reason="no mode holds root back")
@pytest.mark.parametrize(
    ("folder", "mode"),
    [
        ("sub/.vscode", 0o555),
        ("sub/.vscode", 0o000),
        ("sub", 0o555),
        ("sub", 0o311),
        ("sub", 0o000),
        ("quarantined", 0o555),
        ("quarantined", 0o000),
        ("sub/.git", 0o555),
        ("sub/.git", 0o111),
        ("sub/.git/hooks", 0o111),
        (".", 0o555),
        (".", 0o111),
        (".", 0o666),
    ],
)
def test_a_folder_that_forbids_it_to_its_owner_is_changed_for_that_long(tmp_path: Path, folder: str, mode: int) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    quarantine = Quarantine(workspace)
    (workspace / "sub/.vscode").mkdir(parents=True)
    (workspace / "quarantined").mkdir()
    repository(workspace / "sub/.git", objects="dir", refs="dir", hooks="dir", config=EVIL)
    (workspace / "sub/.git/hooks/pre-commit").write_text("x")
    (workspace / folder).chmod(mode)
    swept = quarantine.sweep()
    moved = {moved.path: moved.now for moved in swept.moved}
    assert set(moved) == {"sub/.vscode", "sub/.git/config", "sub/.git/hooks/pre-commit"}
    assert (swept.changed, swept.stuck) == ((), ())
    kept = workspace.stat().st_mode & 0o777
    workspace.chmod(0o755)
    if folder not in (".", *moved, "sub/.git/hooks"):
        assert (workspace / folder).stat().st_mode & 0o777 == mode
    assert kept == (mode if folder == "." else 0o755)
    for place in (workspace / "sub", workspace / "quarantined"):
        place.chmod(0o755)
    assert all((workspace / now).exists() for now in moved.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="no mode holds root back")
def test_what_a_user_closed_stays_closed_and_his(tmp_path: Path) -> None:
    (tmp_path / "closed/.vscode").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    quarantine = Quarantine(tmp_path)
    assert not quarantine.sweep()
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0
    (tmp_path / "closed").chmod(0o700)
    assert (tmp_path / "closed/.vscode").is_dir()


def test_what_cannot_be_moved_is_said_once(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    (tmp_path / ".envrc").write_text("x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with pytest.MonkeyPatch.context() as patch:  # a mount or an attribute of the file, which only root could set up
        patch.setattr(os, "rename", refuse)
        swept, again = quarantine.sweep(), quarantine.sweep()
    assert swept.stuck == ((".envrc", "Operation not permitted"),)
    assert swept.lines()[0].startswith("could not move '.envrc' (Operation not permitted")
    assert not again
    assert [moved.path for moved in quarantine.sweep().moved] == [".envrc"]


def test_changes_of_the_users_own_are_reported_once_and_nothing_is_moved(tmp_path: Path) -> None:
    for name in (".vscode/tasks.json", ".husky/pre-commit", ".envrc", ".exrc", "same/.envrc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("the user's")
    (tmp_path / ".nvimrc").symlink_to("one")
    repository(tmp_path / "nested/.git", objects="dir", refs="dir", config="[alias]\n\tst = status\n")
    quarantine = Quarantine(tmp_path)
    assert not quarantine.sweep()
    (tmp_path / ".vscode/tasks.json").write_text("other text")
    (tmp_path / ".husky/pre-commit").chmod(0o755)
    (tmp_path / ".envrc.new").write_text("replaced!!")
    (tmp_path / ".envrc.new").rename(tmp_path / ".envrc")
    (tmp_path / "same/.envrc").touch()
    (tmp_path / ".exrc").unlink()
    (tmp_path / ".nvimrc").unlink()
    (tmp_path / ".nvimrc").symlink_to("two")
    (tmp_path / "nested/.git/config").write_text("[alias]\n\tst = status\n" + EVIL)
    swept = quarantine.sweep()
    assert swept.moved == ()
    assert set(swept.changed) == {
        ".vscode/tasks.json",
        ".husky/pre-commit",
        ".envrc",
        ".nvimrc",
        "nested/.git/config",
    }
    assert swept.lines()[0].startswith("changed '.envrc', ")
    assert not quarantine.sweep()


def test_the_same_size_and_time_hide_no_change(tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("good")
    seen = (tmp_path / ".envrc").stat()
    quarantine = Quarantine(tmp_path)
    (tmp_path / ".envrc").write_text("evil")
    os.utime(tmp_path / ".envrc", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert quarantine.sweep().changed == (".envrc",)


def test_the_users_own_stays_his_under_another_name_and_what_takes_its_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a/.vscode").mkdir(parents=True)
    (tmp_path / "a/.vscode/tasks.json").write_text("the user's")
    (tmp_path / "a/.envrc").write_text("the user's")
    quarantine = Quarantine(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert not quarantine.sweep()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.envrc").write_text("evil")
    swept = quarantine.sweep()
    assert (swept.moved, swept.changed) == ((), ("a/.envrc",))
    assert names(tmp_path) == {"a", "a/.envrc", "b", "b/.envrc", "b/.vscode", "b/.vscode/tasks.json"}


def test_a_new_file_with_the_number_of_a_removed_one_is_not_the_users(tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("good")
    quarantine = Quarantine(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / ".envrc").write_text("evil")  # the same inode, as a reused one would be
    (tmp_path / ".envrc").rename(tmp_path / "sub/.envrc")
    assert [moved.path for moved in quarantine.sweep().moved] == ["sub/.envrc"]


def test_a_hundred_hooks_hide_nothing_behind_them(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path)
    repository(tmp_path / "ws", objects="dir", refs="dir", hooks="dir")
    for number in range(120):
        (tmp_path / f"ws/hooks/{number}").write_text("x")
    (tmp_path / "ws/.envrc").write_text("x")
    (tmp_path / "ws/.vscode").mkdir()
    swept = quarantine.sweep()
    assert len(swept.moved) == 122
    assert [moved.path for moved in swept.moved[:2]] == ["ws/.envrc", "ws/.vscode"]
    assert swept.lines()[0].endswith("and 102 more: other programs would execute it")
    assert not quarantine.sweep()


def test_how_many_were_left_and_not_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrunner.sandbox.quarantine.MAX_MOVED", 3)
    quarantine = Quarantine(tmp_path)
    for number in range(5):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/.envrc").write_text("x")
    swept = quarantine.sweep()
    assert (len(swept.moved), swept.left) == (3, 2)
    assert swept.lines()[-1].startswith("left 2 more where they are")
    swept = quarantine.sweep()
    assert (len(swept.moved), swept.left, swept.unseen) == (2, 0, False)
    monkeypatch.setattr("agentrunner.sandbox.executed.MAX_ENTRIES", 6)
    swept = quarantine.sweep()
    assert swept.unseen
    assert swept.lines()[-1].startswith("looked at ")
    assert not quarantine.sweep()
