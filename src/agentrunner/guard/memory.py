"""What was seen before, with a bound: the oldest is forgotten first."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable

KEPT = 4096
"""Entries of one memory: more different results than a session of a thousand steps has."""


class Memory:
    """A set of the `kept` entries that were seen last."""

    __slots__ = ("_kept", "_seen")

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._seen: OrderedDict[Hashable, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, entry: Hashable) -> bool:
        return entry in self._seen

    def add(self, entry: Hashable) -> bool:
        """Whether it is new."""
        new = entry not in self._seen
        self._seen[entry] = None
        self._seen.move_to_end(entry)
        if len(self._seen) > self._kept:
            self._seen.popitem(last=False)
        return new

    def update(self, entries: Iterable[Hashable]) -> None:
        for entry in entries:
            self.add(entry)
