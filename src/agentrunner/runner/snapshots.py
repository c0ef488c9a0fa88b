"""How the workspace was after each command that changed it, so that a session can be forked there.

Contents lie once each under their hash in `AGENT_HOME/snapshots`; what changed, and when, is a line in the session's
own folder. The walk over the workspace is the loop guard's: only files that it found changed are read.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentrunner.errors import UsageError
from agentrunner.guard.tree import Tree
from agentrunner.journal.sessions import make_private
from agentrunner.sandbox.paths import PathError, Root

MAX_BYTES = 200 * 1000 * 1000
MAX_ENTRIES = 20_000
"""Of a workspace: what is larger is a data set, and copying it would cost more than most commands."""
MAX_STORED_BYTES = 1 << 30
"""That one session may add to the store: a large file that is written again and again is kept again and again."""
CHUNK_BYTES = 1 << 20

Saved = tuple[str, int]
"""Hash and mode of a file; the hash is empty for one that cannot be read or must not be kept (`.env`)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One look at the workspace. `place`: the call it followed, empty for the beginning of an attempt. `off` says why
    the state was not kept."""

    place: str
    attempt: int
    tree: str
    saved: Mapping[str, Saved] = field(default_factory=dict[str, Saved])
    gone: Sequence[str] = ()
    stored: int = 0
    off: str = ""

    def line(self) -> str:
        data: dict[str, Any] = {"place": self.place, "attempt": self.attempt, "tree": self.tree}
        data |= {"saved": self.saved, "gone": list(self.gone), "stored": self.stored, "off": self.off}
        return json.dumps(data, separators=(",", ":")) + "\n"


class Snapshots:
    """Those of one attempt at a session. Its methods may take long, and are called one after the other."""

    def __init__(self, home: Path, session_id: str, workspace: Path, attempt: int) -> None:
        self._store = Store(home)
        self._file = record_file(home, session_id)
        self._workspace = workspace
        self._attempt = attempt
        self._tree = Tree(workspace)
        self._state: dict[str, Saved] | None = None
        self._last = Record("", 0, "")
        self._stored = 0

    def begin(self) -> None:
        """The state before this attempt changes anything."""
        try:
            records = read_records(self._file, mend=True)
        except (OSError, ValueError, KeyError):  # Without the earlier states the later ones cannot be told.
            self._tree.after("", {})
            return
        self._stored = sum(record.stored for record in records)
        self._state = state_of(records)
        self._last = records[-1] if records else self._last
        self._keep("", self._tree.after("", {}))

    def after(self, tool: str, arguments: Mapping[str, object], place: str) -> str:
        """The guard's hash of the workspace after this command; what changed is kept."""
        tree = self._tree.after(tool, arguments)
        if self._state is not None:
            self._keep(place, tree)
        return tree

    def _keep(self, place: str, tree: str) -> None:
        # A session does not end because its workspace cannot be kept: then the fork says why there is none.
        try:
            record = self._look(place, tree)
            if record is not None:
                append_record(self._file, record)
                self._last = record
        except OSError as error:
            with suppress(OSError):
                append_record(self._file, Record(place, self._attempt, tree, off=f"{error.strerror} while it was kept"))
            self._state = None

    def _look(self, place: str, tree: str) -> Record | None:
        """The record to write, None when nothing is new."""
        off = self._why_not(tree)
        if off:
            return None if self._last.off == off else Record(place, self._attempt, tree, off=off)
        assert self._state is not None
        before = self._stored
        saved: dict[str, Saved] = {}
        gone: list[str] = []
        changes = self._tree.take_changes()
        if not place:  # A new attempt's first look finds everything; what it does not find is gone.
            changes |= dict.fromkeys(self._state.keys() - changes.keys())
        with self._store.held(fcntl.LOCK_SH), _rooted(self._workspace) as root:
            for name, found in changes.items():
                if found is None:
                    if self._state.pop(name, None) is not None:
                        gone.append(name)
                    continue
                digest, stored = self._store.put(root, name)
                self._stored += stored
                if self._state.get(name) != (digest, found[1]):
                    self._state[name] = saved[name] = (digest, found[1])
            if not (saved or gone or self._last.off or tree != self._last.tree or not place):
                return None
            return Record(place, self._attempt, tree, saved, gone, self._stored - before)

    def _why_not(self, tree: str) -> str:
        if not tree:
            return "it could not be looked at, or it is too large"
        if len(self._tree) > MAX_ENTRIES:
            return f"it has more than {MAX_ENTRIES:,} files"
        if self._tree.bytes > MAX_BYTES:
            return f"it is larger than {MAX_BYTES // 1_000_000} MB"
        if self._stored > MAX_STORED_BYTES:
            return f"the session's earlier states take more than {MAX_STORED_BYTES >> 30} GiB already"
        return ""


