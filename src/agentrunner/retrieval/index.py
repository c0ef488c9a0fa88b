"""What can be searched: sources, each with its chunks and attributes, in named stores. It finds nothing itself.

Every store has a word index of its own, so that neither the scores nor the time of a search depend on what others keep
in the same file.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.retrieval.file import Execute, IndexFile, T
from agentrunner.retrieval.filters import Value, stored
from agentrunner.retrieval.passages import Chunk
from agentrunner.retrieval.terms import indexed

if TYPE_CHECKING:
    from agentrunner.retrieval.vectors import Matrix

FORMAT = 1
"""Grows with every change of the tables and of what is kept in them."""

TOKENS = "porter unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''"
"""English endings are cut off, accents ignored. Marks belong to words: vowels of Indic scripts are marks."""

_TABLES = (
    # Ids never come back: word indexes are named after them.
    "CREATE TABLE stores (id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE, chunks INTEGER NOT NULL,"
    " revision INTEGER NOT NULL, space TEXT)",
    "CREATE TABLE sources (id INTEGER PRIMARY KEY AUTOINCREMENT, store INTEGER NOT NULL, name BLOB NOT NULL,"
    " version TEXT NOT NULL, title BLOB NOT NULL, attributes TEXT NOT NULL, UNIQUE (store, name))",
    "CREATE TABLE attributes (source INTEGER NOT NULL, name BLOB NOT NULL, kind TEXT NOT NULL, value NOT NULL,"
    " PRIMARY KEY (source, name)) WITHOUT ROWID",
    "CREATE TABLE chunks (id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, place BLOB NOT NULL, digest BLOB NOT NULL, text BLOB NOT NULL)",
    "CREATE INDEX chunks_of ON chunks (source)",
    "CREATE TABLE vectors (store INTEGER NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL,"
    " PRIMARY KEY (store, digest))",
)


class Index:
    """The stores of one file, or of this process alone when `path` is None. Any thread and any number of processes may
    use it. A damaged file is replaced by an empty one, and `tell` is given a sentence: put everything in again."""

    def __init__(self, path: Path | None = None, tell: Callable[[str], None] | None = None) -> None:
        # Another Python may normalise other characters, and what is deleted must read exactly as it was put in.
        version = zlib.crc32(f"{FORMAT} {TOKENS} {unicodedata.unidata_version}".encode()) & 0x7FFFFFFF
        self._file = IndexFile(path, version, _TABLES, tell)
        self.matrices: dict[int, Matrix] = {}
        """For the rest of this room: the vectors of stores that were searched last, by id, the newest at the end."""

    def put(
        self,
        store: str,
        source: str,
        chunks: Iterable[Chunk],
        *,
        version: str,
        title: str | None = None,
        attributes: Mapping[str, Value] | None = None,
    ) -> bool:
        """Make these chunks all that `source` has, in one transaction. Returns False when this version of it is there
        already; then only its attributes are set. `title` (by default the name of the source) is searched with every
        chunk. Raises `UsageError` for attributes that cannot be kept."""
        kept = stored(attributes or {})
        wanted = to_blob(source if title is None else title)
        given = list(chunks)

        def work(execute: Execute) -> bool:
            id_ = _store(execute, store)
            found = execute(
                "SELECT id, version, title FROM sources WHERE store = ? AND name = ?", (id_, to_blob(source))
            ).fetchone()
            if found and found[1:] == (version, wanted):
                _describe(execute, found[0], attributes or {}, kept)
                return False
            if found:
                _remove(execute, id_, found[0])
            source_id = execute(
                "INSERT INTO sources (store, name, version, title, attributes) VALUES (?, ?, ?, ?, '')",
                (id_, to_blob(source), version, wanted),
            ).lastrowid
            assert source_id is not None
            _describe(execute, source_id, attributes or {}, kept)
            _add(execute, id_, source_id, from_blob(wanted), given)
            _drop_unused_vectors(execute, id_)
            return True

        return self._file.write(work)

    def describe(self, store: str, source: str, attributes: Mapping[str, Value]) -> bool:
        """Give a source other attributes. Returns False when there is no such source."""
        kept = stored(attributes)

        def work(execute: Execute) -> bool:
            found = _find(execute, store, source)
            if found is None:
                return False
            _describe(execute, found[1], attributes, kept)
            return True

        return self._file.write(work)

    def drop(self, store: str, source: str) -> bool:
        """Forget a source. Returns False when there is none of this name."""

        def work(execute: Execute) -> bool:
            found = _find(execute, store, source)
            if found is None:
                return False
            _remove(execute, *found)
            _drop_unused_vectors(execute, found[0])
            return True

        return self._file.write(work)

    def drop_store(self, store: str) -> bool:
        """Forget a store with all that is in it. Returns False when there is none of this name."""

        def work(execute: Execute) -> bool:
            found = execute("SELECT id FROM stores WHERE name = ?", (to_blob(store),)).fetchone()
            if found is None:
                return False
            mine = "(SELECT id FROM sources WHERE store = ?)"
            for table in ("attributes", "chunks"):
                execute(f"DELETE FROM {table} WHERE source IN {mine}", found)  # noqa: S608 - our own names
            execute("DELETE FROM sources WHERE store = ?", found)
            execute("DELETE FROM vectors WHERE store = ?", found)
            execute("DELETE FROM stores WHERE id = ?", found)
            execute(f"DROP TABLE words_{found[0]}")
            return True

        return self._file.write(work)

    def stores(self) -> list[str]:
        """The names of all stores that were ever put into and not dropped."""
        return self.read(
            lambda execute: [from_blob(name) for (name,) in execute("SELECT name FROM stores ORDER BY id")]
        )

    def versions(self, store: str) -> dict[str, str]:
        """The version of each source of a store, by name. What has this version need not be put again."""
        query = "SELECT name, version FROM sources WHERE store = (SELECT id FROM stores WHERE name = ?) ORDER BY id"
        return self.read(lambda execute: {from_blob(n): v for n, v in execute(query, (to_blob(store),))})

    def chunks(self, store: str, source: str) -> list[Chunk]:
        """All chunks of a source, in order; none when there is no such source."""

        def work(execute: Execute) -> list[Chunk]:
            found = _find(execute, store, source)
            query = "SELECT first, last, place, text FROM chunks WHERE source = ? ORDER BY id"
            return [to_chunk(*row) for row in execute(query, (found[1],))] if found else []

        return self.read(work)

    def read(self, work: Callable[[Execute], T]) -> T:
        """For the rest of this room: statements that all see the same state."""
        return self._file.read(work)

    def write(self, work: Callable[[Execute], T]) -> T:
        """For the rest of this room: one transaction."""
        return self._file.write(work)

    @property
    def generation(self) -> int:
        """For the rest of this room: ids mean something else when the file has been made again."""
        return self._file.generation

    def close(self) -> None:
        self._file.close()


def fingerprint(content: bytes, *how: object) -> str:
    """A version for `put`: it changes with the content, and with how it was parsed and cut."""
    digest = hashlib.sha256(content)
    digest.update(repr(how).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def to_blob(text: str) -> bytes:
    """Any text to the letter: SQLite's own text can hold no lone surrogates, as file names may."""
    return text.encode("utf-8", "surrogatepass")


