"""Chunks for tests."""

from collections.abc import Iterable

from agentrunner.retrieval.index import Index
from agentrunner.retrieval.passages import Chunk, Hit


def chunk(text: str, start: int = 0) -> Chunk:
    return Chunk(text, start, start + len(text), f"from {start}")


def put(index: Index, store: str = "notes", version: str = "1", **texts: str) -> None:
    """Sources of one chunk each, by name."""
    for name, text in texts.items():
        index.put(store, name, [chunk(text)], version=version)


def names(hits: Iterable[Hit]) -> list[str]:
    return [hit.source for hit in hits]