class Store:
    """Contents under their SHA-256. Who adds holds it shared; who prunes holds it alone."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "snapshots"

    @contextmanager
    def held(self, how: int) -> Generator[None]:
        make_private(self._home, "snapshots")
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def put(self, root: Root, name: str) -> tuple[str, int]:
        """Keep a file's content: its hash and how many bytes were added. An empty hash when it is not to be read."""
        try:
            first = root.read(name, 0, CHUNK_BYTES)
            digest = hashlib.sha256(first)
            if len(first) == CHUNK_BYTES:
                for chunk in _rest(root, name):
                    digest.update(chunk)
            if self.path(digest.hexdigest()).exists():
                return digest.hexdigest(), 0
            return self._write(root, name, first)
        except PathError:
            return "", 0

    def _write(self, root: Root, name: str, first: bytes) -> tuple[str, int]:
        temporary = self._folder / f"{secrets.token_hex(8)}.part"
        digest, size = hashlib.sha256(first), len(first)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(first)
                for chunk in _rest(root, name) if size == CHUNK_BYTES else ():
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            make_private(self._home, "snapshots", digest.hexdigest()[:2])
            temporary.replace(self.path(digest.hexdigest()))
        finally:
            temporary.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def copy(self, digest: str, target: int) -> None:
        """Write the content into an open file. Raises `UsageError` when it is not there whole any more."""
        found = hashlib.sha256()
        try:
            with self.path(digest).open("rb") as file, os.fdopen(os.dup(target), "wb") as copy:
                while chunk := file.read(CHUNK_BYTES):
                    found.update(chunk)
                    copy.write(chunk)
        except FileNotFoundError:
            found.update(b"gone")
        if found.hexdigest() != digest:
            raise UsageError("a file of the workspace at that step is not in the store any more", "fork another step")

    def prune(self) -> None:
        """Delete what no session's records name. The caller holds the store alone."""
        named: set[str] = set()
        for file in self._home.glob("sessions/*/snapshots.jsonl"):
            named |= {digest for record in read_records(file) for digest, _ in record.saved.values()}
        for path in self._folder.glob("*/*"):
            if path.name not in named:
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def record_file(home: Path, session_id: str) -> Path:
    return home / "sessions" / session_id / "snapshots.jsonl"


def read_records(file: Path, *, mend: bool = False) -> list[Record]:
    """All whole records; a last line that a crash cut off is none, and with `mend` it is taken away. Raises
    `ValueError` or `KeyError` for what is no record."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    whole = content.rfind(b"\n") + 1
    if mend and whole < len(content):
        os.truncate(file, whole)
    return [_record(json.loads(line)) for line in content[:whole].splitlines()]


def append_record(file: Path, record: Record) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(record.line().encode())


def state_of(records: Sequence[Record]) -> dict[str, Saved]:
    """The files after all these records."""
    state: dict[str, Saved] = {}
    for record in records:
        state |= record.saved
        for name in record.gone:
            state.pop(name, None)
    return state


def restore(store: Store, state: Mapping[str, Saved], folder: Path, owner: tuple[int, int] | None) -> list[str]:
    """Write these files into an empty folder of ours; names of those that were not kept come back."""
    missing: list[str] = []
    for name, (digest, mode) in sorted(state.items()):
        parts = name.split("/")
        if {"", ".", ".."} & set(parts):
            raise UsageError(f"the record of the workspace names the path {name!r}", "fork another step")
        if not digest:
            missing.append(name)
            continue
        path = folder
        for part in parts[:-1]:
            path = path / part
            if not path.is_dir():
                path.mkdir()
                _give(path, owner)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            store.copy(digest, descriptor)
            os.fchmod(descriptor, mode & 0o777)
            if owner:
                os.fchown(descriptor, *owner)
        finally:
            os.close(descriptor)
    return missing


def copy_records(source: Path, target: Path, records: Sequence[Record]) -> None:
    """The beginning of another session's records, and with them the right to their contents."""
    for record in records:
        append_record(target, record)
    shutil.copymode(source, target)


def _give(path: Path, owner: tuple[int, int] | None) -> None:
    if owner:
        os.chown(path, *owner, follow_symlinks=False)


def _record(data: dict[str, Any]) -> Record:
    saved = {str(name): (str(digest), int(mode)) for name, (digest, mode) in data["saved"].items()}
    return Record(data["place"], data["attempt"], data["tree"], saved, data["gone"], data["stored"], data["off"])


def _rest(root: Root, name: str) -> Generator[bytes]:
    offset = CHUNK_BYTES
    while chunk := root.read(name, offset, CHUNK_BYTES):
        yield chunk
        offset += len(chunk)


@contextmanager
def _rooted(workspace: Path) -> Generator[Root]:
    root = Root(workspace)
    try:
        yield root
    finally:
        root.close()