def from_blob(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")


def to_chunk(first: int, last: int, place: bytes, text: bytes) -> Chunk:
    return Chunk(from_blob(text), first, last, from_blob(place))


def _store(execute: Execute, name: str) -> int:
    """The id of a store, which is made when there is none of this name."""
    found = execute("SELECT id FROM stores WHERE name = ?", (to_blob(name),)).fetchone()
    if found:
        return int(found[0])
    id_ = execute("INSERT INTO stores (name, chunks, revision) VALUES (?, 0, 0)", (to_blob(name),)).lastrowid
    assert id_ is not None
    # It keeps no text, only where each word is: the text is in `chunks`, once.
    execute(f"CREATE VIRTUAL TABLE words_{id_} USING fts5(title, text, content='', tokenize='{TOKENS}')")
    return id_


def _find(execute: Execute, store: str, source: str) -> tuple[int, int] | None:
    """Ids of store and source."""
    query = "SELECT store, id FROM sources WHERE store = (SELECT id FROM stores WHERE name = ?) AND name = ?"
    return execute(query, (to_blob(store), to_blob(source))).fetchone()


def _add(execute: Execute, store: int, source: int, title: str, chunks: list[Chunk]) -> None:
    insert = "INSERT INTO chunks (source, first, last, place, digest, text) VALUES (?, ?, ?, ?, ?, ?)"
    words = f"INSERT INTO words_{store} (rowid, title, text) VALUES (?, ?, ?)"  # noqa: S608 - a number
    searched = indexed(title)
    for chunk in chunks:
        text = to_blob(chunk.text)
        digest = hashlib.sha256(text).digest()[:16]
        row = execute(insert, (source, chunk.start, chunk.end, to_blob(chunk.place), digest, text)).lastrowid
        execute(words, (row, searched, indexed(chunk.text)))
    _count(execute, store, len(chunks))


def _remove(execute: Execute, store: int, source: int) -> None:
    title = indexed(from_blob(execute("SELECT title FROM sources WHERE id = ?", (source,)).fetchone()[0]))
    gone = execute("SELECT id, text FROM chunks WHERE source = ?", (source,)).fetchall()
    # An index that keeps no text has to be told what was in the row.
    words = f"INSERT INTO words_{store} (words_{store}, rowid, title, text) VALUES ('delete', ?, ?, ?)"  # noqa: S608
    for row, text in gone:
        execute(words, (row, title, indexed(from_blob(text))))
    execute("DELETE FROM chunks WHERE source = ?", (source,))
    execute("DELETE FROM attributes WHERE source = ?", (source,))
    execute("DELETE FROM sources WHERE id = ?", (source,))
    _count(execute, store, -len(gone))


def _count(execute: Execute, store: int, more: int) -> None:
    execute("UPDATE stores SET chunks = chunks + ?, revision = revision + 1 WHERE id = ?", (more, store))


def _describe(
    execute: Execute, source: int, attributes: Mapping[str, Value], kept: list[tuple[bytes, str, object]]
) -> None:
    execute("UPDATE sources SET attributes = ? WHERE id = ?", (json.dumps(dict(attributes)), source))
    execute("DELETE FROM attributes WHERE source = ?", (source,))
    for name, kind, value in kept:
        execute("INSERT INTO attributes (source, name, kind, value) VALUES (?, ?, ?, ?)", (source, name, kind, value))


def _drop_unused_vectors(execute: Execute, store: int) -> None:
    """Only after the new chunks are in, since the same text may be among them."""
    if execute("SELECT 1 FROM vectors WHERE store = ? LIMIT 1", (store,)).fetchone():
        execute(
            "DELETE FROM vectors WHERE store = ? AND digest NOT IN"
            " (SELECT c.digest FROM chunks c JOIN sources s ON s.id = c.source WHERE s.store = ?)",
            (store, store),
        )
