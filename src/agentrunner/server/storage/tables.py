"""Every statement on the server's objects. One `Tenant` sees the objects of one owner, whatever id it is asked for.

An object is its JSON as clients see it; names that begin with "_" are for this program alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrunner.journal.database import Execute
from agentrunner.journal.encoding import decode, encode
from agentrunner.server.faults import bad, missing
from agentrunner.server.ids import usable
from agentrunner.server.storage.pages import Page
from agentrunner.types import JSON

_MINE = "owner = ? AND kind = ? AND parent = ? AND deleted = 0"
_INSERT = (
    "INSERT INTO server_objects (id, owner, kind, parent, created_at, status, label, refers_to, expires_at, deleted,"
    " data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
)


class Tenant:
    """The objects of `owner`, inside one transaction."""

    def __init__(self, execute: Execute, owner: str) -> None:
        self.execute = execute
        self.owner = owner

    def get(self, kind: str, id_: str, parent: str = "") -> JSON | None:
        """An object; None when this owner has none of this id there."""
        if not usable(id_):
            return None
        query = f"SELECT data FROM server_objects WHERE id = ? AND {_MINE}"  # noqa: S608 - our own words
        row = self.execute(query, (row_id(kind, id_, parent), self.owner, kind, parent)).fetchone()
        return decode(row[0]) if row else None

    def need(self, kind: str, id_: str, parent: str = "") -> JSON:
        """The same, or the `ApiError` that says it is not there."""
        found = self.get(kind, id_, parent)
        if found is None:
            raise missing(kind, id_)
        return found

    def lock(self, kind: str, id_: str, parent: str = "") -> JSON:
        """The same, and until the transaction ends nobody else changes or locks it: for what is read to be changed."""
        if not usable(id_):
            raise missing(kind, id_)
        statement = f"UPDATE server_objects SET deleted = 0 WHERE id = ? AND {_MINE} RETURNING data"  # noqa: S608
        row = self.execute(statement, (row_id(kind, id_, parent), self.owner, kind, parent)).fetchone()
        if row is None:
            raise missing(kind, id_)
        return decode(row[0])

    def add(
        self,
        kind: str,
        data: JSON,
        *,
        parent: str = "",
        label: str = "",
        refers_to: str = "",
        expires_at: int | None = None,
    ) -> JSON:
        """Keep a new object. Its id, time and status are those in `data`."""
        self.execute(_INSERT, self._row(kind, data, parent, label, refers_to, expires_at))
        return data

    def add_new(self, kind: str, data: JSON, *, parent: str = "", label: str = "") -> bool:
        """The same for an object that may be there, or may have been deleted. Whether it was new."""
        row = self._row(kind, data, parent, label, "", None)
        return self.execute(f"{_INSERT} ON CONFLICT (id) DO NOTHING", row).rowcount > 0

    def save(self, kind: str, data: JSON, *, parent: str = "") -> JSON:
        """Keep what became of an object."""
        self.execute(
            f"UPDATE server_objects SET data = ?, status = ? WHERE id = ? AND {_MINE}",  # noqa: S608 - our own words
            (encode(data)[0], data.get("status", ""), row_id(kind, data["id"], parent), self.owner, kind, parent),
        )
        return data

    def expire_at(self, kind: str, id_: str, expires_at: int | None) -> None:
        self.execute(
            "UPDATE server_objects SET expires_at = ? WHERE id = ? AND owner = ? AND kind = ?",
            (expires_at, id_, self.owner, kind),
        )

    def remove(self, kind: str, id_: str, parent: str = "") -> bool:
        """Forget an object. Whether there was one."""
        if not usable(id_):
            return False
        statement = (
            "UPDATE server_objects SET deleted = 1, data = '', refers_to = '', expires_at = NULL"  # noqa: S608 - our own words
            f" WHERE id = ? AND {_MINE}"
        )
        return self.execute(statement, (row_id(kind, id_, parent), self.owner, kind, parent)).rowcount > 0

    def remove_children(self, parent: str) -> None:
        """Forget what belongs to an object, and what belongs to that, without a trace."""
        children = "SELECT id FROM server_objects WHERE owner = ? AND parent = ?"
        self.execute(
            f"DELETE FROM server_objects WHERE owner = ? AND parent IN ({children})",  # noqa: S608 - our own words
            (self.owner, self.owner, parent),
        )
        self.execute("DELETE FROM server_objects WHERE owner = ? AND parent = ?", (self.owner, parent))

    def page(self, kind: str, page: Page, *, parent: str = "", status: str = "", label: str = "") -> list[JSON]:
        """At most one object more than the page holds, in the order of the listing: the one more says that there is."""
        where, values = _MINE, [self.owner, kind, parent]
        for column, wanted in (("status", status), ("label", label)):
            if wanted:
                where += f" AND {column} = ?"
                values.append(wanted)
        falling = page.order == "desc"
        backwards = bool(page.before) and not page.after
        for name, id_ in (("after", page.after), ("before", page.before)):
            if id_:
                sign = "<" if falling == (name == "after") else ">"
                where += f" AND (created_at, seq) {sign} (?, ?)"
                values += self._place(kind, parent, id_, name)
        direction = "DESC" if falling != backwards else "ASC"
        rows = self.execute(
            f"SELECT data FROM server_objects WHERE {where}"  # noqa: S608 - our own words
            f" ORDER BY created_at {direction}, seq {direction} LIMIT ?",
            (*values, page.limit + 1),
        ).fetchall()
        return [decode(data) for (data,) in rows]

    def all(self, kind: str, *, parent: str = "", status: str = "", label: str = "") -> list[JSON]:
        """All of them, oldest first."""
        return self.page(kind, Page(2**53, "asc"), parent=parent, status=status, label=label)

    def count(self, kind: str, *, parent: str = "", label: str = "") -> dict[str, int]:
        """How many there are of each status."""
        where, values = _MINE, [self.owner, kind, parent]
        if label:
            where += " AND label = ?"
            values.append(label)
        query = f"SELECT status, COUNT(*) FROM server_objects WHERE {where} GROUP BY status"  # noqa: S608
        return {status: int(number) for status, number in self.execute(query, values)}

    def newest(self, kind: str, parent: str) -> int:
        """When the newest of them was made, also if it was deleted since; 0 when there was none."""
        query = "SELECT MAX(created_at) FROM server_objects WHERE owner = ? AND kind = ? AND parent = ?"
        row = self.execute(query, (self.owner, kind, parent)).fetchone()
        return int(row[0] or 0) if row else 0

    def children(self, kind: str, ids: Sequence[str]) -> list[JSON]:
        """The objects of these ids that are there, in this order."""
        found = (self.get(kind, id_) for id_ in ids)
        return [each for each in found if each is not None]

    def _row(
        self, kind: str, data: JSON, parent: str, label: str, refers_to: str, expires_at: int | None
    ) -> tuple[object, ...]:
        id_, status = row_id(kind, data["id"], parent), data.get("status", "")
        place = (id_, self.owner, kind, parent, data["created_at"], status)
        return (*place, label, refers_to, expires_at, encode(data)[0])

    def _place(self, kind: str, parent: str, id_: str, name: str) -> list[Any]:
        """Where an object stands in its listing; also one that was deleted since the page before."""
        row = None
        if usable(id_):
            row = self.execute(
                "SELECT created_at, seq FROM server_objects WHERE id = ? AND owner = ? AND kind = ? AND parent = ?",
                (row_id(kind, id_, parent), self.owner, kind, parent),
            ).fetchone()
        if row is None:
            raise bad(f"Invalid '{name}': no object in this list has the id '{id_[:120]}'.", name)
        return [int(row[0]), int(row[1])]


def row_id(kind: str, id_: str, parent: str) -> str:
    """A file may be in several vector stores: there its row needs a name of its own."""
    return f"{parent}:{id_}" if kind == "store_file" else id_


def public(data: JSON) -> JSON:
    """The object as clients see it."""
    return {name: value for name, value in data.items() if not name.startswith("_")}
