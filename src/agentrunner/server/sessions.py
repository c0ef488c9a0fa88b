"""The journal as the server's runs see it: their inboxes are looked into when something may be there."""

from __future__ import annotations

from agentrunner.journal import GroupedJournal, SqlJournal
from agentrunner.types import JSON

LOOK_EVERY_S = 0.5
"""What comes for a run that goes on is a request to cancel it, which its row says as well; outputs come between two
attempts."""


class Sessions(GroupedJournal):
    """For all runs of this process; close it before the journal."""

    def __init__(self, journal: SqlJournal) -> None:
        super().__init__(journal, LOOK_EVERY_S)
        self._shared = journal
        self._expected: set[str] = set()

    def expect(self, session_id: str) -> None:
        """An attempt begins for something that was left in this inbox: look there until it is empty."""
        self._expected.add(session_id)

    def drain(self, session_id: str) -> list[tuple[int, str, JSON]]:
        if session_id not in self._expected:
            return super().drain(session_id)
        found = self._shared.drain(session_id)
        if not found:
            self._expected.discard(session_id)
        return found
