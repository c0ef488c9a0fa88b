"""Contents of files, each once, under its SHA-256. Only the rows say who refers to one; a name that exists is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from agentrunner.journal.database import Execute
from agentrunner.journal.sessions import make_private

_COPY_BYTES = 1 << 20
_LEFT_S = 3_600
"""Nothing that still comes is silent for so long: the connection would have been given up."""


class Incoming:
    """Content that is still coming. What is not kept is gone when it is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{secrets.token_hex(12)}.part"
        self._file: BinaryIO = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def finish(self) -> str:
        """Bring it all to the disk. Its SHA-256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self.sha256

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def keep(self) -> None:
        """Give it its final name. Called inside the transaction that adds the row, so that nobody removes it as unused
        in between."""
        final = blob_path(self._folder, self.sha256)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.replace(final)
        for folder in (final.parent, self._folder):
            _sync(folder)

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class Blobs:
    """The contents under `home/files`."""

    def __init__(self, home: Path) -> None:
        self.folder = make_private(home, "files")

    def incoming(self) -> Incoming:
        return Incoming(self.folder)

    def path(self, sha256: str) -> Path:
        return blob_path(self.folder, sha256)

    def copy_into(self, incoming: Incoming, source: Path, also: Callable[[bytes], object] | None = None) -> None:
        """All of `source`; every piece goes to `also`, too."""
        with source.open("rb") as file:
            while piece := file.read(_COPY_BYTES):
                incoming.write(piece)
                if also:
                    also(piece)

    def clear_left(self) -> None:
        """Remove what a server that was killed in the middle of an upload has left. Another one may be running."""
        for left in self.folder.glob("*.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_S:
                    left.unlink()

    def remove_unused(self, execute: Execute, digests: Iterable[str]) -> None:
        """Remove those contents that no row refers to. The caller keeps others from writing meanwhile."""
        for sha256 in digests:
            query = "SELECT 1 FROM server_objects WHERE refers_to = ? LIMIT 1"
            if sha256 and not execute(query, (sha256,)).fetchone():
                self.path(sha256).unlink(missing_ok=True)


def blob_path(folder: Path, sha256: str) -> Path:
    return folder / sha256[:2] / sha256


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
