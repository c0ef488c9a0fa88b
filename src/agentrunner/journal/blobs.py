"""Content-addressed files for payloads that would bloat the database. It does not know which event refers to which.

A file appears under its final name only when its bytes are on the disk, so a name that exists is whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from agentrunner.errors import JournalError
from agentrunner.journal.sessions import make_private


def write_blob(folder: Path, content: bytes) -> str:
    """The SHA-256 under which `content` is now durably stored. Raises `OSError`."""
    digest = hashlib.sha256(content).hexdigest()
    path = blob_path(folder, digest)
    if _size(path) == len(content):
        return digest
    make_private(folder, digest[:2])
    temporary = path.with_name(f"{digest}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    # The names too must outlive a power cut: that of the file, and that of its folder when it is new.
    _sync(path.parent)
    _sync(folder)
    return digest


def read_blob(folder: Path, digest: str) -> str:
    """The text stored under `digest`. Raises `JournalError` when it is gone or no longer what was written."""
    path = blob_path(folder, digest)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(
            f"the journal refers to {str(path)!r}, which cannot be read: {error.strerror}",
            "restore the file, or delete the session with 'agent sessions rm'",
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise JournalError(
            f"{str(path)!r} is not what the journal wrote there",
            "restore the file, or delete the session with 'agent sessions rm'",
        )
    return content.decode()


def delete_blob(folder: Path, digest: str) -> None:
    blob_path(folder, digest).unlink(missing_ok=True)


def blob_path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / digest


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
