"""From bytes to text: byte order marks, UTF-8, and a good guess at what older files are encoded in."""

from __future__ import annotations

import logging

from .documents import Unreadable, storable

HEAD_BYTES = 8_192  # of a file, from which is told what it is
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_GUESSED = ["cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp932", "euc_jp", "gb18030", "big5", "cp949"]
"""What files are still found in. With all the encodings there are, short texts are taken for the oddest."""
_SAMPLE = 32 << 10  # bytes to guess from: longer takes longer and tells no more


def decoded(data: bytes) -> tuple[str, str]:
    """The text, its lines ending in a newline, and a note when the encoding had to be guessed. Raises `Unreadable`."""
    text, note = _as_text(data)
    text = text.replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    return storable(text), note


def unmarked_utf16(head: bytes) -> str:
    """The encoding, if the beginning of a file reads as UTF-16 without a mark: most of every other byte of it is
    NUL, and what it says can be shown. Else empty."""
    for encoding, high, low in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if 2 * high.count(0) > len(high) and not low.count(0):
            words = head[: len(head) // 2 * 2].decode(encoding, "replace").split()
            return encoding if all(word.isprintable() for word in words) else ""
    return ""


def _as_text(data: bytes) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding), ""
            except UnicodeDecodeError:
                return data.decode(encoding, "replace"), f"some of it is not {encoding[:6].upper()} and was left out"
    if encoding := unmarked_utf16(data[:HEAD_BYTES]):
        return data.decode(encoding, "replace"), f"its encoding is not given and was taken to be {encoding}"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        mended = data.decode("utf-8", "replace")
        broken = mended.count("\N{REPLACEMENT CHARACTER}")
        beyond_ascii = len(mended) - len(data.translate(None, bytes(range(128, 256))))
        if beyond_ascii > 4 * broken:  # a log or a cut file; in another encoding next to nothing is valid UTF-8
            return mended, "some of it is not UTF-8 and was left out"
        encoding = _guess(data[error.start // _SAMPLE * _SAMPLE :][:_SAMPLE])
        return data.decode(encoding, "replace"), f"its encoding is not given and was taken to be {encoding}"


def _guess(sample: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # comes with other packages, not by itself
        return "cp1252"
    logging.getLogger("charset_normalizer").setLevel(logging.CRITICAL)
    guesses = from_bytes(sample, cp_isolation=_GUESSED)
    best = guesses.best()
    if best is None:
        return "cp1252"
    for guess in guesses:  # of those that are as good the most common
        if "cp1252" in guess.could_be_from_charset and guess.chaos <= best.chaos:
            return "cp1252" if guess.coherence >= best.coherence else best.encoding
    return best.encoding


def text_of(data: bytes, max_chars: int) -> tuple[str, str]:
    """The same, within a limit."""
    text, note = decoded(data)
    if len(text) > max_chars:
        raise Unreadable(f"has more than {max_chars:,} characters of text; split it into smaller files")
    return text, note
