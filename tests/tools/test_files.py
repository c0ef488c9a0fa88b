"""The file tools, each one well and badly used."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.tools.support import Bench, bench


@pytest.fixture
def use(tmp_path: Path) -> Bench:
    return bench(tmp_path)


def test_write_read_append(use: Bench) -> None:
    assert use.ok("write_file", path="deep/er/notes.md", content="one\ntwo\n") == "wrote deep/er/notes.md, 8 bytes"
    assert use.ok("write_file", path="deep/er/notes.md", content="ONE\n").endswith("4 bytes (it was 8)")
    assert (
        use.ok("append_file", path="deep/er/notes.md", content="zwei\nä")
        == "appended 7 bytes to deep/er/notes.md, now 11 bytes"
    )
    assert (
        use.ok("read_file", path="deep/er/notes.md") == "deep/er/notes.md, lines 1 to 3 of 3 (11 bytes)\nONE\nzwei\nä"
    )
    assert (use.workspace / "deep/er/notes.md").read_text() == "ONE\nzwei\nä"


def test_a_part_of_a_file_and_how_to_go_on(use: Bench) -> None:
    (use.workspace / "n.txt").write_text("".join(f"line {n}\n" for n in range(1, 101)))
    shown = use.ok("read_file", path="n.txt", offset=10, limit=3).split("\n")
    assert shown[0].startswith("n.txt, lines 11 to 13 of 100 ")
    assert shown[1:4] == ["line 11", "line 12", "line 13"]
    assert shown[4] == '[87 more lines; to go on call read_file with path="n.txt", offset=13]'
    assert use.ok("read_file", path="n.txt", offset=99).endswith("\nline 100")
    assert "n.txt has only 100 lines" in use.error("read_file", path="n.txt", offset=100)
    assert "`offset` must be 0 or more" in use.error("read_file", path="n.txt", offset=-1)
    assert "`limit` 1 or more" in use.error("read_file", path="n.txt", limit=0)


def test_a_large_file_is_read_in_parts_that_are_never_cut(use: Bench) -> None:
    with (use.workspace / "big.csv").open("w") as file:
        for number in range(200_000):
            file.write(f"{number},{number * 7},some words to make it longer\n")
    result = use("read_file", path="big.csv", offset=150_000)
    assert result.truncated_chars == 0
    assert "lines 150001 to " in result.content.split("\n")[0]
    assert result.content.split("\n")[1].startswith("150000,1050000,")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"\x08\x02",
            "a PNG image of 640 x 480 pixels, 26 bytes",
        ),
        (b"GIF89a" + struct.pack("<HH", 3, 4) + b"\0", "a GIF image of 3 x 4 pixels"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04rest", "an Office document"),
        (b"abc\x00def", "binary data"),
    ],
)
def test_what_is_no_text_is_named_and_not_shown(use: Bench, data: bytes, words: str) -> None:
    (use.workspace / "thing.txt").write_bytes(data)
    shown = use.ok("read_file", path="thing.txt")
    assert words in shown
    assert "\n" not in shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\xef\xbb\xbfname,wert\r\n1,2\r\n", "name,wert\n1,2"),
        ("größe\n".encode("utf-16"), "größe"),
        ("größe und vieles mehr\n".encode("latin-1"), "größe und vieles mehr"),
        (("ä" * 4_096 + "xä").encode(), None),
        (b"\x1b[31mred\x1b[0m\n", "red"),
    ],
)
def test_text_in_other_clothes_is_text(use: Bench, data: bytes, shown: str | None) -> None:
    (use.workspace / "t").write_bytes(data)
    body = use.ok("read_file", path="t").partition("\n")[2]
    assert body.replace("\n", "") == data.decode() if shown is None else body == shown


def test_an_empty_file_says_so(use: Bench) -> None:
    (use.workspace / "e").touch()
    assert use.ok("read_file", path="e") == "e is empty (0 bytes)"


def test_editing_changes_one_place(use: Bench) -> None:
    file = use.workspace / "a.py"
    file.write_text("x = 1\ny = 2\nx2 = 1\n")
    assert use.ok("edit_file", path="a.py", old="y = 2", new="y = 3\nz = 4") == "edited a.py at line 2, now 25 bytes"
    assert file.read_text() == "x = 1\ny = 3\nz = 4\nx2 = 1\n"
    assert use.ok("edit_file", path="a.py", old="z = 4\n", new="").startswith("edited")


def test_editing_what_is_not_there_shows_the_nearest_line(use: Bench) -> None:
    file = use.workspace / "a.py"
    file.write_text("def area(width, height):\n    return width * height\n")
    said = use.error("edit_file", path="a.py", old="return width*height", new="x")
    assert "does not stand in a.py; nothing was changed" in said
    assert "line 2: '    return width * height'" in said
    assert "Call read_file" in use.error("edit_file", path="a.py", old="qqqqqqq", new="x")


def test_editing_what_stands_there_several_times_names_the_lines(use: Bench) -> None:
    (use.workspace / "a").write_text("x\ny\nx\n")
    assert "2 times in a (lines 1, 3)" in use.error("edit_file", path="a", old="x", new="z")
    assert (use.workspace / "a").read_text() == "x\ny\nx\n"


def test_editing_keeps_the_line_ends_of_the_file(use: Bench) -> None:
    (use.workspace / "dos.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    use.ok("edit_file", path="dos.txt", old="one\ntwo", new="1\n2")
    assert (use.workspace / "dos.txt").read_bytes() == b"1\r\n2\r\nthree\r\n"


def test_edits_that_make_no_sense_say_why(use: Bench) -> None:
    (use.workspace / "a").write_text("x")
    (use.workspace / "b").write_bytes(b"\xff\x00")
    assert "`old` is empty" in use.error("edit_file", path="a", old="", new="x")
    assert "the same" in use.error("edit_file", path="a", old="x", new="x")
    assert "not UTF-8" in use.error("edit_file", path="b", old="x", new="y")
    assert "does not exist" in use.error("edit_file", path="c", old="x", new="y")


def test_listing_goes_down_but_not_into_what_nobody_asked_for(use: Bench) -> None:
    for path in ("b.txt", "data/one.csv", "data/deep/two.csv", "node_modules/x/y.js", ".git/config"):
        (use.workspace / path).parent.mkdir(parents=True, exist_ok=True)
        (use.workspace / path).write_text("12345")
    lines = use.ok("list_files").split("\n")
    assert lines[0] == "entries in .: 7"
    assert set(lines[1:]) == {
        ".git/ (not listed)", "node_modules/ (not listed)", "data/", "data/deep/", "b.txt  5 bytes",
        "data/one.csv  5 bytes", "data/deep/two.csv  5 bytes",
    }  # fmt: skip
    assert use.ok("list_files", path="data/deep") == "entries in data/deep: 1\ndata/deep/two.csv  5 bytes"
    assert "y.js" in use.ok("list_files", path="node_modules")


def test_listing_ends_at_its_limit_and_of_nothing_says_so(use: Bench) -> None:
    assert use.ok("list_files") == ". is empty"
    for number in range(500):
        (use.workspace / f"{number}.txt").touch()
    shown = use.ok("list_files")
    assert shown.startswith("entries in .: more than 400")
    assert "only the first 400" in shown
    assert "does not exist" in use.error("list_files", path="nowhere")


def test_moving_never_replaces(use: Bench) -> None:
    (use.workspace / "a").write_text("A")
    (use.workspace / "b").write_text("B")
    assert use.ok("move_file", source="a", destination="new/c") == "moved a to new/c"
    assert "exists already" in use.error("move_file", source="b", destination="new/c")
    assert "does not exist" in use.error("move_file", source="a", destination="d")
    assert (use.workspace / "new/c").read_text() == "A"


def test_deleting(use: Bench) -> None:
    (use.workspace / "a").write_text("A")
    assert use.ok("delete_file", path="a") == "deleted a"
    assert "does not exist" in use.error("delete_file", path="a")
    assert use("delete_file", path=".").outcome == "error"


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "a/../../secret.txt", "/etc/passwd", "..\\..\\secret.txt", "link.txt",
        "folder-link/secret.txt",
        "a\x00b", "", "../workspace-evil/x", "~/.ssh/id_rsa", "/proc/self/environ", ".env", ".git/hooks/post-checkout",
    ],
)  # fmt: skip
def test_no_path_leads_out(use: Bench, path: str) -> None:
    outside = use.workspace.parent
    (outside / "secret.txt").write_text("secret")
    (outside / "workspace-evil").mkdir()
    (use.workspace / "link.txt").symlink_to(outside / "secret.txt")
    (use.workspace / "folder-link").symlink_to(outside)
    (use.workspace / ".git").mkdir()
    before = files(outside)
    results = [
        use("read_file", path=path),
        use("list_files", path=path or "x"),
        use("search_files", pattern="secret", path=path or "x"),
        use("edit_file", path=path, old="secret", new="changed"),
        use("append_file", path=path, content="more"),
        use("finish", answer="x", artifacts=[path]),
    ]
    written = use("write_file", path=path, content="evil")
    assert (outside / "secret.txt").read_text() == "secret"
    inside = path in ("link.txt", "..\\..\\secret.txt", "~/.ssh/id_rsa")  # replaced, or an odd name in the workspace
    if not inside:
        assert written.outcome == "error"
        assert files(outside) == before
    for result in results:
        assert result.outcome == "error" or inside, result
        assert "root:" not in result.content


def test_a_pipe_or_device_does_not_hang_a_tool(use: Bench) -> None:
    os.mkfifo(use.workspace / "pipe")
    assert "not a regular file" in use.error("read_file", path="pipe")
    assert "(other)" in use.ok("list_files")
    use.ok("search_files", pattern="x")


def test_half_of_a_surrogate_pair_is_named(use: Bench) -> None:
    assert "surrogate pair at character 1" in use.error("write_file", path="a", content="x\ud83dy")
    assert not (use.workspace / "a").exists()


def test_more_than_a_file_may_hold_is_refused(use: Bench) -> None:
    assert "Write the file with python" in use.error("write_file", path="a", content="x" * (9 << 20))


# --- search ------------------------------------------------------------------------------------------------------


def test_searching_names_file_and_line(use: Bench) -> None:
    (use.workspace / "src").mkdir()
    (use.workspace / "src/a.py").write_text("import os\n\ndef main():\r\n    pass\n")
    (use.workspace / "notes.md").write_text("main idea\n")
    (use.workspace / "bin").write_bytes(b"main\x00")
    (use.workspace / ".git").mkdir()
    (use.workspace / ".git/x").write_text("main")
    found = use.ok("search_files", pattern=r"\bmain\b")
    assert found.split("\n") == ["matching lines in .: 2", "notes.md:1: main idea", "src/a.py:3: def main():"]
    assert use.ok("search_files", pattern="(?i)IMPORT", path="src/a.py").endswith("src/a.py:1: import os")
    assert use.ok("search_files", pattern="^def.*:$", path="src").startswith("matching lines in src: 1\n")
    assert use.ok("search_files", pattern="absent").startswith("no line matches in . (files searched: 2)")
    assert "does not exist" in use.error("search_files", pattern="x", path="nowhere")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)*x"])
def test_an_expression_that_would_run_for_years_is_stopped(use: Bench, pattern: str) -> None:
    (use.workspace / "a.txt").write_text("a" * 5_000 + "!\n")
    assert "Use a simpler one" in use("search_files", pattern=pattern, timeout_s=2.0).content


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "*a", "(?P<x", "a" * 2_000, "", "((((a{1,99}){1,99}){1,99}){1,99}){1,99}"]
)
def test_a_wrong_expression_is_explained(use: Bench, pattern: str) -> None:
    (use.workspace / "a.txt").write_text("b\n")
    result = use("search_files", pattern=pattern)
    assert result.outcome == ("ok" if pattern.startswith("((((a") else "error")


def test_too_many_hits_and_long_lines_are_cut(use: Bench) -> None:
    (use.workspace / "a.txt").write_text(("hit " + "x" * 1_000 + "\n") * 300)
    result = use("search_files", pattern="hit")
    assert "only the first 200 are shown" in result.content
    assert len(result.content.encode()) <= 16 * 1024


def test_a_name_cannot_forge_an_entry_of_a_listing(use: Bench) -> None:
    (use.workspace / "a\nsecret.txt  5 bytes").write_text("x")
    assert use.ok("list_files").split("\n") == ["entries in .: 1", '"a\\nsecret.txt  5 bytes"  1 bytes']
