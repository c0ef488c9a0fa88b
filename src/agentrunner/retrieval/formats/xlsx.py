"""The values in an Excel workbook, sheet by sheet and row by row. It computes no formula: the value that was saved with
one is what is read."""

from __future__ import annotations

import datetime as dt
from io import BytesIO

from agentrunner.retrieval.documents import Document, Limits, Unreadable

from .building import Builder
from .package import Package
from .rows import Rows

_MOST_ROWS = 1 << 20  # what Excel has; a row may claim any number, and those before it are counted


def parse(data: bytes, limits: Limits) -> Document:
    import openpyxl

    Package(data, limits).check_all()
    workbook = openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True)
    builder = Builder(limits.max_chars)
    for sheet in workbook.worksheets:
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        rows = Rows(builder, f"sheet {sheet.title}")
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            if number > _MOST_ROWS:
                raise Unreadable(f"has more than {_MOST_ROWS:,} rows in a sheet; save the sheet as CSV and add that")
            rows.add([_shown(value) for value in row], number)
    return builder.document("xlsx")


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # more digits than a cell has
        return str(int(value))
    return str(value)
