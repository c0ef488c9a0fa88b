"""Taking a session from one journal to another, as often as one likes: what is there already is not written again."""

from __future__ import annotations

from typing import NamedTuple

from agentrunner.errors import JournalError, UsageError
from agentrunner.journal.database import Execute
from agentrunner.journal.holding import share
from agentrunner.journal.journal import SqlJournal

_WAITING = "SELECT at, kind, data FROM inbox WHERE session_id = ? AND handled_seq IS NULL ORDER BY id"
_IS_THERE = "SELECT 1 FROM inbox WHERE session_id = ? AND at = ? AND kind = ? AND data = ? LIMIT 1"
_POST = "INSERT INTO inbox (session_id, at, kind, data) VALUES (?, ?, ?, ?)"


class Copied(NamedTuple):
    """What was written of one session."""

    events: int
    inbox: int


def copy_session(source: SqlJournal, target: SqlJournal, session_id: str) -> Copied:
    """Bring what `source` has of the session to `target`, and compare what is there afterwards. The target may have
    gone on with it. The caller holds its `SessionLock`. Raises `UsageError` when both have gone on, each in its own
    way, and `JournalError` when the copy is not the same."""
    events = source.load(session_id)
    there = target.load(session_id)
    shared = min(len(there), len(events))
    if there[:shared] != events[:shared]:
        raise UsageError(
            f"session {session_id} went on differently in {target.name!r}",
            "remove one of the two with 'agent sessions rm', or give another database",
        )
    if source.home == target.home:
        share(source.home, session_id, source.database, target.database)
    if new := events[len(there) :]:
        target.copy_in(session_id, new, len(there))
    posted = _copy_inbox(source, target, session_id)
    if target.load(session_id)[: len(events)] != events:
        raise JournalError(f"session {session_id} is not the same in {target.name!r} after it was copied", "copy again")
    return Copied(len(new), posted)


def _copy_inbox(source: SqlJournal, target: SqlJournal, session_id: str) -> int:
    """What waits there for the session; what the target has, handled or not, stays as it is."""
    waiting = source.database.read(lambda execute: execute(_WAITING, (session_id,)).fetchall())

    def post(execute: Execute) -> int:
        missing = [row for row in waiting if not execute(_IS_THERE, (session_id, *row)).fetchone()]
        for row in missing:
            execute(_POST, (session_id, *row))
        return len(missing)

    return target.database.write(post, done=lambda _: None) if waiting else 0
