"""How the workspace was after each command that changed it, so that a session can be forked there.

Contents lie once each under their hash in `AGENT_HOME/snapshots`; what changed, and when, is a line in the session's
own folder. The walk over the workspace is the loop guard's: only files that it found changed are read.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentrunner.guard.tree import Tree
from agentrunner.runner.contents import Saved, Store
from agentrunner.sandbox.paths import Root
from agentrunner.types import JSON

MAX_BYTES = 200 * 1000 * 1000
MAX_ENTRIES = 20_000
"""Of a workspace: what is larger is a data set, and copying it would cost more than most commands."""
MAX_STORED_BYTES = 1 << 30
"""That one session may add to the store: a large file that is written again and again is kept again and again."""


@dataclass(frozen=True, slots=True)
class Record:
    """One look at the workspace. `place`: the call it followed, empty for the beginning of an attempt. `off` says why
    the state was not kept. `whole`: all files are in it, so that it needs nothing before it. `lost`: what stood here
    cannot be read, so nothing up to the next whole one can be told."""

    place: str
    attempt: int
    tree: str
    saved: Mapping[str, Saved] = field(default_factory=dict[str, Saved])
    gone: Sequence[str] = ()
    stored: int = 0
    off: str = ""
    whole: bool = False
    lost: bool = False

    def as_json(self) -> JSON:
        data: JSON = {"place": self.place, "attempt": self.attempt, "tree": self.tree}
        data |= {"saved": self.saved, "gone": list(self.gone), "stored": self.stored, "off": self.off}
        return data | {name: True for name in ("whole", "lost") if getattr(self, name)}

    def line(self) -> str:
        return json.dumps(self.as_json(), separators=(",", ":")) + "\n"


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
        self._first = True
        """Nothing was kept in this attempt yet."""
        self._whole = True
        self._stored = 0

    def begin(self) -> None:
        """The state before this attempt changes anything."""
        try:
            records = read_records(self._file, mend=True)
        except OSError:  # What cannot be read can hardly be added to.
            self._tree.after("", {})
            return
        self._stored = sum(record.stored for record in records)
        known = since_whole(records)
        self._whole = not known or any(record.lost for record in known)
        self._state = {} if self._whole else state_of(known)
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
            # Until the record names them, new contents belong to nobody: nobody may prune in between.
            with self._store.held(fcntl.LOCK_SH):
                record = self._look(place, tree)
                if record is not None:
                    append_record(self._file, record)
                    self._last = record
                    if not record.off:
                        self._first = self._whole = False
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
        if self._first:  # A new attempt's first look finds everything; what it does not find is gone.
            changes |= dict.fromkeys(self._state.keys() - changes.keys())
        with _rooted(self._workspace) as root:
            for name, found in changes.items():
                if found is None:
                    if self._state.pop(name, None) is not None:
                        gone.append(name)
                    continue
                digest, stored = self._store.put(root, name)
                self._stored += stored
                if self._state.get(name) != (digest, found[1]):
                    self._state[name] = saved[name] = (digest, found[1])
        if not (saved or gone or self._last.off or tree != self._last.tree or self._first):
            return None
        return Record(place, self._attempt, tree, saved, gone, self._stored - before, whole=self._whole)

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


def record_file(home: Path, session_id: str) -> Path:
    return home / "sessions" / session_id / "snapshots.jsonl"


def read_records(file: Path, *, mend: bool = False) -> list[Record]:
    """All records, lost ones for lines that are none; a last line that a crash cut off is left out, and with `mend` it
    is taken away."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    whole = content.rfind(b"\n") + 1
    if mend and whole < len(content):
        os.truncate(file, whole)
    return [_read(line) for line in content[:whole].split(b"\n")[:-1]]


def append_record(file: Path, record: Record) -> None:
    """Add a line, or nothing at all."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        size, line = os.fstat(descriptor).st_size, record.line().encode()
        try:
            while line:
                line = line[stream.write(line) :]
        except OSError:
            # A disk that is full took a part of it, and the next line would begin in its middle.
            os.truncate(descriptor, size)
            raise


def named_anywhere(home: Path) -> set[str] | None:
    """The hashes that the records of all sessions name; None when one is lost, and so nobody knows what it named."""
    records = [record for file in home.glob("sessions/*/snapshots.jsonl") for record in read_records(file)]
    if any(record.lost for record in records):
        return None
    return {digest for record in records for digest, _ in record.saved.values()}


def since_whole(records: Sequence[Record]) -> Sequence[Record]:
    """The last whole record and what follows it: all that the state after them needs."""
    return records[max((i for i, record in enumerate(records) if record.whole), default=0) :]


def state_of(records: Sequence[Record]) -> dict[str, Saved]:
    """The files after all these records."""
    state: dict[str, Saved] = {}
    for record in records:
        state |= record.saved
        for name in record.gone:
            state.pop(name, None)
    return state


def copy_records(source: Path, target: Path, records: Sequence[Record]) -> None:
    """The beginning of another session's records, and with them the right to their contents."""
    for record in records:
        append_record(target, record)
    shutil.copymode(source, target)


def record_of(data: Any) -> Record:
    """The inverse of `Record.as_json`; a lost record for anything else."""
    try:
        saved = {str(name): (str(digest), int(mode)) for name, (digest, mode) in data["saved"].items()}
        place, attempt, tree, stored = str(data["place"]), int(data["attempt"]), str(data["tree"]), int(data["stored"])
        flags = {name: bool(data.get(name)) for name in ("whole", "lost")}
        return Record(place, attempt, tree, saved, list(map(str, data["gone"])), stored, str(data["off"]), **flags)
    except (ValueError, KeyError, TypeError, AttributeError):
        return LOST


LOST = Record("", 0, "", lost=True)


def _read(line: bytes) -> Record:
    try:
        return record_of(json.loads(line))
    except (ValueError, RecursionError):
        return LOST


@contextmanager
def _rooted(workspace: Path) -> Generator[Root]:
    root = Root(workspace)
    try:
        yield root
    finally:
        root.close()
