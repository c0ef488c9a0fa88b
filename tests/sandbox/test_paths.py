"""Confined files: every way out is refused with an instruction, every ordinary use works."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agentrunner.sandbox import PathError, Root
from agentrunner.sandbox.inside import kernel


@pytest.fixture(params=["openat2", "steps"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    if request.param == "steps":

        def missing(*_: object) -> int:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(kernel, "open_at", missing)
    (tmp_path / "ws").mkdir()
    (tmp_path / "secret").write_text("CANARY")
    with closing(Root(tmp_path / "ws")) as opened:
        yield opened


def test_what_is_written_is_read_back(root: Root) -> None:
    root.write("a/b/c.txt", b"0123456789")
    assert root.read("a/b/c.txt") == b"0123456789"
    assert root.read("a/b/c.txt", 3, 4) == b"3456"
    assert root.read("a/b/c.txt", 20) == b""
    assert root.read(f"{root.path}/a/b/c.txt", max_bytes=1) == b"0"
    assert root.size("a/b/c.txt") == 10
    assert root.exists("a")
    assert root.exists("a/b/c.txt")
    assert not root.exists("a/x")
    root.append("a/b/c.txt", b"!")
    root.append("new/log", b"one")
    assert (root.read("a/b/c.txt"), root.read("new/log")) == (b"0123456789!", b"one")
    root.write("a/b/c.txt", b"short")
    assert root.read("a/b/c.txt") == b"short"
    assert [entry.path for entry in root.entries()] == ["a", "a/b", "a/b/c.txt", "new", "new/log"]


def test_a_written_file_keeps_its_mode(root: Root) -> None:
    root.write("run.sh", b"#!/bin/sh\n")
    (root.path / "run.sh").chmod(0o755)
    root.write("run.sh", b"#!/bin/sh\nexit 1\n")
    assert (root.path / "run.sh").stat().st_mode & 0o777 == 0o755


WAYS_OUT = ["../secret", "a/../../secret", "/etc/passwd", "link", "dirlink/secret", "a/../../ws/../secret"]


@pytest.mark.parametrize("path", WAYS_OUT)
def test_a_way_out_is_refused_for_reading_and_writing(root: Root, tmp_path: Path, path: str) -> None:
    (root.path / "a").mkdir()
    (root.path / "link").symlink_to(tmp_path / "secret")
    (root.path / "dirlink").symlink_to(tmp_path)
    with pytest.raises(PathError, match=r"leaves the workspace|goes through"):
        root.read(path)
    assert not root.exists(path)
    with suppress(PathError):
        root.write(path, b"PWNED")
    with pytest.raises(PathError):
        root.append("dirlink/secret", b"PWNED")
    with suppress(PathError):
        root.delete(path)
    assert (tmp_path / "secret").read_text() == "CANARY"


def test_an_absolute_path_of_a_neighbour_with_the_same_beginning_is_outside(root: Root, tmp_path: Path) -> None:
    (tmp_path / "ws-other").mkdir()
    (tmp_path / "ws-other" / "f").write_text("CANARY")
    with pytest.raises(PathError, match="leaves the workspace"):
        root.read(f"{root.path}-other/f")


@pytest.mark.parametrize("path", ["", ".", "..", "a/..", "a\0b", "/"])
def test_what_names_no_file_is_refused(root: Root, path: str) -> None:
    (root.path / "a").mkdir()
    for use in (root.read, root.delete, lambda p: root.write(p, b""), lambda p: root.append(p, b"")):
        with pytest.raises(PathError):
            use(path)


def test_links_pipes_sockets_and_second_names_are_not_read(root: Root, tmp_path: Path) -> None:
    os.link(tmp_path / "secret", root.path / "hard")
    os.mkfifo(root.path / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as held:
        held.bind(os.path.relpath(root.path / "sock"))
        with pytest.raises(PathError, match="hard link"):
            root.read("hard")
        with pytest.raises(PathError, match="hard link"):
            root.append("hard", b"x")
        for name in ("pipe", "sock"):
            with pytest.raises(PathError, match="not a regular file"):
                root.read(name)
    root.write("hard", b"replaced")
    assert (tmp_path / "secret").read_text() == "CANARY"
    with pytest.raises(PathError, match="is a folder"):
        root.read(".")


def test_a_link_is_replaced_by_a_write_and_removed_by_a_delete(root: Root, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (root.path / name).symlink_to(tmp_path / "secret")
    root.write("one", b"mine")
    root.delete("two")
    assert (root.path / "one").read_bytes() == b"mine"
    assert not (root.path / "one").is_symlink()
    assert (tmp_path / "secret").read_text() == "CANARY"


def test_git_and_env_files_are_left_alone(root: Root) -> None:
    (root.path / ".git").mkdir()
    (root.path / ".git" / "config").write_text("[core]")
    (root.path / ".env").write_text("KEY=CANARY")
    (root.path / "alias").symlink_to(".git")
    (root.path / "plain").symlink_to(".env")
    assert root.read(".git/config") == b"[core]"
    for path in (".git/config", ".git/hooks/pre-commit", "./.git/x", ".git"):
        with pytest.raises(PathError, match="read-only"):
            root.write(path, b"PWNED")
    with pytest.raises(PathError):
        root.write("alias/config", b"PWNED")
    with pytest.raises(PathError, match="read-only"):
        root.delete(".git")
    for path in (".env", "plain"):
        with pytest.raises(PathError):
            root.read(path)
    root.write("x", b"")
    with pytest.raises(PathError, match="read-only"):
        root.move("x", ".git/x")
    assert [path.name for path in (root.path / ".git").iterdir()] == ["config"]


def test_moving_needs_a_source_and_a_free_name(root: Root) -> None:
    root.write("a", b"1")
    root.write("b", b"2")
    root.move("a", "deep/er/a")
    assert root.read("deep/er/a") == b"1"
    with pytest.raises(PathError, match="does not exist"):
        root.move("a", "c")
    with pytest.raises(PathError, match="exists already"):
        root.move("b", "deep/er/a")
    with pytest.raises(PathError):
        root.move("b", "../b")


def test_a_tree_of_any_depth_is_removed_without_following_links(root: Root, tmp_path: Path) -> None:
    (root.path / "tree").mkdir()
    (root.path / "tree" / "out").symlink_to(tmp_path)
    here = os.open(root.path / "tree", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert len(root.entries()) <= 40
    root.delete("tree")
    assert root.entries() == []
    assert (tmp_path / "secret").read_text() == "CANARY"


def test_a_listing_names_kinds_and_follows_nothing(root: Root, tmp_path: Path) -> None:
    root.write("d/f", b"123")
    (root.path / "link").symlink_to(tmp_path)
    os.mkfifo(root.path / "pipe")
    found = {entry.path: (entry.kind, entry.bytes) for entry in root.entries()}
    assert found["d/f"] == ("file", 3)
    assert (found["d"][0], found["link"][0], found["pipe"][0]) == ("dir", "link", "other")
    assert len(found) == 4
    assert [entry.path for entry in root.entries("d")] == ["d/f"]
    assert [entry.path for entry in root.entries(max_depth=1)] == ["d", "link", "pipe"]
    assert len(root.entries(max_entries=2)) == 2
    with pytest.raises(PathError, match="does not exist"):
        root.entries("nowhere")


def test_a_huge_sparse_file_is_read_only_as_far_as_asked(root: Root) -> None:
    with (root.path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert root.read("sparse", max_bytes=1000) == b"\0" * 1000


def test_swapping_a_folder_for_a_link_leaks_nothing(root: Root, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("CANARY")
    root.write("dir/f", b"inside")
    (root.path / "link").symlink_to(tmp_path / "outside")
    done = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        libc = ctypes.CDLL(None)
        one, two = os.fsencode(root.path / "dir"), os.fsencode(root.path / "link")
        while not done.is_set():
            swaps += libc.renameat2(-100, one, -100, two, 2) == 0

    swapping = threading.Thread(target=swap)
    swapping.start()
    reads = 0
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        with suppress(PathError):
            assert root.read("dir/f") == b"inside"
            reads += 1
        with suppress(PathError):
            root.write("dir/new", b"PWNED")
    done.set()
    swapping.join()
    assert reads
    assert swaps
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["f"]
