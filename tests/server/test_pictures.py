"""Which contents are pictures, and how large they are, read from their first bytes."""

from __future__ import annotations

import base64
import struct
from random import Random

import pytest

from agentrunner.server.pictures import measure

GIF = "R0lGODdhJQAVAIEAAP8AAAAAAAAAAAAAACwAAAAAJQAVAEAI"
WEBP = "UklGRk4AAABXRUJQVlA4IEIAAACQAwCdASolABUAPm02l0ik"
LOSSLESS = "UklGRhwAAABXRUJQVlA4TA8AAAAvJAAFAAcQ/Y/+ByKi/wEA"
EXTENDED = "UklGRmwAAABXRUJQVlA4WAoAAAAIAAAAJAAAFAAAVlA4IEIAAACQAwCdASolABUAPm02"
PNG = "iVBORw0KGgoAAAANSUhEUgAAACUAAAAVCAIAAABOhrD5"


def jpeg(frame: int, *before: bytes) -> bytes:
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in before)
    return b"\xff\xd8" + segments + bytes((0xFF, frame)) + struct.pack(">HBHH", 17, 8, 21, 37) + b"\3"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("png", base64.b64decode(PNG)),
        ("gif", base64.b64decode(GIF)),
        ("webp", base64.b64decode(WEBP)),
        ("webp", base64.b64decode(LOSSLESS)),
        ("webp", base64.b64decode(EXTENDED)),
        ("jpeg", jpeg(0xC0)),
        ("jpeg", jpeg(0xC2, b"Exif" * 10_000, b"more")),
    ],
)
def test_pictures_are_told_by_their_content(kind: str, content: bytes) -> None:
    assert measure(content) == (f"image/{kind}", 37, 21)


def test_anything_else_is_none() -> None:
    for content in (b"", b"a,b\n1,2\n", b"%PDF-1.7", b"<svg/>", b"BM123456", base64.b64decode(PNG)[:16] + b"\0" * 20):
        assert measure(content) is None
    random = Random(7)
    for start in (b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBP", b"RIFF1234WEBPVP8X"):
        for length in range(200):
            found = measure(start + random.randbytes(length % 40))
            assert found is None or (found[1] > 0 and found[2] > 0)
