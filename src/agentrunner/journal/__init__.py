"""The journal: what happened in every session, and who works on one now. It knows nothing of what the events mean.

`sqlite` keeps events and inbox, `blobs` the payloads that are too large for a row, `lock` says who is alive,
`sessions` names sessions and their folders, `encoding` turns values into JSON text and back.
"""

from agentrunner.journal.lock import Holder, SessionLock, holder
from agentrunner.journal.sessions import SessionRow, new_session_id, session_folder
from agentrunner.journal.sqlite import SqliteJournal, open_journal

__all__ = [
    "Holder",
    "SessionLock",
    "SessionRow",
    "SqliteJournal",
    "holder",
    "new_session_id",
    "open_journal",
    "session_folder",
]
