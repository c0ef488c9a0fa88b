"""How strict the loop guard is: for each rule whether it may stop a session, and at which count. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["off", "warn", "stop"]
"""Say nothing; nudge and ask for another plan, but never stop; all of it."""

STOP_AT: Mapping[str, int] = {
    "repeat": 5,
    "cycle": 3,
    "same_error": 8,
    "empty": 16,
    "stall": 15,
    "oscillation": 6,
    "plan": 8,
    "invalid": 7,
    "chant": 3,
}
"""By rule, the count at which it stops, in the rule's own unit:

repeat       identical calls with identical results in a row. A demonstration that was solved has four.
cycle        rounds of the same 2 to 12 calls with the same results; it stops in the round after.
same_error   the same error of the same tool whatever the arguments, nothing achieved in between.
empty        results in a row that say nothing is there.
stall        steps in a row in which at most one result was new and most calls were repeated.
oscillation  returns of the workspace to a state it had before, without a new state in between.
plan         steps in a row with unchanged plan and criticism, no result and no workspace state being new.
invalid      calls in a row that could not be read, do not exist, or were not allowed.
chant        answers in a row in which one passage is said over and over.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Modes and counts by rule; what is not named is as in `STOP_AT`."""

    modes: Mapping[str, Mode] = field(default_factory=dict[str, Mode])
    counts: Mapping[str, int] = field(default_factory=dict[str, int])

    def mode(self, rule: str) -> Mode:
        return self.modes.get(rule, "stop")

    def stop_at(self, rule: str) -> int:
        return self.counts.get(rule, STOP_AT[rule])
