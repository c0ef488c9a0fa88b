"""Which sessions there are: the listing, and finding one by the beginning of its id. Reads only, and no payloads."""

from __future__ import annotations

import difflib

from agentrunner.errors import UsageError
from agentrunner.journal.database import Execute
from agentrunner.journal.sessions import SessionRow, to_row

_NEAREST_OF = 1000
"""How many of the newest ids are compared for a suggestion: comparing is slow, and typing errors concern new ones."""

_LISTED = "c.type = 'session.created' AND c.summary <> '' ORDER BY c.at DESC, c.session_id DESC"

_IDS = f"SELECT c.session_id FROM events c WHERE {_LISTED}"  # noqa: S608 - made of constants


def _newest(type_: str) -> str:
    # `summary <> ''` is what lets the database use the small index of listed events.
    return (
        "(SELECT MAX(n.seq) FROM events n"  # noqa: S608 - made of constants
        f" WHERE n.type = '{type_}' AND n.session_id = c.session_id AND n.summary <> '')"
    )


_ROWS = f"""
SELECT c.session_id, c.at, c.summary,
  (SELECT e.at FROM events e WHERE e.session_id = c.session_id ORDER BY e.seq DESC LIMIT 1),
  {_newest("session.claimed")}, {_newest("session.forked")}, f.seq, f.summary, m.seq, m.summary
FROM events c
LEFT JOIN events f ON f.session_id = c.session_id AND f.seq = {_newest("session.finished")}
LEFT JOIN events m ON m.session_id = c.session_id AND m.seq = {_newest("completion.received")}
WHERE {_LISTED}
"""  # noqa: S608 - made of constants


def list_sessions(execute: Execute) -> list[SessionRow]:
    """All sessions, newest first."""
    rows: list[SessionRow] = []
    for id_, created_at, created, updated_at, claimed, forked, finished_seq, finished, step_seq, step in execute(_ROWS):
        newest = (
            ("session.created", 0, created),
            ("session.claimed", claimed or 0, None),
            ("session.forked", forked or 0, None),
            ("session.finished", finished_seq or 0, finished),
            ("completion.received", step_seq or 0, step),
        )
        rows.append(to_row(id_, created_at, updated_at, [each for each in newest if each[1] or each[2]]))
    return rows


def find_session(execute: Execute, prefix: str) -> str:
    """The id of the one session whose id, or the last part of it, begins with `prefix`. Raises `UsageError`."""
    ids = [str(id_) for (id_,) in execute(_IDS)]
    if prefix in ids:
        return prefix
    found = [id_ for id_ in ids if prefix and (id_.startswith(prefix) or id_.split("-")[-1].startswith(prefix))]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise UsageError(f"session {prefix!r} is ambiguous: {len(found)} sessions begin with it", f"type more: {some}")
    near = difflib.get_close_matches(prefix, ids[:_NEAREST_OF], n=3, cutoff=0.7)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(f"unknown session {prefix[:140]!r}", f"{meant}'agent sessions list' shows all of them")
