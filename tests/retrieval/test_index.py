"""What is put into the index is there until it is replaced or dropped, in every process, and never twice."""

import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentrunner.errors import UsageError
from agentrunner.retrieval.index import Index, Source, fingerprint
from agentrunner.retrieval.search import search
from tests.retrieval.parts import chunk, names, put


def test_an_unchanged_source_is_not_indexed_again(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.db")
    version = fingerprint(b"one two", "chunks of 800")
    assert index.put("notes", "a.md", [chunk("one two")], version=version)
    assert not index.put("notes", "a.md", [chunk("never read")], version=version)
    assert index.versions("notes") == {"a.md": version}
    assert index.chunks("notes", "a.md") == [chunk("one two")]


def test_a_version_changes_with_the_content_and_with_how_it_was_cut() -> None:
    versions = {fingerprint(b"a", 800), fingerprint(b"b", 800), fingerprint(b"a", 400), fingerprint(b"a", 400, 100)}
    assert len(versions) == 4
    assert fingerprint(b"a", 800) in versions


def test_a_changed_source_replaces_what_it_was() -> None:
    index = Index()
    index.put("notes", "a.md", [chunk("apples"), chunk("pears", 7)], version="1", attributes={"year": 2020})
    assert index.put("notes", "a.md", [chunk("plums")], version="2")
    assert index.chunks("notes", "a.md") == [chunk("plums")]
    assert not search(index, "apples pears", stores=["notes"])
    assert [(hit.chunk, hit.attributes) for hit in search(index, "plums", stores=["notes"])] == [(chunk("plums"), {})]


def test_a_source_that_cannot_be_cut_to_the_end_leaves_what_was_there() -> None:
    index = Index()
    put(index, a="apples")

    def broken():
        yield chunk("pears")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        index.put("notes", "a", broken(), version="2")
    assert index.versions("notes") == {"a": "1"}
    assert names(search(index, "apples pears", stores=["notes"])) == ["a"]


def test_a_dropped_source_is_not_found_any_more() -> None:
    index = Index()
    put(index, a="apples", b="apples and pears")
    assert index.drop("notes", "a")
    assert not index.drop("notes", "a")
    assert not index.drop("nowhere", "a")
    assert names(search(index, "apples", stores=["notes"])) == ["b"]


def test_many_sources_are_put_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrunner.retrieval.index.BATCH_SOURCES", 3)
    index = Index()
    put(index, b="old")
    sources = [Source(name, [chunk(f"apples {name}")], "1", attributes={"name": name}) for name in "abcdefg"]
    assert index.put_all("notes", (source for source in sources)) == 6
    assert index.put_all("notes", sources[2:]) == 0
    assert index.put_all("notes", []) == 0
    hits = search(index, "apples", stores=["notes"])
    assert sorted(names(hits)) == ["a", "c", "d", "e", "f", "g"]
    assert all(hit.attributes == {"name": hit.source} for hit in hits)


def test_stores_know_nothing_of_each_other() -> None:
    index = Index()
    put(index, "one", a="apples")
    put(index, "two", a="apples", b="pears")
    before = search(index, "apples", stores=["one"])
    for number in range(20):
        put(index, "two", **{f"more {number}": "apples again"})
    assert search(index, "apples", stores=["one"]) == before
    assert index.stores() == ["one", "two"]
    assert index.drop_store("two")
    assert not index.drop_store("two")
    assert index.stores() == ["one"]
    assert index.versions("two") == {}
    assert not search(index, "pears", stores=["one", "two"])
    put(index, "two", c="pears")
    assert names(search(index, "apples pears", stores=["two"])) == ["c"]


def test_names_titles_and_texts_come_back_to_the_letter() -> None:
    odd = "caf\ufeffé \0 \ud800 ﬁ\r\n　末"
    index = Index()
    index.put(odd, odd, [chunk(odd)], version=odd.replace("\ud800", ""), title=odd, attributes={odd: odd, "n": 3})
    assert index.stores() == [odd]
    assert index.chunks(odd, odd) == [chunk(odd)]
    (hit,) = search(index, "café", stores=[odd])
    assert (hit.source, hit.chunk, hit.attributes) == (odd, chunk(odd), {odd: odd, "n": 3})
    assert index.drop(odd, odd)
    assert not search(index, "café", stores=[odd])


def test_attributes_change_without_indexing_again() -> None:
    index = Index()
    put(index, a="apples")
    assert index.describe("notes", "a", {"kind": "fruit"})
    assert not index.describe("notes", "b", {})
    only = {"type": "eq", "key": "kind", "value": "fruit"}
    assert [hit.attributes for hit in search(index, "apples", stores=["notes"], filters=only)] == [{"kind": "fruit"}]
    index.put("notes", "a", [], version="1", attributes={"kind": "tree"})
    assert not search(index, "apples", stores=["notes"], filters=only)


def test_an_attribute_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="attribute 'size' is nan"):
        Index().put("notes", "a", [], version="1", attributes={"size": float("nan")})


def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "index.db"
    put(Index(path), a="secret")
    assert {stat.S_IMODE(each.stat().st_mode) & 0o077 for each in [path.parent, *path.parent.iterdir()]} == {0}


