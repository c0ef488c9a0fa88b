"""Names of objects: a prefix that says what it is, and 24 characters that nobody can guess."""

from __future__ import annotations

import hashlib
import re
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_CHARS = 24
"""62^24 is 1e43: more than 140 bits, as good as a key."""

PREFIXES = {
    "assistant": "asst_",
    "thread": "thread_",
    "message": "msg_",
    "run": "run_",
    "step": "step_",
    "call": "call_",
    "file": "file-",
    "store": "vs_",
    "store_file": "file-",
    "batch": "vsfb_",
    "upload": "upload_",
    "part": "part_",
}
"""By kind of object."""

_USABLE = re.compile(r"[A-Za-z0-9_-]{1,100}")


def new_id(kind: str) -> str:
    return PREFIXES[kind] + _letters(secrets.randbits(256))


def derived_id(kind: str, *parts: object) -> str:
    """The same id for the same parts. It can only be guessed by who knows them all, so one must be an id itself."""
    return PREFIXES[kind] + _letters(int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()))


def _letters(number: int) -> str:
    """The end of a number of 256 bits; so much longer, it makes no letter likelier than another."""
    letters: list[str] = []
    for _ in range(_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(letters)


def is_id(kind: str, name: str) -> bool:
    """Whether it reads as an id of this kind."""
    return re.fullmatch(re.escape(PREFIXES[kind]) + f"[A-Za-z0-9]{{{_CHARS}}}", name) is not None


def usable(id_: str) -> bool:
    """Whether this could be an id at all: anything else is not even looked up."""
    return _USABLE.fullmatch(id_) is not None
