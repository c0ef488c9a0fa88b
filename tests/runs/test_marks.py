"""Where an answer names passages and files: what is marked always reads as the text does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from agentrunner.server.marks import Passage, annotations_in, marks_in, paths_in

PASSAGES = {"1:0": Passage("file-a", "a.md", "what stands there"), "1:1": Passage("file-b", "b.md", "x" * 5_000)}


def marked(text: str, files: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Texts of the annotations and what each stands for, when all of them fit."""
    found: list[Any] = annotations_in(text, PASSAGES, {path: f"file of {path}" for path in files})
    for one in found:
        assert text[one["start_index"] : one["end_index"]] == one["text"]
    assert [one["start_index"] for one in found] == sorted(one["start_index"] for one in found)
    return [(one["text"], one[one["type"]]["file_id"]) for one in found]


def test_marks_that_stand_close_together_or_inside_of_one_another_are_told_apart() -> None:
    text = "🐦 A【1:0†source】【1:1†source】, 【【1:0†source】】, 【1:0†source 【1:1†b.md】 and 【7:7†source】【1:0】."

    assert marked(text) == [
        ("【1:0†source】", "file-a"),
        ("【1:1†source】", "file-b"),
        ("【1:0†source】", "file-a"),
        ("【1:1†b.md】", "file-b"),
    ]


def test_marks_go_on_after_those_that_are_there_unless_they_were_made_up() -> None:
    assert marks_in([]) == marks_in(["no mark 【", "【a:1†source】"]) == 0
    assert marks_in(["【3:7†source】 and 【12:0†source】", "【5:0†source】"]) == 12
    assert marks_in(["【999999:0†source】【4:0†source】"]) == 4


def test_a_quote_says_what_the_passage_reads_and_is_no_longer_than_it_may_be() -> None:
    first, second = annotations_in("【1:0†source】【1:1†source】", PASSAGES, {})

    assert first["file_citation"] == {"file_id": "file-a", "quote": "what stands there"}
    assert second["file_citation"]["quote"] == "x" * 1_000


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("Here: sandbox:/mnt/data/a.csv.", ["a.csv"]),
        ("(sandbox:/mnt/data/a.csv), `sandbox:/mnt/data/sub/b.txt`!", ["a.csv", "sub/b.txt"]),
        ("**sandbox:/mnt/data/ü.txt**", ["ü.txt"]),
        ("[a](sandbox:/mnt/data/a.csv) and [a](sandbox:/mnt/data/a.csv)", ["a.csv", "a.csv"]),
        ("[of 2024](sandbox:/mnt/data/sales of 2024.xlsx)", ["sales of 2024.xlsx"]),
        ("![copy](sandbox:/mnt/data/plot (1).png)", ["plot (1).png"]),
        ('[t](sandbox:/mnt/data/a b.csv "The table")', ["a b.csv"]),
        ("[t](<sandbox:/mnt/data/a b.csv>)", ["a b.csv"]),
        ("[t](sandbox:/mnt/data/a%20b.csv)", ["a%20b.csv"]),
        ("[not closed](sandbox:/mnt/data/a.csv and more", ["a.csv"]),
    ],
)
def test_the_names_of_files_end_where_their_readers_would_say(text: str, paths: list[str]) -> None:
    assert sorted(path for path, _ in paths_in(text)) == sorted(paths)
    assert [where for where, _ in marked(text, paths)] == [f"sandbox:/mnt/data/{path}" for path in paths]


def test_a_file_that_was_not_made_is_not_annotated() -> None:
    assert marked("[a](sandbox:/mnt/data/a.csv) sandbox:/mnt/data/../../etc/passwd", ["b.csv"]) == []


@pytest.mark.parametrize(
    "piece", ["](sandbox:/mnt/data/(", "](sandbox:/mnt/data/a ", '](sandbox:/mnt/data/ "', "【1:0†"]
)
def test_no_text_takes_long_to_read(piece: str) -> None:
    started = time.process_time()
    marked(piece * (200_000 // len(piece)))

    assert time.process_time() - started < 5
