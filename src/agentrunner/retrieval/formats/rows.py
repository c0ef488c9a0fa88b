"""The rows of a table as lines that stand for themselves: each cell with the name of its column, so that a passage from
the middle of a table can be understood."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .building import Builder

_NUMBER = re.compile(r"[-+]?[\d.,:/ %€$£-]+")
_LONGEST_NAME = 80  # characters: what is longer is content


class Rows:
    """The rows of one table, in order. The first that is not blank names the columns, if it looks like names."""

    def __init__(self, builder: Builder, within: str = "") -> None:
        self._builder = builder
        self._within = within
        self._names: list[str] | None = None

    def add(self, cells: Sequence[str], number: int) -> None:
        """`number` is what a reader counts: 1 for the first row of the file or sheet, blank or not."""
        cells = [" ".join(cell.split()) for cell in cells]
        if not any(cells):
            return
        if self._names is None:
            self._names = _names(cells)
            line = " | ".join(cell for cell in cells if cell)
        elif self._names:
            names = [*self._names, *[""] * (len(cells) - len(self._names))]
            pairs = zip(names, cells, strict=False)
            line = "; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs if cell)
        else:
            line = " | ".join(cell for cell in cells if cell)
        self._builder.line(line, "row", number, self._within)


def _names(cells: list[str]) -> list[str]:
    """The names of the columns, none if these are no names."""
    names = list(cells)
    while not names[-1]:
        names.pop()
    given = [name for name in names if name]
    distinct = len(set(given)) == len(given) > 1
    alike = all(len(name) <= _LONGEST_NAME and not _NUMBER.fullmatch(name) for name in given)
    return names if distinct and alike else []
