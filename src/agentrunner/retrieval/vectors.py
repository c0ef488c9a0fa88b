"""Vectors of the chunks of a store, and the chunks nearest to one. It compares all of them: 250,000 take a tenth of a
second, and an approximate index would be one more file that can be wrong.

A vector belongs to a text, not to a chunk: what is still there after a source was replaced is not embedded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agentrunner.retrieval.embedding import Embedder, Space, check_same, embed, numpy
from agentrunner.retrieval.file import Execute
from agentrunner.retrieval.filters import Condition
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.tables import from_blob, to_blob
from agentrunner.retrieval.words import Found

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from agentrunner.retrieval.embedding import Floats

BATCH_TEXTS = 128
BATCH_CHARACTERS = 200_000
"""Of one request. OpenAI takes 2,048 texts and 300,000 tokens; a character of Chinese may be more than one token."""

KEPT_BYTES = 512 * 1024 * 1024
"""Of vectors in memory between searches, over all stores of an index: 130,000 of 1,024 dimensions."""


class Matrix(NamedTuple):
    """All vectors of a store as it was at this revision (of this file), and the chunk of each row."""

    revision: tuple[int, int]
    chunks: npt.NDArray[np.int64]
    vectors: Floats


def embed_missing(index: Index, store: str, embedder: Embedder, source: str | None = None) -> int:
    """Embed every text of the store (or of one of its sources) that has no vector yet, in batches that are kept as they
    come: whoever is interrupted pays for nothing twice. Returns how many there were. Raises `UsageError` when the store
    has vectors of another model, before anything is asked."""
    done = 0
    for batch in _missing(index, store, embedder, source):
        space, vectors = embed(embedder, [text for _, text in batch])
        rows = [(digest, row.tobytes()) for (digest, _), row in zip(batch, vectors, strict=True)]
        if not index.write(lambda execute, space=space, rows=rows: _keep(execute, store, space, rows)):
            break
        done += len(batch)
    return done


def drop_vectors(index: Index, store: str) -> None:
    """Forget all vectors of a store and the model they came from. Its words stay."""

    def work(execute: Execute) -> None:
        store_id = "(SELECT id FROM stores WHERE name = ?)"
        execute(f"DELETE FROM vectors WHERE store = {store_id}", (to_blob(store),))  # noqa: S608 - our own words
        execute("UPDATE stores SET space = NULL, revision = revision + 1 WHERE name = ?", (to_blob(store),))

    index.write(work)


def spaces(index: Index, stores: Sequence[str]) -> dict[str, Space | None]:
    """Of what model the vectors of each store are, None where it has none; stores that are not there are left out."""
    query = "SELECT space FROM stores WHERE name = ?"

    def work(execute: Execute) -> dict[str, Space | None]:
        rows = {store: execute(query, (to_blob(store),)).fetchone() for store in stores}
        return {store: Space.from_json(row[0]) if row[0] else None for store, row in rows.items() if row}

    return index.read(work)


def without_vectors(index: Index, store: str) -> list[str]:
    """The sources of a store that have texts without a vector."""
    query = (
        "SELECT DISTINCT s.name FROM sources s JOIN chunks c ON c.source = s.id"
        " WHERE s.store = (SELECT id FROM stores WHERE name = ?)"
        " AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.store = s.store AND v.digest = c.digest) ORDER BY s.id"
    )
    return index.read(lambda execute: [from_blob(name) for (name,) in execute(query, (to_blob(store),))])


def nearest(
    index: Index, execute: Execute, store: int, vector: Floats, condition: Condition | None, limit: int
) -> list[Found]:
    """The chunks whose vectors are nearest to this one, at most `limit`, best first. A score is the cosine of the angle
    between them, and 0 for angles beyond a right one."""
    np = numpy()
    matrix = _matrix(index, execute, store, len(vector))
    with np.errstate(all="ignore"):  # Vectors that are not brought to length 1 may be of any size.
        scores = matrix.vectors @ vector
    chunks = matrix.chunks
    if condition is not None:
        of = f"SELECT s.id FROM sources s WHERE s.store = ? AND {condition.sql}"  # noqa: S608 - our own words
        found = execute(f"SELECT id FROM chunks WHERE source IN ({of})", (store, *condition.parameters))  # noqa: S608
        allowed = np.isin(chunks, [id_ for (id_,) in found])
        scores, chunks = scores[allowed], chunks[allowed]
    best = np.argsort(-scores, kind="stable")[:limit]
    return [Found(int(chunks[at]), min(1.0, max(0.0, float(scores[at])))) for at in best]


def _missing(index: Index, store: str, embedder: Embedder, source: str | None) -> Iterator[list[tuple[bytes, str]]]:
    """Texts without a vector by their digest, a batch at a time, each text once."""
    query = (
        "SELECT c.id, c.digest, c.text FROM chunks c JOIN sources s ON s.id = c.source WHERE s.store = ? AND c.id > ?"
        " AND (? IS NULL OR s.name = ?)"
        " AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.store = s.store AND v.digest = c.digest)"
        " ORDER BY c.id LIMIT ?"
    )
    last, name = 0, None if source is None else to_blob(source)

    def look(execute: Execute) -> list[tuple[int, bytes, bytes]]:
        found = execute("SELECT id, space FROM stores WHERE name = ?", (to_blob(store),)).fetchone()
        if found is None:
            return []
        check_same(store, Space.from_json(found[1]) if found[1] else None, embedder)
        return execute(query, (found[0], last, name, name, BATCH_TEXTS)).fetchall()

    while rows := index.read(look):
        batch: dict[bytes, str] = {}
        characters = 0
        for id_, digest, blob in rows:
            text = from_blob(blob)
            if batch and characters + len(text) > BATCH_CHARACTERS:
                break
            last = id_
            # There are endpoints that refuse a whole request for one blank text.
            if text.strip() and digest not in batch:
                batch[digest] = text
                characters += len(text)
        if batch:
            yield list(batch.items())


def _keep(execute: Execute, store: str, space: Space, rows: Sequence[tuple[bytes, bytes]]) -> bool:
    """False when the store is gone meanwhile."""
    found = execute("SELECT id, space FROM stores WHERE name = ?", (to_blob(store),)).fetchone()
    if found is None:
        return False
    check_same(store, Space.from_json(found[1]) if found[1] else None, space)
    execute("UPDATE stores SET space = ?, revision = revision + 1 WHERE id = ?", (space.to_json(), found[0]))
    for digest, vector in rows:
        execute("INSERT OR IGNORE INTO vectors (store, digest, vector) VALUES (?, ?, ?)", (found[0], digest, vector))
    return True


def _matrix(index: Index, execute: Execute, store: int, dimension: int) -> Matrix:
    """From memory while the store has not changed. In the search's transaction, so that it is of the same state."""
    np = numpy()
    revision = (index.generation, execute("SELECT revision FROM stores WHERE id = ?", (store,)).fetchone()[0])
    kept = index.matrices.pop(store, None)
    if kept is None or kept.revision != revision:
        of_store = (
            "FROM chunks c JOIN sources s ON s.id = c.source"
            " JOIN vectors v ON v.store = s.store AND v.digest = c.digest WHERE s.store = ?"
        )
        count = int(execute(f"SELECT count(*) {of_store}", (store,)).fetchone()[0])
        kept = Matrix(revision, np.empty(count, np.int64), np.empty((count, dimension), np.float32))
        for row, (id_, vector) in enumerate(execute(f"SELECT c.id, v.vector {of_store} ORDER BY c.id", (store,))):
            kept.chunks[row] = id_
            kept.vectors[row] = np.frombuffer(vector, np.float32)
    index.matrices[store] = kept
    while len(index.matrices) > 1 and sum(each.vectors.nbytes for each in index.matrices.values()) > KEPT_BYTES:
        del index.matrices[next(iter(index.matrices))]
    return kept
