"""What a file is, told from its bytes and, where they leave it open, from the end of its name."""

from __future__ import annotations

from pathlib import PurePath

from .decoding import HEAD_BYTES, unmarked_utf16
from .documents import Kind, Unreadable

_HTML = (".html", ".htm", ".xhtml")
_TABLES = (".csv", ".tsv", ".tab")
_OFFICE: dict[str, Kind] = {".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx"}
_MAIN_PARTS: dict[bytes, Kind] = {b"word/document": "docx", b"ppt/presentation": "pptx", b"xl/workbook": "xlsx"}
_TEXT_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_SAVE_AS = "save it as .docx, .pptx, .xlsx, PDF or text and add that"
_REFUSED = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"is of an old Office format or protected by a password; {_SAVE_AS}"),
    (b"{\\rtf", f"is Rich Text; {_SAVE_AS}"),
    (b"%!PS", f"is PostScript; {_SAVE_AS}"),
    (b"\x89PNG", "is an image; add a text that says what it shows"),
    (b"\xff\xd8\xff", "is an image; add a text that says what it shows"),
    (b"GIF8", "is an image; add a text that says what it shows"),
    (b"\x1f\x8b", "is compressed; unpack it and add what is in it"),
    (b"7z\xbc\xaf\x27\x1c", "is an archive; unpack it and add what is in it"),
    (b"Rar!", "is an archive; unpack it and add what is in it"),
)
_BINARY = "is binary and not of a format that can be read; add it as text, Markdown, HTML, PDF or an Office file"
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1b\b"))  # escape and backspace are in what terminals recorded


def kind_of(data: bytes, name: str) -> Kind:
    """Raises `Unreadable` for what no parser takes."""
    head = data[:HEAD_BYTES]
    suffix = PurePath(name).suffix.lower()
    if head.startswith(b"%PDF-") or (suffix == ".pdf" and b"%PDF-" in head[:1_024]):  # readers allow as much before it
        return "pdf"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _office(data, suffix)
    for magic, sentence in _REFUSED:
        if head.startswith(magic):
            raise Unreadable(sentence)
    if not head.startswith(_TEXT_MARKS) and _is_binary(head):
        raise Unreadable(_BINARY)
    if suffix in _OFFICE or suffix == ".pdf":
        raise Unreadable(f"is not what its name says (the content is not {suffix[1:]}); give it its own ending")
    if suffix in _HTML or (suffix in ("", ".php", ".asp") and _looks_like_html(head)):
        return "html"
    return "csv" if suffix in _TABLES else "text"


def _office(data: bytes, suffix: str) -> Kind:
    """An archive names its parts in plain bytes."""
    held: list[Kind] = [kind for name, kind in _MAIN_PARTS.items() if name in data]
    if len(held) == 1:
        return held[0]
    if suffix in _OFFICE:
        return _OFFICE[suffix]
    raise Unreadable("is a ZIP archive or of a format packed as one; unpack it, or save it as .docx, .pptx or .xlsx")


def _looks_like_html(head: bytes) -> bool:
    return head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def _is_binary(head: bytes) -> bool:
    """Text has no NUL, but in UTF-16, and hardly a control character."""
    if b"\x00" in head:
        return not unmarked_utf16(head)
    return len(head) - len(head.translate(None, _CONTROLS)) > len(head) // 100
