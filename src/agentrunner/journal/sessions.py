"""Names of sessions, their folders, and their row in a listing. Nothing here touches the database."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from agentrunner.errors import UsageError
from agentrunner.journal.encoding import decode

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""No i, l, o, 0, 1: they are mistaken for each other when typed from a screen."""

_RANDOM_CHARS = 8
"""31^8 is 8e11: two sessions of the same second do not meet, and nobody guesses one."""

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class SessionRow(NamedTuple):
    """One line of a listing. `status` is "in_progress" while no attempt has ended since the last claim: whether
    somebody still works on it, only the lock knows. A fork that nobody has gone on with is "interrupted"."""

    id: str
    created_at: str
    goal: str
    strategy: str
    workspace: str
    status: str
    reason: str
    steps: int
    spent_usd: float
    updated_at: str


def new_session_id() -> str:
    """A new id such as "20261122-183411-k3f9x2mq": sorts by time, can be typed, cannot be guessed."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{''.join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))}"


def check_session_id(session_id: str) -> str:
    """`session_id` itself. Raises `UsageError` for one that is not safe as a file name: ids can come from imports."""
    if not _ID.fullmatch(session_id):
        raise UsageError(
            f"session id {session_id[:140]!r} cannot be used",
            "expected 1 to 128 letters, digits, '.', '_' or '-', not starting with '.' or '-'",
        )
    return session_id


def session_folder(home: Path, session_id: str) -> Path:
    """The folder of this session's own files under `home`, made (0700) when it is not there."""
    folder = home / "sessions" / check_session_id(session_id)
    try:
        make_private(home, "sessions", session_id)
    except OSError as error:
        raise UsageError(
            f"cannot make the session's folder {str(folder)!r}: {error.strerror}", "set AGENT_HOME to a writable folder"
        ) from error
    return folder


def make_private(home: Path, *names: str) -> Path:
    """The folder `home/names[0]/names[1]/...`; each of them that has to be made belongs to its owner only (0700)."""
    folder = home
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        folder = folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def to_row(
    session_id: str, created_at: str, updated_at: str, newest: Iterable[tuple[str, int, str | None]]
) -> SessionRow:
    """A row from the newest event of each type: (type, seq, summary), in any order."""
    status, reason, steps, spent_usd = "in_progress", "", 0, 0.0
    goal = strategy = workspace = ""
    for type_, _, text in sorted(newest, key=lambda each: each[1]):
        brief = decode(text) if text else {}
        match type_:
            case "session.created":
                goal, strategy = str(brief.get("goal", "")), str(brief.get("strategy", ""))
                workspace = str(brief.get("workspace", ""))
            case "session.claimed":
                status, reason = "in_progress", ""
            case "session.forked":
                # Saved between two steps, as after Ctrl-C; nobody was killed.
                status, reason = "cancelled", "interrupted"
            case "session.finished":
                status, reason = str(brief.get("status", "")), str(brief.get("reason", ""))
            case _:
                pass
        steps = int(_number(brief.get("steps", brief.get("step")), steps))
        spent_usd = float(_number(brief.get("spent_usd"), spent_usd))
    return SessionRow(session_id, created_at, goal, strategy, workspace, status, reason, steps, spent_usd, updated_at)


def _number(value: object, otherwise: float) -> float:
    return value if isinstance(value, int | float) else otherwise
