"""What others left for a running session: words for the model, more budget, a request to stop."""

from agentrunner.engine.run import Run
from agentrunner.types import Notice


def drain(run: Run, key: str) -> list[Notice]:
    """Take the inbox's entries into account and journal them at the step `key`; words come back as notices."""
    notices: list[Notice] = []
    for _, kind, data in run.log.inbox():
        match kind:
            case "message":
                run.log.note("message.added", key, {"text": str(data["text"])})
                notices.append(Notice("message", str(data["text"])))
            case "budget":
                run.log.note("budget.raised", key, data)
                run.parts.ledger.raise_by(data)
            case "cancel":
                run.log.note("cancel.requested", key, {})
                run.parts.control.stop("cancelled")
            case _:
                run.log.note("inbox.ignored", key, {"kind": kind})
    return notices
