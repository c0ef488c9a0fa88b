"""Pictures of messages as models are given them: their content is kept with the session of the run that shows them, so
that it is still there when the file was deleted and the run goes on.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agentrunner.errors import UsageError
from agentrunner.server.wire.limits import IMAGE_BYTES, IMAGES_SHOWN, IMAGES_SHOWN_BYTES
from agentrunner.types import Image, Message


def pin(messages: Sequence[Message], folder: Path, blob: Callable[[str], Path]) -> tuple[Message, ...]:
    """The messages with the pictures that can be shown; those that cannot are still named in the text. Of too many, the
    newest are shown. Their contents are kept in the folder."""
    number, size = 0, 0
    kept: list[Message] = []
    for message in reversed(messages):
        shown: list[Image] = []
        for image in reversed(message.images):
            content = _kept(image, folder, blob) if image.sha256 else b""
            found = None if content is None else _filled(image, content)
            if found is None or number >= IMAGES_SHOWN or size + len(found.url) > IMAGES_SHOWN_BYTES:
                continue
            number, size = number + 1, size + len(found.url)
            shown.insert(0, found)
        kept.insert(0, replace(message, images=tuple(shown)) if message.images else message)
    return tuple(kept)


def restore(messages: Sequence[Message], folder: Path) -> tuple[Message, ...]:
    """The same, from what was kept when they were pinned. Raises `UsageError` when it is gone."""

    def again(image: Image) -> Image:
        content = _kept(image, folder, None) if image.sha256 else b""
        found = None if content is None else _filled(image, content)
        if found is None:
            raise UsageError("a picture that this run was shown is gone", "send the message again in a new run")
        return found

    return tuple(
        replace(message, images=tuple(map(again, message.images))) if message.images else message
        for message in messages
    )


def measure(content: bytes) -> tuple[str, int, int] | None:
    """Media type, width and height of a PNG, JPEG, GIF or WebP; None for anything else."""
    try:
        found = _measured(content)
    except (struct.error, IndexError, StopIteration):
        return None
    return found if found and found[1] and found[2] else None


def _kept(image: Image, folder: Path, blob: Callable[[str], Path] | None) -> bytes | None:
    path = folder / image.sha256
    try:
        if blob is not None and not path.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            _link(blob(image.sha256), path)
        return path.read_bytes() if path.stat().st_size <= IMAGE_BYTES else None
    except OSError:
        return None


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where there can be no such."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            part = target.with_suffix(".part")
            shutil.copyfile(source, part)
            part.replace(target)


def _filled(image: Image, content: bytes) -> Image | None:
    if not image.sha256:
        return image
    found = measure(content)
    if found is None:
        return None
    kind, width, height = found
    data = base64.b64encode(content).decode()
    return replace(image, url=f"data:{kind};base64,{data}", width=width, height=height)


def _measured(content: bytes) -> tuple[str, int, int] | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ("image/png", *struct.unpack_from(">II", content, 16))
    if content.startswith((b"GIF87a", b"GIF89a")):
        return ("image/gif", *struct.unpack_from("<HH", content, 6))
    if content.startswith(b"\xff\xd8"):
        height, width = next(_frames(content))
        return "image/jpeg", width, height
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return ("image/webp", *_webp(content))
    return None


def _frames(content: bytes) -> Iterator[tuple[int, int]]:
    """Height and width of each frame of a JPEG: segments are named and say how long they are."""
    place = 2
    while place + 4 <= len(content):
        marker, kind, length = struct.unpack_from(">BBH", content, place)
        if marker != 0xFF:
            return
        if kind == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            yield struct.unpack_from(">HH", content, place + 5)
        place += 2 + max(2, length)


def _webp(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF
