"""File contents of workspaces, each kept once under its SHA-256 in `AGENT_HOME/snapshots`. It does not know who uses
which."""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Generator, Iterable, Mapping, Set
from contextlib import contextmanager
from pathlib import Path

from agentrunner.errors import UsageError
from agentrunner.journal.sessions import make_private
from agentrunner.sandbox.paths import PathError, Root

CHUNK_BYTES = 1 << 20

Saved = tuple[str, int]
"""Hash and mode of a file; the hash is empty for one that cannot be read or must not be kept (`.env`)."""


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

    def add(self, digest: str, parts: Iterable[bytes]) -> None:
        """Keep a content that comes from elsewhere. Raises `ValueError` when it is not what its hash says."""
        temporary, found = self._folder / f"{secrets.token_hex(8)}.part", hashlib.sha256()
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for part in parts:
                    found.update(part)
                    file.write(part)
            if found.hexdigest() != digest:
                raise ValueError(f"the content {digest[:12]}… is not what its hash says")
            make_private(self._home, "snapshots", digest[:2])
            temporary.replace(self.path(digest))
        finally:
            temporary.unlink(missing_ok=True)

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

    def prune(self, named: Set[str]) -> None:
        """Delete all but these. The caller holds the store alone."""
        for path in self._folder.glob("*/*"):
            if path.name not in named:
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def restore(store: Store, state: Mapping[str, Saved], folder: Path, owner: tuple[int, int] | None) -> list[str]:
    """Write these files into an empty folder of ours; names of those that were not kept come back."""
    missing: list[str] = []
    for name, (digest, mode) in sorted(state.items()):
        if not is_inside(name):
            raise UsageError(f"the record of the workspace names the path {name!r}", "fork another step")
        if not digest:
            missing.append(name)
            continue
        path = folder
        for part in name.split("/")[:-1]:
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


def is_inside(name: str) -> bool:
    """Whether this can only be a path below the folder that it is meant for."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name


def _give(path: Path, owner: tuple[int, int] | None) -> None:
    if owner:
        os.chown(path, *owner, follow_symlinks=False)


def _rest(root: Root, name: str) -> Generator[bytes]:
    offset = CHUNK_BYTES
    while chunk := root.read(name, offset, CHUNK_BYTES):
        yield chunk
        offset += len(chunk)
