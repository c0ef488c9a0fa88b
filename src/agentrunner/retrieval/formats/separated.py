"""Tables as text: values separated by commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import islice

from agentrunner.retrieval.decoding import text_of
from agentrunner.retrieval.documents import Document, Limits

from .building import Builder
from .rows import Rows

_SEPARATORS = "\t,;|"
_SAMPLE_ROWS = 50
_SAMPLE_CHARS = 64 << 10


def parse(data: bytes, limits: Limits) -> Document:
    text, note = text_of(data, limits.max_chars)
    csv.field_size_limit(limits.max_chars)
    builder = Builder(limits.max_chars)
    rows = Rows(builder)
    for number, cells in enumerate(csv.reader(_lines(text), delimiter=_separator(text)), 1):
        rows.add(cells, number)
    return builder.document("csv", [note] if note else [])


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")]


def _separator(text: str) -> str:
    """The one with which most of the first rows have the same number of cells, more than one."""
    sample = _lines(text[:_SAMPLE_CHARS])[:_SAMPLE_ROWS]

    def fit(separator: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in islice(csv.reader(sample, delimiter=separator), _SAMPLE_ROWS))
        del widths[0], widths[1]
        return max(((count, width) for width, count in widths.items()), default=(0, 0))

    return max(_SEPARATORS, key=fit) if max(map(fit, _SEPARATORS)) > (0, 0) else ","
