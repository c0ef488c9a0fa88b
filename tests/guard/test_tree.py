"""The hash of the workspace: what is news, and what is not."""

import os
import time
from pathlib import Path

from agentrunner.guard.tree import MAX_READ_BYTES, Tree


def later(path: Path) -> None:
    """Give a file another time, as if it had been written again."""
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 1_000_000_000))


def test_a_change_is_news_and_taking_it_back_is_the_state_before(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.txt"
    file.parent.mkdir()
    file.write_text("one")
    tree = Tree(tmp_path)
    first = tree.after("shell", {})
    file.write_text("three")
    second = tree.after("shell", {})
    file.write_text("one")
    assert first != second
    assert tree.after("python", {}) == first


def test_the_same_text_written_again_is_no_news(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("same")
    tree = Tree(tmp_path)
    first = tree.after("shell", {})
    later(file)
    assert tree.after("write_file", {"path": "a.txt"}) == first
    later(file)
    assert tree.after("shell", {}) == first


def test_file_tools_are_followed_without_a_scan_and_a_scan_agrees(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    before = tree.after("shell", {})
    (tmp_path / "unseen.txt").write_text("no scan sees this yet")
    assert tree.after("delete_file", {"path": "none.txt"}) == before
    (tmp_path / "a.txt").write_text("a")
    written = tree.after("write_file", {"path": "./a.txt"})
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    moved = tree.after("move_file", {"source": "a.txt", "destination": "b.txt"})
    assert len({before, written, moved}) == 3
    (tmp_path / "b.txt").unlink()
    assert tree.after("delete_file", {"path": "b.txt"}) == before
    seen = tree.after("shell", {})
    assert seen == Tree(tmp_path).after("shell", {}) != before


def test_a_moved_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.txt").write_text("a")
    tree = Tree(tmp_path)
    first = tree.after("shell", {})
    (tmp_path / "old").rename(tmp_path / "new")
    moved = tree.after("move_file", {"source": "old", "destination": "new"})
    assert moved != first
    assert moved == Tree(tmp_path).after("shell", {})


def test_links_are_not_followed_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret.txt").write_text("a")
    (inside / "link").symlink_to(outside)
    (inside / "file").symlink_to(outside / "secret.txt")
    os.mkfifo(inside / "pipe")
    tree = Tree(inside)
    first = tree.after("shell", {})
    (outside / "secret.txt").write_text("other")
    assert tree.after("shell", {}) == first
    for path in ("link/secret.txt", "../outside/secret.txt", "pipe", "file"):
        assert tree.after("write_file", {"path": path}) == first


def test_what_programs_keep_for_themselves_is_no_news(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    first = tree.after("shell", {})
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"1")
    assert tree.after("shell", {}) == first
    assert tree.after("write_file", {"path": "__pycache__/a.pyc"}) == first


def test_a_large_file_is_known_by_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"0" * (MAX_READ_BYTES + 1))
    tree = Tree(tmp_path)
    first = tree.after("shell", {})
    assert tree.after("shell", {}) == first
    later(file)
    assert tree.after("shell", {}) != first


def test_a_workspace_that_is_gone_is_no_evidence_and_a_path_that_is_none_does_no_harm(tmp_path: Path) -> None:
    assert Tree(tmp_path / "none").after("shell", {}) == ""
    tree = Tree(tmp_path)
    first = tree.after("shell", {})
    assert tree.after("write_file", {"path": "a\0b"}) == ""
    assert tree.after("shell", {}) == first


def test_many_files_take_no_longer_than_a_command(tmp_path: Path) -> None:
    for n in range(2_000):
        (tmp_path / f"{n}.txt").write_text(str(n))
    tree = Tree(tmp_path)
    tree.after("shell", {})
    before = time.perf_counter()
    tree.after("shell", {})
    between = time.perf_counter()
    tree.after("write_file", {"path": "7.txt"})
    assert between - before < 1
    assert time.perf_counter() - between < 0.1
