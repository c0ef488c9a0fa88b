"""Which databases have a session whose files lie in one folder: a session that was copied within one AGENT_HOME has its
saved results, states of its workspace and pictures once, and they go with the last of its copies.

A session that was never copied has no note of it.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import cast

from agentrunner.journal.database import Database
from agentrunner.journal.sessions import session_folder

NOTE = "databases.json"
UNKNOWN = "unknown"
"""Stands for a database that has the session's files, and that nobody has named."""


def share(home: Path, session_id: str, *databases: Database) -> None:
    """Remember that each of them has the session, or is about to. One that is the first to be noted shares the files
    with another that is not known. The caller holds the `SessionLock`."""
    session_folder(home, session_id)
    noted = _noted(home, session_id) | {each.identity(): each.name for each in databases}
    _write(home, session_id, noted if len(noted) > 1 else noted | {UNKNOWN: "another database"})


def release(home: Path, session_id: str, database: Database) -> Collection[str]:
    """Forget that this one has the session. The names of those that still have it come back. The caller holds the
    `SessionLock`."""
    noted = _noted(home, session_id)
    if noted:
        identity = database.identity()
        noted.pop(identity if identity in noted else UNKNOWN, None)
        _write(home, session_id, noted)
    return noted.values()


def _noted(home: Path, session_id: str) -> dict[str, str]:
    try:
        found: object = json.loads((home / "sessions" / session_id / NOTE).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):  # Rather too many files than too few.
        return {UNKNOWN: "another database"}
    return {str(identity): str(name) for identity, name in cast(dict[object, object], found).items()}


def _write(home: Path, session_id: str, noted: dict[str, str]) -> None:
    path = home / "sessions" / session_id / NOTE
    part = path.with_name(f"{NOTE}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(noted, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
