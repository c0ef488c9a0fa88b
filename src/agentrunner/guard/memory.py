"""What was seen before, with a bound: the oldest is forgotten first."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")

KEPT = 4096
"""Entries of one memory: more different results than a session of a thousand steps has."""


class Memory:
    """A set of the `kept` entries that were seen last."""

    __slots__ = ("_kept", "_seen")

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._seen: dict[Hashable, None] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, entry: Hashable) -> bool:
        return entry in self._seen

    def add(self, entry: Hashable) -> bool:
        """Whether it is new."""
        new = entry not in self._seen
        if not new:
            del self._seen[entry]  # so that it stands last again
        self._seen[entry] = None
        if len(self._seen) > self._kept:
            del self._seen[next(iter(self._seen))]
        return new

    def update(self, entries: Iterable[Hashable]) -> None:
        for entry in entries:
            self.add(entry)


class Last(list[T]):
    """The `kept` last ones, oldest first. A `deque` takes ten times as much memory while it is empty, as most are."""

    __slots__ = ("_kept",)

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def append(self, item: T, /) -> None:
        super().append(item)
        if len(self) > self._kept:
            del self[0]
