"""What the tests of the journal share: appending in one line, and a process that does something to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

from agentrunner.journal import SqlJournal
from agentrunner.types import JSON

CREATED: JSON = {"goal": "count the penguins", "strategy": "autogpt", "workspace": "/w"}


def append(journal: SqlJournal, session: str, after: int, *events: tuple[str, JSON], handled: tuple[int, ...] = ()):
    return asyncio.run(
        journal.append(session, after, [(type_, f"/k:{n}", data) for n, (type_, data) in enumerate(events)], handled)
    )


def python(code: str, *args: object, **kwargs: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        **kwargs,
    )
