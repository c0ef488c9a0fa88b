"""Everything that can end a command early, and the exit code it ends with.

    AgentError                  one line for a person: what happened, what was expected, what to do next
    ├── UsageError       2      the user can fix it: options, files, keys, configuration, session ids
    │   ├── SessionBusy  2      another process holds the session
    │   └── JournalError 2      the database is corrupt, newer than this program, or unreadable
    ├── ProviderError    3      the model endpoint failed for good
    ├── SandboxError   125      no sandbox of the wanted level can be set up here
    ├── ScriptError      1      a scripted model ran out, or an `expect` did not match
    ├── JournalFull      1      the journal could not be written (disk full, I/O error)
    └── Fenced           1      another owner claimed the session while this one ran

`ModelError` is not for people: it is how one attempt at a model request failed, and the engine decides what follows.
Exceptions carry facts and never log.
"""

from typing import Literal


class AgentError(Exception):
    """A failure a person can read: `message` (one line) and `hint` (what to do next, may be empty)."""

    exit_code: int = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(AgentError):
    exit_code = 2


class SessionBusy(UsageError):
    """Another living process works on this session."""


class JournalError(UsageError):
    """The journal's database cannot be used as it is."""


class ProviderError(AgentError):
    exit_code = 3


class SandboxError(AgentError):
    exit_code = 125


class ScriptError(AgentError):
    exit_code = 1


class JournalFull(AgentError):
    exit_code = 1


class Fenced(AgentError):
    exit_code = 1


class ModelError(Exception):
    """One attempt at a model request failed.

    `kind`: "overflow" (the prompt does not fit the context window), "refused" (a 4xx that repeating will not mend),
    "busy" (429: nothing was billed), "unknown" (5xx, timeout, cut stream, lost connection: may have been billed),
    "over_cap" (a stream that was stopped because it did not end at its cap; `output_bytes` is what had come of it).
    `status` is the HTTP status or 0. `retry_after_s` is what the endpoint asked for, None when it did not say.
    """

    def __init__(
        self,
        message: str,
        kind: Literal["overflow", "refused", "busy", "unknown", "over_cap"],
        status: int = 0,
        retry_after_s: float | None = None,
        output_bytes: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.output_bytes = output_bytes

    @property
    def may_be_billed(self) -> bool:
        """Whether the endpoint may charge for this attempt. A 4xx is not charged; what was not sent neither."""
        return self.kind in ("unknown", "over_cap") or self.status >= 500 or 200 <= self.status < 300
