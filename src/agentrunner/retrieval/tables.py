"""The tables of an index, and the statements that keep them true to each other. Transactions are the caller's."""

from __future__ import annotations

import hashlib
import json
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agentrunner.retrieval.file import Execute
from agentrunner.retrieval.filters import Value, stored
from agentrunner.retrieval.passages import Chunk
from agentrunner.retrieval.terms import indexed

FORMAT = 1
"""Grows with every change of the tables and of what is kept in them."""

TOKENS = "porter unicode61 remove_diacritics 2 categories ''L* N* Co Mn Mc''"
"""English endings are cut off, accents ignored. Marks belong to words: vowels of Indic scripts are marks."""

TABLES = (
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
    "CREATE INDEX chunks_saying ON chunks (digest)",
    "CREATE TABLE vectors (store INTEGER NOT NULL, digest BLOB NOT NULL, vector BLOB NOT NULL,"
    " PRIMARY KEY (store, digest))",
)


@dataclass(frozen=True, slots=True)
class Source:
    """What is indexed together: a file, or a result. The `version` changes whenever the chunks might."""

    name: str
    chunks: Sequence[Chunk]
    version: str
    title: str | None = None
    """Searched with every chunk; by default the name."""
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])


def version() -> int:
    """Of the tables. Another Python may normalise other characters, and what is deleted must read exactly as it did
    when it was put in."""
    return zlib.crc32(f"{FORMAT} {TOKENS} {unicodedata.unidata_version}".encode()) & 0x7FFFFFFF


def to_blob(text: str) -> bytes:
    """Any text to the letter: SQLite's own text can hold no lone surrogates, as file names may."""
    return text.encode("utf-8", "surrogatepass")


def from_blob(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")


def to_chunk(first: int, last: int, place: bytes, text: bytes) -> Chunk:
    return Chunk(from_blob(text), first, last, from_blob(place))


def find_store(execute: Execute, name: str) -> int | None:
    found = execute("SELECT id FROM stores WHERE name = ?", (to_blob(name),)).fetchone()
    return int(found[0]) if found else None


def find_source(execute: Execute, store: str, name: str) -> tuple[int, int] | None:
    """Ids of store and source."""
    query = "SELECT store, id FROM sources WHERE store = (SELECT id FROM stores WHERE name = ?) AND name = ?"
    return execute(query, (to_blob(store), to_blob(name))).fetchone()


def make_store(execute: Execute, name: str) -> int:
    """The id of a store, which is made when there is none of this name."""
    found = find_store(execute, name)
    if found is not None:
        return found
    id_ = execute("INSERT INTO stores (name, chunks, revision) VALUES (?, 0, 0)", (to_blob(name),)).lastrowid
    assert id_ is not None
    # It keeps no text, only where each word is: the text is in `chunks`, once.
    execute(f"CREATE VIRTUAL TABLE words_{id_} USING fts5(title, text, content='', tokenize='{TOKENS}')")
    return id_


def put_source(execute: Execute, store: int, source: Source) -> bool:
    """False when this version is there already; then only its attributes are set."""
    title = source.name if source.title is None else source.title
    query = "SELECT id, version, title FROM sources WHERE store = ? AND name = ?"
    found = execute(query, (store, to_blob(source.name))).fetchone()
    if found and found[1:] == (source.version, to_blob(title)):
        describe_source(execute, found[0], source.attributes)
        return False
    gone = _remove_rows(execute, store, found[0]) if found else set[bytes]()
    id_ = execute(
        "INSERT INTO sources (store, name, version, title, attributes) VALUES (?, ?, ?, ?, '')",
        (store, to_blob(source.name), source.version, to_blob(title)),
    ).lastrowid
    assert id_ is not None
    describe_source(execute, id_, source.attributes)
    _add_chunks(execute, store, id_, title, source.chunks)
    _forget_vectors(execute, store, gone)
    return True


def describe_source(execute: Execute, source: int, attributes: Mapping[str, Value]) -> None:
    """Attributes as they were given, and as they are compared. Raises `UsageError` for a value of no kind."""
    rows = stored(attributes)
    execute("UPDATE sources SET attributes = ? WHERE id = ?", (json.dumps(dict(attributes)), source))
    execute("DELETE FROM attributes WHERE source = ?", (source,))
    for row in rows:
        execute("INSERT INTO attributes (source, name, kind, value) VALUES (?, ?, ?, ?)", (source, *row))


def remove_source(execute: Execute, store: int, source: int) -> None:
    _forget_vectors(execute, store, _remove_rows(execute, store, source))


def remove_store(execute: Execute, store: int) -> None:
    for table in ("attributes", "chunks"):
        execute(f"DELETE FROM {table} WHERE source IN (SELECT id FROM sources WHERE store = ?)", (store,))  # noqa: S608
    execute("DELETE FROM sources WHERE store = ?", (store,))
    execute("DELETE FROM vectors WHERE store = ?", (store,))
    execute("DELETE FROM stores WHERE id = ?", (store,))
    execute(f"DROP TABLE words_{store}")


def _add_chunks(execute: Execute, store: int, source: int, title: str, chunks: Sequence[Chunk]) -> None:
    insert = "INSERT INTO chunks (source, first, last, place, digest, text) VALUES (?, ?, ?, ?, ?, ?)"
    words = f"INSERT INTO words_{store} (rowid, title, text) VALUES (?, ?, ?)"  # noqa: S608 - a number
    searched = indexed(title)
    for chunk in chunks:
        text = to_blob(chunk.text)
        digest = hashlib.sha256(text).digest()[:16]
        row = execute(insert, (source, chunk.start, chunk.end, to_blob(chunk.place), digest, text)).lastrowid
        execute(words, (row, searched, indexed(chunk.text)))
    _count(execute, store, len(chunks))


def _remove_rows(execute: Execute, store: int, source: int) -> set[bytes]:
    """Returns the digests of the texts that its chunks had."""
    title = indexed(from_blob(execute("SELECT title FROM sources WHERE id = ?", (source,)).fetchone()[0]))
    gone = execute("SELECT id, text, digest FROM chunks WHERE source = ?", (source,)).fetchall()
    # An index that keeps no text has to be told what was in the row.
    words = f"INSERT INTO words_{store} (words_{store}, rowid, title, text) VALUES ('delete', ?, ?, ?)"  # noqa: S608
    for row, text, _ in gone:
        execute(words, (row, title, indexed(from_blob(text))))
    execute("DELETE FROM chunks WHERE source = ?", (source,))
    execute("DELETE FROM attributes WHERE source = ?", (source,))
    execute("DELETE FROM sources WHERE id = ?", (source,))
    _count(execute, store, -len(gone))
    return {digest for _, _, digest in gone}


def _count(execute: Execute, store: int, more: int) -> None:
    execute("UPDATE stores SET chunks = chunks + ?, revision = revision + 1 WHERE id = ?", (more, store))


def _forget_vectors(execute: Execute, store: int, digests: set[bytes]) -> None:
    """Of texts that no chunk of the store has any more. Only after new chunks are in: they may say the same."""
    for digest in digests:
        execute(
            "DELETE FROM vectors WHERE store = ? AND digest = ? AND NOT EXISTS"
            " (SELECT 1 FROM chunks c JOIN sources s ON s.id = c.source WHERE c.digest = ? AND s.store = ?)",
            (store, digest, digest, store),
        )
