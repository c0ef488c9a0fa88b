"""What can be searched: sources, each with its chunks and attributes, in named stores. It finds nothing itself.

Every store has a word index of its own, so that neither the scores nor the time of a search depend on what others keep
in the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.retrieval import tables
from agentrunner.retrieval.file import Execute, IndexFile, T
from agentrunner.retrieval.filters import Value
from agentrunner.retrieval.passages import Chunk
from agentrunner.retrieval.tables import Source, from_blob, to_blob, to_chunk

if TYPE_CHECKING:
    from agentrunner.retrieval.vectors import Matrix

__all__ = ["Index", "Source", "fingerprint"]

BATCH_SOURCES = 64
BATCH_CHARACTERS = 1_000_000
"""Of one transaction, when many sources are put in: three times as fast as one by one, and others wait for less than a
second."""


class Index:
    """The stores of one file, or of this process alone when `path` is None. Any thread and any number of processes may
    use it. A damaged file is replaced by an empty one, and `tell` is given a sentence: put everything in again."""

    def __init__(self, path: Path | None = None, tell: Callable[[str], None] | None = None) -> None:
        self._file = IndexFile(path, tables.version(), tables.TABLES, tell)
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
        given = Source(source, list(chunks), version, title, attributes or {})
        return self.write(lambda execute: tables.put_source(execute, tables.make_store(execute, store), given))

    def put_all(self, store: str, sources: Iterable[Source]) -> int:
        """`put` for many, some at a time in one transaction: when it is interrupted, what is in is whole. Returns how
        many were not there in their version."""
        changed = 0
        for batch in _batches(sources):

            def work(execute: Execute, batch: list[Source] = batch) -> int:
                id_ = tables.make_store(execute, store)
                return sum(tables.put_source(execute, id_, source) for source in batch)

            changed += self.write(work)
        return changed

    def describe(self, store: str, source: str, attributes: Mapping[str, Value]) -> bool:
        """Give a source other attributes. Returns False when there is no such source."""

        def work(execute: Execute) -> bool:
            found = tables.find_source(execute, store, source)
            if found is not None:
                tables.describe_source(execute, found[1], attributes)
            return found is not None

        return self.write(work)

    def drop(self, store: str, source: str) -> bool:
        """Forget a source. Returns False when there is none of this name."""

        def work(execute: Execute) -> bool:
            found = tables.find_source(execute, store, source)
            if found is not None:
                tables.remove_source(execute, *found)
            return found is not None

        return self.write(work)

    def drop_store(self, store: str) -> bool:
        """Forget a store with all that is in it. Returns False when there is none of this name."""

        def work(execute: Execute) -> bool:
            found = tables.find_store(execute, store)
            if found is not None:
                tables.remove_store(execute, found)
            return found is not None

        return self.write(work)

    def stores(self) -> list[str]:
        """The names of all stores that were ever put into and not dropped."""
        return self.read(
            lambda execute: [from_blob(name) for (name,) in execute("SELECT name FROM stores ORDER BY id")]
        )

    def size(self, stores: Iterable[str]) -> int:
        """How many chunks these stores have together, without looking at any."""
        query = "SELECT chunks FROM stores WHERE name = ?"

        def work(execute: Execute) -> int:
            rows = [execute(query, (to_blob(store),)).fetchone() for store in dict.fromkeys(stores)]
            return sum(row[0] for row in rows if row)

        return self.read(work)

    def versions(self, store: str) -> dict[str, str]:
        """The version of each source of a store, by name. What has this version need not be put again."""
        query = "SELECT name, version FROM sources WHERE store = (SELECT id FROM stores WHERE name = ?) ORDER BY id"
        return self.read(lambda execute: {from_blob(n): v for n, v in execute(query, (to_blob(store),))})

    def chunks(self, store: str, source: str) -> list[Chunk]:
        """All chunks of a source, in order; none when there is no such source."""

        def work(execute: Execute) -> list[Chunk]:
            found = tables.find_source(execute, store, source)
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


def _batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    batch: list[Source] = []
    characters = 0
    for source in sources:
        batch.append(source)
        characters += sum(len(chunk.text) for chunk in source.chunks)
        if len(batch) >= BATCH_SOURCES or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
