"""Whether a session goes in circles. Pure: it is told of every step, live or past, and answers with a verdict.

It knows one rule so far: the same commands with the same results in a row. Results are compared, not only commands, so
that paging, polling with news and working through a list are left alone.
"""

import hashlib
import json
from dataclasses import dataclass, field

from agentrunner.types import Step, Verdict

REPLAN_AT = 3
STOP_AT = 4


@dataclass(slots=True)
class StuckDetector:
    """Looks at the steps of one branch, in order."""

    _last: bytes = b""
    _steps: list[int] = field(default_factory=list[int])

    def after(self, step: Step) -> Verdict | None:
        if step.completion is None or not step.results:
            self._last, self._steps = b"", []
            return None
        signature = _signature(step)
        if signature != self._last:
            self._last, self._steps = signature, []
        self._steps.append(step.number)
        count = len(self._steps)
        if count < REPLAN_AT:
            return None
        name = step.results[0].name
        reason = f"{name} was called {count} times in a row with the same arguments and gave the same result"
        return Verdict("stop" if count >= STOP_AT else "replan", "repeat", reason, tuple(self._steps[-STOP_AT:]))


def _signature(step: Step) -> bytes:
    assert step.completion is not None
    calls = [(call.name, call.arguments) for call in step.completion.calls]
    # The name under which a long result was saved differs each time; the result does not.
    results = [(r.outcome, r.content.replace(r.saved_as, "") if r.saved_as else r.content) for r in step.results]
    return hashlib.sha256(json.dumps([calls, results], sort_keys=True, default=str).encode()).digest()
