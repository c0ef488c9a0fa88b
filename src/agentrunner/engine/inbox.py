"""What others left for a running session: words for the model, more budget, a request to stop."""

from agentrunner.engine.run import Run
from agentrunner.types import Notice


def drain(run: Run, key: str) -> list[Notice]:
    """Take the inbox's entries into account and journal them at the step `key`; words come back as notices."""
    notices: list[Notice] = []
    for _, kind, data in run.log.inbox(outputs=False):
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


def tool_outputs(run: Run, key: str) -> dict[str, str]:
    """Results of external tools that others left, by call id. A cancellation is taken into account as well: where a
    session waits for results there is no step before which it would be read."""
    outputs: dict[str, str] = {}
    for _, kind, data in run.log.inbox(outputs=True):
        if kind == "cancel":
            run.log.note("cancel.requested", key, {})
            run.parts.control.stop("cancelled")
        else:
            run.log.note("tool.submitted", key, {"call_ids": [str(one["call_id"]) for one in data["outputs"]]})
            for one in data["outputs"]:
                outputs.setdefault(str(one["call_id"]), str(one["output"]))
    return outputs
