"""Whether a session goes in circles. Pure: it is told of every step of one branch, live or past, and answers with a
verdict. What it remembers is bounded, and follows from the steps alone, so that a resume brings it back whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from agentrunner.guard.chant import Chant
from agentrunner.guard.cycles import Cycles
from agentrunner.guard.ladder import Ladder
from agentrunner.guard.limits import Limits
from agentrunner.guard.looks import Look, looks_of, mark
from agentrunner.guard.rules import Empty, Finding, Invalid, Oscillation, Rule, SameError, SamePlan, Stall, Watch
from agentrunner.types import Step, Verdict

_RULES: dict[str, Callable[[int], Rule]] = {
    "same_error": SameError,
    "invalid": Invalid,
    "empty": Empty,
    "oscillation": Oscillation,
    "plan": SamePlan,
    "stall": Stall,
}


class StuckDetector:
    """Looks at the steps of one branch, in order."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._watch = Watch()
        at = self._limits.stop_at
        self._rules: list[Rule] = [Cycles(at("repeat"), at("cycle"))]
        self._rules += [make(at(name)) for name, make in _RULES.items()]
        self._chant = Chant(at("chant"))
        self._ladder = Ladder(self._limits)
        self._number = 0
        self._spoken = 0
        """The step after which somebody spoke to the agent: what was said must stay in the context."""

    def after(self, step: Step) -> Verdict | None:
        """What is to be said about this step; of several commands in it, the gravest."""
        said = self._chant.see(step)
        return self.judge(looks_of(step), said)

    def reached(self, step: Step, label: str, progress: str) -> Verdict | None:
        """The same for a request without tools that says what was reached before it; nothing said is no evidence."""
        if not progress:
            return None
        verdict = self.judge([Look(step.number, step.key, label, mark(label), mark(progress))])
        if verdict is None:
            return None
        rounds = len(verdict.evidence)
        return replace(verdict, reason=f"nothing more was reached in {rounds} rounds ({progress})")

    def judge(self, looks: Sequence[Look], said: Finding | None = None) -> Verdict | None:
        """The same for what was seen of the commands of one step; `said` is what was found in its text."""
        worst: list[Finding] = [said] if said else []
        for look in looks:
            news = self._watch.see(look)
            self._number = look.number
            found = [finding for rule in self._rules if (finding := rule.see(look, news))]
            worst = [*worst, *found]
        verdict = self._ladder.judge(worst, len(looks), after=self._spoken)
        if verdict is None:
            return None
        self._ladder.take(verdict)
        return verdict

    def spoken(self) -> None:
        """Somebody gave the agent a new instruction."""
        self._ladder.forgive()
        self._spoken = self._number
