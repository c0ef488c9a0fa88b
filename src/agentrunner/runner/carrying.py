"""What a session needs on another machine besides its events: whole results, the pictures it was shown, and the states
of its workspace. They are lines after the events, taken in only when each content is what its hash says."""

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from agentrunner.errors import UsageError
from agentrunner.journal import session_folder
from agentrunner.runner.contents import Store, is_inside
from agentrunner.runner.snapshots import Record, read_records, record_file, record_of
from agentrunner.types import JSON

PART_BYTES = 3 << 18
"""Of one line's content: a megabyte as base64."""
CONTENT, STATE, OUTPUT, PICTURE = "file.content", "workspace.state", "output.saved", "picture.shown"
"""The types of these lines. A content comes in parts, before the lines that name it."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def files_of(home: Path, session_id: str) -> Iterator[JSON]:
    """The lines of a session, each without its envelope. What is not kept whole any more is named without content."""
    store = Store(home)
    with store.held(fcntl.LOCK_SH):
        there: set[str] = set()
        records = read_records(record_file(home, session_id))
        for digest in dict.fromkeys(digest for record in records for digest, _ in record.saved.values() if digest):
            if _digest_of(store.path(digest)) == digest:
                there.add(digest)
                yield from _parts(store.path(digest), digest)
        for record in records:
            saved = {name: (digest if digest in there else "", mode) for name, (digest, mode) in record.saved.items()}
            yield {"type": STATE, "state": replace(record, saved=saved).as_json()}
    for path in sorted((home / "sessions" / session_id / "outputs").glob("*")):
        if is_output(path.name) and path.is_file():
            digest = _digest_of(path)
            yield from _parts(path, digest)
            yield {"type": OUTPUT, "name": path.name, "sha256": digest}
    for path in sorted(pictures_of(home, session_id).glob("*")):
        if _DIGEST.fullmatch(path.name) and _digest_of(path) == path.name:
            yield from _parts(path, path.name)
            yield {"type": PICTURE, "sha256": path.name}


def pictures_of(home: Path, session_id: str) -> Path:
    """Where the pictures that a session was shown lie under their hash."""
    return home / "sessions" / session_id / "pictures"


def is_output(name: str) -> bool:
    """Whether a whole result may lie under this name: journals come from elsewhere, too."""
    return _PLAIN_NAME.fullmatch(name) is not None


@dataclass(slots=True)
class Carried:
    """What came along with a session. Its contents are in the store, where they stay while that is held."""

    records: list[Record] = field(default_factory=list[Record])
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    pictures: set[str] = field(default_factory=set[str])

    def keep(self, home: Path, session_id: str) -> None:
        """Make it the session's own. States that were added here since then stay as they are."""
        folder, file = session_folder(home, session_id), record_file(home, session_id)
        there = read_records(file)
        if there == self.records[: len(there)] and len(there) < len(self.records):
            _write_whole(file, "".join(record.line() for record in self.records).encode())
        kept = [(folder / "outputs" / name, digest) for name, digest in self.outputs.items()]
        for path, digest in [*kept, *((pictures_of(home, session_id) / digest, digest) for digest in self.pictures)]:
            if not path.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                _write_whole(path, Store(home).path(digest).read_bytes())


@contextlib.contextmanager
def received(home: Path, lines: Iterable[JSON]) -> Generator[Carried]:
    """Read the lines of `files_of`. Raises `ValueError` for what is none, or not whole."""
    store, carried = Store(home), Carried()
    with store.held(fcntl.LOCK_SH):
        try:
            _take_all(store, carried, iter(lines))
        except OSError as error:
            raise UsageError(
                f"its files cannot be kept in {str(home)!r}: {error.strerror}", "free some space"
            ) from None
        yield carried


def _take_all(store: Store, carried: Carried, lines: Iterator[JSON]) -> None:
    there: set[str] = set()
    for line in lines:
        match line.get("type"):
            case "file.content":
                there.add(_take_content(store, line, lines))
            case "workspace.state":
                carried.records.append(_state(line, there))
            case "output.saved":
                name, digest = str(line.get("name")), str(line.get("sha256"))
                if not is_output(name) or digest not in there:
                    raise ValueError(f"the result {name!r:.80} is not whole")
                carried.outputs[name] = digest
            case "picture.shown":
                digest = str(line.get("sha256"))
                if digest not in there:
                    raise ValueError(f"the picture {digest[:12]!r} is not whole")
                carried.pictures.add(digest)
            case _:
                continue  # of a later version


def _parts(path: Path, digest: str) -> Iterator[JSON]:
    left = path.stat().st_size
    with path.open("rb") as file:
        while True:
            part = file.read(PART_BYTES)
            left -= len(part)
            last = left <= 0 or not part
            yield {"type": CONTENT, "sha256": digest, "last": last, "base64": base64.b64encode(part).decode()}
            if last:
                return


def _take_content(store: Store, first: JSON, more: Iterator[JSON]) -> str:
    """Put the content that begins with this line into the store."""
    digest = first.get("sha256")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError("a content has no hash")
    try:
        store.add(digest, _decoded(first, digest, more))
    except binascii.Error:
        raise ValueError(f"the content {digest[:12]}… is not base64") from None
    return digest


def _decoded(line: JSON | None, digest: str, more: Iterator[JSON]) -> Iterator[bytes]:
    while line is not None and (line.get("type"), line.get("sha256")) == (CONTENT, digest):
        yield base64.b64decode(str(line.get("base64")), validate=True)
        if line.get("last") is not False:
            return
        line = next(more, None)
    raise ValueError(f"the content {digest[:12]}… is not whole")


def _state(line: JSON, there: set[str]) -> Record:
    state: Any = line.get("state")
    record = record_of(state)
    if record.lost and not (isinstance(state, dict) and cast(JSON, state).get("lost")):
        raise ValueError("a state of the workspace cannot be read")
    for name, (digest, _) in record.saved.items():
        if not is_inside(name):
            raise ValueError(f"a state of the workspace names the path {name!r:.80}")
        if digest and digest not in there:
            # It could be the content of another session here, and whoever wrote the file would get to read it.
            raise ValueError(f"the content of {name!r:.80} is missing")
    return record


def _digest_of(path: Path) -> str:
    """Empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}", "free some space, then repeat") from None
    finally:
        temporary.unlink(missing_ok=True)
