"""What the journal asks of a database, and the words in which the two differ. It holds no statement of the journal's.

A statement is written once, with `?` for its parameters, in the SQL that both understand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Rows(Protocol):
    """What a statement gave back."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


Execute = Callable[..., Rows]
"""Run one statement: (statement, parameters)."""


class Words(NamedTuple):
    """The parts of a table's definition that the databases write differently."""

    text: str
    """A text column that is compared by code point, whatever the locale."""
    auto_id: str
    """A primary key that counts up by itself and never gives a number twice."""


class Database(Protocol):
    """One connection. Any thread may use it. Raises errors for people, except for its own `taken`."""

    name: str
    """For messages; without user and password."""
    taken: type[Exception]
    """Raised when a row with this primary key is there."""
    large_outside: bool
    """Whether large payloads are better kept in files than in rows."""
    words: Words

    def identity(self) -> str:
        """What tells it from every other database that sessions of this AGENT_HOME can be in, however it is named."""
        ...

    def read(self, work: Callable[[Execute], T]) -> T:
        """What `work` returns. It may be called more than once."""
        ...

    def write(
        self,
        work: Callable[[Execute], T],
        *,
        single: bool = False,
        alone: bool = False,
        done: Callable[[Execute], T | None] | None = None,
    ) -> T:
        """What `work` returns, when all that it did is durable; when it raises, nothing was done.

        `single`: it is one statement. `alone`: nobody else may write while it does. `done` looks whether it was done
        already, for a connection that broke while it was being committed: None when it was not, and `work` may be
        called again. Without it a lost connection is an error.
        """
        ...

    def write_each(self, works: Sequence[Callable[[Execute], T]]) -> list[T | Exception]:
        """What each of these returns or raises, when all that the first kind did is durable; of the others nothing was
        done. Where only one can write at a time, it is one transaction for all."""
        ...

    def another(self) -> Database:
        """Another connection to the same."""
        ...

    def close(self) -> None: ...
