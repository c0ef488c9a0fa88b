"""The journal: what happened in every session, and who works on one now. It knows nothing of what the events mean.

`journal` keeps events and inbox, in a database of `sqlite` or `postgres`; `writing` makes rows of events; `grouped`
lets the sessions of a process share commits; `copying` takes sessions from one journal to another; `blobs` has the
payloads that are too large for a row; `holding` says which journals share the files of a session; `lock` says who is
alive; `sessions` names sessions and their folders; `encoding` turns values into JSON text and back.
"""

from agentrunner.journal.copying import Copied, copy_session
from agentrunner.journal.grouped import GroupedJournal
from agentrunner.journal.holding import share
from agentrunner.journal.journal import SqlJournal, open_journal
from agentrunner.journal.lock import Holder, SessionLock, holder
from agentrunner.journal.sessions import SessionRow, new_session_id, session_folder

__all__ = [
    "Copied",
    "GroupedJournal",
    "Holder",
    "SessionLock",
    "SessionRow",
    "SqlJournal",
    "copy_session",
    "holder",
    "new_session_id",
    "open_journal",
    "session_folder",
    "share",
]
