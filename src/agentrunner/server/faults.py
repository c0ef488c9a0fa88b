"""What can be wrong with a request, in the words and the envelope that clients know. It decides nothing.

A state that forbids something is a 400, never a 409: clients send a request again after a 409, on their own.
"""

from __future__ import annotations

from agentrunner.server.ids import PREFIXES
from agentrunner.types import JSON

NAMES = {
    "assistant": "assistant",
    "thread": "thread",
    "message": "message",
    "run": "run",
    "step": "run step",
    "file": "File object",
    "store": "vector store",
    "store_file": "file in the vector store",
    "batch": "file batch",
    "upload": "Upload",
    "part": "Part",
}


class ApiError(Exception):
    """An answer that is not what was asked for."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        retry_after_s: float | None = None,
        retry: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.retry = retry
        """False where clients that send a request again on their own would only wait."""

    @property
    def envelope(self) -> JSON:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def bad(message: str, param: str | None = None, code: str | None = "invalid_value") -> ApiError:
    return ApiError(400, message, param=param, code=code)


def missing(kind: str, id_: str) -> ApiError:
    """No object of this kind has this id, or none that this key may see."""
    shown = id_ if len(id_) <= 120 else id_[:120] + "..."
    if not id_.startswith(PREFIXES[kind]) and kind not in ("file", "store_file"):
        name = {"store": "vector_store", "batch": "batch"}.get(kind, kind)
        prefix = PREFIXES[kind].rstrip("_-")
        return bad(f"Invalid '{name}_id': '{shown}'. Expected an ID that begins with '{prefix}'.", f"{name}_id")
    if kind == "file":
        return ApiError(404, f"No such File object: {shown}", param="id")
    return ApiError(404, f"No {NAMES[kind]} found with id '{shown}'.")
