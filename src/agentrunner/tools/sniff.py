"""What a file is, told from its first bytes. It trusts no file name and decodes no image."""

from __future__ import annotations

import struct
from typing import NamedTuple

_MAGIC = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Kind(NamedTuple):
    """`encoding` is empty for what is not text. `words` names it; for plain UTF-8 there is nothing to say."""

    words: str
    encoding: str = ""


def what_it_is(head: bytes) -> Kind:
    """`head` is the beginning of the file, a few kilobytes."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return Kind(f"a PNG image of {width} x {height} pixels")
    if head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        width, height = struct.unpack("<HH", head[6:10])
        return Kind(f"a GIF image of {width} x {height} pixels")
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return Kind(words)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return Kind("UTF-16" if encoding == "utf-16" else "", encoding)
    if b"\x00" in head:
        return Kind("binary data")
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(head) and error.start < len(head) - 3:  # else only the end of the sample cuts a character
            return Kind("not UTF-8, read as Latin-1", "latin-1")
    return Kind("", "utf-8")
