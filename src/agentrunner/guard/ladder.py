"""From findings to verdicts: first a nudge, then a re-plan, then a stop, each once the one before was no help.

A rung is only climbed from the one below, whatever a rule says, so that the model hears of it before it is stopped. A
stretch of `CALM` commands in which no rule finds anything leads back to the ground.
"""

from collections.abc import Sequence

from agentrunner.guard.limits import Limits
from agentrunner.guard.rules import Finding
from agentrunner.types import Verdict

CALM = 12
"""Commands without any finding after which the past is past: as many as the longest cycle has."""
ACTIONS = ("nudge", "replan", "stop")


class Ladder:
    """Keeps the rung that was reached, and what was said in the present episode."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rung = 0
        self._said: dict[str, int] = {}
        """By rule: the highest action of this episode."""
        self._calm = 0

    def judge(self, findings: Sequence[Finding], commands: int, *, after: int = -1) -> Verdict | None:
        """What to say about a step of so many commands, if anything. Only steps later than `after` may leave the
        context."""
        findings = [found for found in findings if self._limits.mode(found.rule) != "off"]
        if not findings:
            self._calm += commands
            self._said.clear()
            if self._calm >= CALM:
                self._rung = 0
            return None
        self._calm = 0
        return max(
            filter(None, (self._step(found, after) for found in findings)),
            key=lambda v: ACTIONS.index(v.action),
            default=None,
        )

    def take(self, verdict: Verdict) -> None:
        """Remember what was said."""
        said = ACTIONS.index(verdict.action) + 1
        self._rung = max(self._rung, said)
        self._said[verdict.rule] = said

    def forgive(self) -> None:
        """Somebody spoke to the agent: it hears of the next loop from the first rung on."""
        self._rung = 0
        self._said.clear()

    def _step(self, found: Finding, after: int) -> Verdict | None:
        highest = 2 if self._limits.mode(found.rule) == "warn" else 3
        action = min(found.level, highest, self._rung + 1)
        if action <= max(self._said.values(), default=0) and action < 3:
            return None
        evidence = tuple(dict.fromkeys(each.number for each in found.steps))
        repeated = found.steps[-found.repeated :] if found.repeated else ()
        fold = tuple(dict.fromkeys(each.key for each in repeated if each.number > after))
        return Verdict(ACTIONS[action - 1], found.rule, found.reason, evidence, fold)
