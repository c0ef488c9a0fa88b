"""The files that `file_search` searches: which there are, and which of them the index does not know yet. What is found
in them is told in `file_search.py`."""

from __future__ import annotations

import hashlib
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentrunner.errors import UsageError
from agentrunner.retrieval.chunk import chunks
from agentrunner.retrieval.documents import Unreadable
from agentrunner.retrieval.index import Index, fingerprint
from agentrunner.retrieval.parse import Parser
from agentrunner.retrieval.passages import Hit
from agentrunner.retrieval.search import search
from agentrunner.sandbox.paths import MAX_DEPTH, PathError, Root
from agentrunner.sandbox.trees import Entry
from agentrunner.tools.files import SKIPPED
from agentrunner.tools.workspace import Workspace

STORE = "files"
CHUNK_TOKENS, OVERLAP_TOKENS = 400, 100
"""Half of what a vector store takes: only a few lines of a passage are shown, and they are found by words."""
MAX_FILES = 20_000
MAX_FILE_BYTES = 32 << 20
MAX_BYTES = 256 << 20
"""Of all files together: the index takes two to three times as much on the disk."""
INDEX_S = 20.0
"""Of one search, for files that are new to it; the next search goes on. A model's patience is not the limit, a person's
is."""
PARSE_S = 20.0
FRESH_S = 2.0
"""A file changed so lately may change again without another time of change: it is looked at anew the next time."""
CACHE_BYTES = 2 << 30
"""Of all indexes that are kept, each of one workspace with its folders; the least lately used go first."""

Stamp = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Look:
    """What a search rests on: how many files are in the index, how many are still to come, whether there are more than
    are taken, and which could not be read, with the reason."""

    files: int = 0
    waiting: int = 0
    beyond: bool = False
    refused: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class _File:
    root: Root
    entry: Entry


class Library:
    """The text of a workspace and of the folders beside it. `cache` is a folder for its index; without one, or when it
    cannot be used, the index is in memory."""

    def __init__(self, workspace: Workspace, cache: Path | None) -> None:
        self._workspace = workspace
        self._index = _open(cache, [workspace.root, *workspace.shelves.values()])
        self._seen: dict[str, tuple[Stamp | None, str]] = {}
        """When each file was looked at last, and why there is no text of it."""
        weakref.finalize(self, self._index.close)
        self._one = threading.Lock()
        self._last = Look()

    def look(self, timeout_s: float) -> Look:
        """Take in what is new or changed, for a bounded time. Branches that come meanwhile wait, then see the same."""
        allowed = min(INDEX_S, timeout_s / 2)
        ends = time.monotonic() + allowed
        if not self._one.acquire(timeout=allowed):
            return self._last
        try:
            self._last = self._take_in(ends)
        finally:
            self._one.release()
        return self._last

    def search(self, query: str, limit: int) -> list[Hit]:
        return search(self._index, query, stores=[STORE], limit=limit)

    def beginnings(self, limit: int) -> list[Hit]:
        """The first passage of the first files."""
        names = sorted(self._index.versions(STORE))[: 2 * limit]
        first = ((name, self._index.chunks(STORE, name)[:1]) for name in names)
        return [Hit(name, chunk, 0.0, {}) for name, [*found] in first for chunk in found][:limit]

    def _take_in(self, ends: float) -> Look:
        files, beyond = self._files()
        known = self._index.versions(STORE)
        for gone in known.keys() - files.keys():
            self._index.drop(STORE, gone)
            self._seen.pop(gone, None)
        done = 0
        with Parser(timeout_s=PARSE_S) as parser:
            for name, file in files.items():
                stamp = (file.entry.bytes, file.entry.mtime)
                if self._seen.get(name, (None, ""))[0] != stamp:
                    if time.monotonic() > ends:
                        break
                    self._seen[name] = self._take(parser, name, file, known.get(name, ""))
                done += 1
        looked = list(files)[:done]
        refused = {name: why for name in looked if (why := self._seen[name][1])}
        return Look(done - len(refused), len(files) - done, beyond, refused)

    def _take(self, parser: Parser, name: str, file: _File, known: str) -> tuple[Stamp | None, str]:
        """Put one file into the index, unless it is there as it is: when it was looked at, and why it has no text."""
        why, entry = "", file.entry
        try:
            if entry.bytes > MAX_FILE_BYTES:
                raise Unreadable(f"is larger than {MAX_FILE_BYTES >> 20} MiB; split it")
            data = file.root.read(entry.path, max_bytes=MAX_FILE_BYTES)
            version = fingerprint(data, CHUNK_TOKENS, OVERLAP_TOKENS)
            if version != known:
                document = parser.parse_bytes(data, entry.path)
                passages = chunks(document, max_tokens=CHUNK_TOKENS, overlap_tokens=OVERLAP_TOKENS)
                self._index.put(STORE, name, passages, version=version, title=entry.path)
        except (Unreadable, PathError) as error:
            why = str(error).removeprefix(f"{entry.path!r} ")
            if known:
                self._index.drop(STORE, name)
        fresh = time.time() - entry.mtime < FRESH_S
        return None if fresh else (entry.bytes, entry.mtime), why

    def _files(self) -> tuple[dict[str, _File], bool]:
        """The files by the name that a model uses, and whether there are more than are taken."""
        files: dict[str, _File] = {}
        room = MAX_BYTES
        for root in [self._workspace.root, *self._workspace.shelves.values()]:
            for entry in _walk(root):
                room -= entry.bytes if entry.bytes <= MAX_FILE_BYTES else 0
                if len(files) == MAX_FILES or room < 0:
                    return files, True
                files[self._workspace.shown(root, entry.path)] = _File(root, entry)
        return files, False


def _walk(root: Root) -> Iterator[Entry]:
    """The files of a folder, those at its top first, without what is kept from models."""
    waiting = ["."]
    while waiting:
        with suppress(PathError):  # gone meanwhile, or not to be entered
            for entry in root.entries(waiting.pop(0), max_depth=1, max_entries=MAX_FILES + 1):
                name = entry.path.rpartition("/")[2]
                if entry.kind == "dir" and name not in SKIPPED and entry.path.count("/") < MAX_DEPTH:
                    waiting.append(entry.path)
                elif entry.kind == "file" and entry.bytes and not name.startswith(".env"):
                    yield entry


def _open(cache: Path | None, roots: list[Root]) -> Index:
    if cache is None:
        return Index()
    name = hashlib.sha256("\0".join(str(root.path) for root in roots).encode("utf-8", "surrogateescape")).hexdigest()
    path = cache / f"files-{name[:32]}.db"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        index = Index(path)
        path.touch()
        _forget_the_oldest(cache)
        return index
    except (UsageError, OSError):  # it only saves time
        return Index()


def _forget_the_oldest(cache: Path) -> None:
    room = CACHE_BYTES
    for path in sorted(cache.glob("files-*.db"), key=lambda path: path.stat().st_mtime, reverse=True):
        parts = list(cache.glob(f"{path.name}*"))
        room -= sum(part.stat().st_size for part in parts)
        for part in parts if room < 0 else ():
            part.unlink(missing_ok=True)
