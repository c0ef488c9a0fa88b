"""Every session that a test made must be the same when it is run again from its journal."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from agentrunner.config import load
from agentrunner.journal import open_journal
from agentrunner.runner.replaying import replay_session


def differences(home: Path, environ: Mapping[str, str], cwd: Path) -> list[str]:
    """One line for each session in `home` that would go another way now."""
    if not (home / "agent.db").is_file():
        return []
    settings = load({}, cwd=cwd, environ=environ).settings
    found: list[str] = []
    with closing(open_journal(home)) as journal:
        for row in journal.sessions():
            replayed = asyncio.run(replay_session(journal.load(row.id), settings, set(), _nothing))
            if replayed.difference is not None:
                found.append(f"{row.id}: {replayed.difference}")
    return found


def _nothing(_: str) -> None:
    return None