WRITER = """
import sys
from pathlib import Path
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.passages import Chunk
index = Index(Path(sys.argv[1]))
for i in range(40):
    text = f"{sys.argv[2]} wrote {i}"
    index.put("shared", f"same {i}", [Chunk(text, 0, len(text), "line 1")], version=sys.argv[2])
    index.put(f"of {sys.argv[2]}", f"own {i}", [Chunk(text, 0, len(text), "line 1")], version="1")
"""


def test_processes_and_threads_write_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("anna", "bert")]
    index = Index(path)
    threads = [
        threading.Thread(target=lambda n=n: [put(index, "threads", **{f"{n} {i}": "threads"}) for i in range(40)])
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(search(index, "threads", stores=["threads"], limit=1000)) == 120
    for name in ("anna", "bert"):
        assert len(search(index, name, stores=[f"of {name}"], limit=1000)) == 40
    last = index.versions("shared")
    assert len(last) == 40
    for name in ("anna", "bert"):
        of = [hit.source for hit in search(index, name, stores=["shared"], limit=1000)]
        assert set(of) == {source for source, version in last.items() if version == name}


def spoil(path: Path, how: str) -> None:
    whole = path.read_bytes()
    match how:
        case "no database":
            path.write_bytes(b"this is no database, and longer than a header" * 100)
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "zeros":
            path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
        case "other version":
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 7")
            db.close()
        case _:
            raise AssertionError(how)


@pytest.mark.parametrize("how", ["no database", "cut", "zeros", "other version"])
def test_a_damaged_file_is_made_again_and_said(tmp_path: Path, how: str) -> None:
    path, said = tmp_path / "index.db", list[str]()
    index = Index(path)
    put(index, **{f"source {n}": f"apples number {n}" for n in range(200)})
    index.close()
    spoil(path, how)
    index = Index(path, said.append)
    assert search(index, "apples", stores=["notes"]) == []
    put(index, a="apples")
    assert names(search(index, "apples", stores=["notes"])) == ["a"]
    assert len(said) == 1
    assert "begins empty" in said[0]
    assert path.with_name("index.db.damaged").exists()


def test_damage_at_any_place_is_found_when_it_is_met(tmp_path: Path) -> None:
    chance = random.Random(7)
    master = tmp_path / "master.db"
    index = Index(master)
    for n in range(60):
        index.put("notes", f"n{n}", [chunk(f"apples {n} " * 20)] * 3, version="1", attributes={"n": n})
    index.close()
    for n in range(25):
        damaged, path = bytearray(master.read_bytes()), tmp_path / f"{n}.db"
        for _ in range(chance.choice([1, 20])):
            at = chance.randrange(100, len(damaged) - 4096)
            damaged[at : at + 400] = chance.randbytes(400)
        path.write_bytes(damaged)
        index = Index(path)
        search(index, "apples 7", stores=["notes"], filters={"type": "lt", "key": "n", "value": 30})
        index.put("notes", "n1", [chunk("pears")], version="2")
        index.drop("notes", "n2")
        index.drop_store("notes")
        put(index, a="plums")
        assert names(search(index, "plums", stores=["notes"])) == ["a"]
        index.close()


def test_damage_is_noticed_by_who_has_the_file_open(tmp_path: Path) -> None:
    path, said = tmp_path / "index.db", list[str]()
    first, second = Index(path, said.append), Index(path, said.append)
    put(first, **{f"source {n}": f"apples number {n} " * 50 for n in range(300)})
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    for index in (second, first):
        assert search(index, "apples", stores=["notes"]) == []
        put(index, a="pears")
    assert names(search(first, "pears", stores=["notes"])) == ["a"]
    assert len(said) == 1


KILLED = """
import sys
from pathlib import Path
from agentrunner.retrieval.index import Index, Source
from agentrunner.retrieval.passages import Chunk
index = Index(Path(sys.argv[1]))
print("ready", flush=True)
for version in range(1000):
    text = f"apples of version {version}"
    chunks = [Chunk(text, 0, len(text), "line 1")] * 3
    index.put_all("notes", [Source(f"n{n}", chunks, str(version)) for n in range(5)])
"""


def test_a_killed_writer_leaves_sources_whole(tmp_path: Path) -> None:
    path, said = tmp_path / "index.db", list[str]()
    for pause_ms in (1, 7, 20, 45):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(pause_ms / 1000)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        index = Index(path, said.append)
        for source, version in index.versions("notes").items():
            assert [each.text for each in index.chunks("notes", source)] == [f"apples of version {version}"] * 3
        assert len(search(index, "apples", stores=["notes"], limit=50)) == 3 * len(index.versions("notes"))
        if index.stores():
            index.read(lambda execute: execute("INSERT INTO words_1 (words_1) VALUES ('integrity-check')"))
        index.close()
    assert said == []


def test_who_has_the_file_open_goes_on_with_the_new_one_when_another_replaced_it(tmp_path: Path) -> None:
    path, said = tmp_path / "index.db", list[str]()
    first, second = Index(path, said.append), Index(path, said.append)
    put(first, **{f"source {n}": f"apples number {n}" for n in range(200)})
    assert len(search(second, "apples", stores=["notes"])) == 10
    path.unlink()
    assert search(second, "apples", stores=["notes"]) == []
    put(second, a="pears")
    assert names(search(first, "pears", stores=["notes"])) == ["a"]


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (a)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is a database, but not a search index"):
        Index(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"search index '.*index.db' cannot be used"):
        Index(tmp_path / "file" / "index.db")
