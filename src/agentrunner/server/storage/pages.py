"""A part of a listing: which objects, in which order, from where on. It reads no query string and no table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Page:
    """`after` and `before` are ids of objects in the listing; the empty text stands for none."""

    limit: int = DEFAULT_LIMIT
    order: Literal["asc", "desc"] = "desc"
    after: str = ""
    before: str = ""
