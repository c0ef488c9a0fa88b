"""Pictures of a workspace as data URIs, for one file that shows everything. Reads nothing outside of the workspace."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path, PurePosixPath

MAX_PICTURE_BYTES = 2 * 1024 * 1024
"""A plot has 50 KB; a report with a few larger pictures than this cannot be mailed."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_data_uri(root: Path, path: str, sha256: str) -> str | None:
    """The picture as a data URI; None when it is no PNG, too large, gone, or not the one that was recorded."""
    data = _read_beneath(root, path) if path.lower().endswith(".png") else None
    if data is None or not data.startswith(PNG_SIGNATURE) or hashlib.sha256(data).hexdigest() != sha256:
        return None
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


def _read_beneath(root: Path, path: str) -> bytes | None:
    """A regular file of at most the size limit, reached from `root` without following a link: the path is a model's."""
    *folders, name = PurePosixPath(path).parts or ("",)
    if not name or ".." in (*folders, name) or path.startswith("/") or "\0" in path:
        return None
    no_link = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    opened: list[int] = []
    try:
        opened.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for folder in folders:
            opened.append(os.open(folder, no_link | os.O_DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(name, no_link, dir_fd=opened[-1]))
        facts = os.fstat(opened[-1])
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_PICTURE_BYTES:
            return None
        with os.fdopen(os.dup(opened[-1]), "rb") as file:
            return file.read(MAX_PICTURE_BYTES)
    except (OSError, UnicodeEncodeError):
        return None
    finally:
        for descriptor in opened:
            os.close(descriptor)
