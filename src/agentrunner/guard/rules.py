"""The rules that say whether a session goes in circles. Each looks at one command at a time, remembers a bounded number
of things, and answers with how far it has come. None knows of the others or of what follows from it.
"""

from typing import NamedTuple, Protocol

from agentrunner.guard.looks import Look
from agentrunner.guard.memory import Last, Memory

EVIDENCE = 12
"""Steps named at most."""
WAIT_WEIGHT = 0.05
"""What a repetition counts that says it waits: a poll may take forty rounds before it is even asked about."""
CHANGED_WEIGHT = 0.4
"""What a repetition counts that left the workspace as it never was: work, unless it goes on to an eleventh time."""
GIVEN_WEIGHT = 0.2
"""What a failure or an empty result counts for an item that an earlier result named: a batch has such items."""

DENSE_OVER = 24
DENSE_WEIGHT = 0.8
"""What an error counts when other work lies between: ten of 24 commands weigh as much as eight in a row."""


class News(NamedTuple):
    """What was new about a command, over the whole session."""

    pair: bool
    """This call with this result."""
    result: bool
    state: bool
    """The workspace is as it never was."""
    given: bool
    """It is about something that an earlier result named and no call before."""
    waits: bool
    """It waits before it looks, or looks right after a wait."""


class Finding(NamedTuple):
    """How far a rule has come: 1 nudge, 2 re-plan, 3 stop. `steps` show it; of them, the last `repeated` in a row
    only repeat what stands before them."""

    rule: str
    level: int
    reason: str
    steps: tuple[Look, ...]
    repeated: int = 0


class Rule(Protocol):
    def see(self, look: Look, news: News) -> Finding | None: ...


def level_of(count: float, stop_at: float, nudge_at: float, replan_at: float) -> int:
    return 3 if count >= stop_at else 2 if count >= replan_at else 1 if count >= nudge_at else 0


def level(count: float, stop_at: int) -> int:
    """The ladder of a rule that counts to `stop_at`: a nudge at 60 %, a re-plan at 80 %."""
    return level_of(count, stop_at, max(2.0, stop_at * 0.6), max(2.0, stop_at * 0.8))


class Watch:
    """What is new over the session, for all rules."""

    def __init__(self) -> None:
        self._pairs, self._results, self._states = Memory(), Memory(), Memory(512)
        self._named, self._used = Memory(), Memory()
        self._waited = False

    def see(self, look: Look) -> News:
        given = [name for name in look.names if name in self._named and name not in self._used]
        waited, self._waited = self._waited, look.waits
        self._used.update(look.names)
        self._named.update(look.listed)
        return News(
            self._pairs.add((look.call, look.result)),
            self._results.add((look.tool, look.result)),
            bool(look.state) and self._states.add(look.state),
            bool(given),
            look.waits or waited,
        )


class SameError:
    """The same error of the same tool again and again, whatever the arguments: in a stretch in which nothing else was
    achieved, or, to the letter, so often among the last `DENSE_OVER` commands that what lies between is no way out. A
    workspace as it never was begins anew; so does, for the stretch, a call that works and was not made before."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._seen = Memory(8)
        self._count = 0.0
        self._steps: Last[Look] = Last(EVIDENCE)
        self._run = 0
        self._recent: Last[tuple[bytes, Look]] = Last(DENSE_OVER)

    def see(self, look: Look, news: News) -> Finding | None:
        weight = WAIT_WEIGHT if news.waits else GIVEN_WEIGHT if news.given else 1.0
        if news.state:
            self._recent.clear()
        self._recent.append((look.result if look.error and weight == 1 else b"", look))
        if not look.error:
            if news.state or (news.pair and not look.empty):
                self._seen, self._count, self._run = Memory(8), 0.0, 0
                self._steps.clear()
            return None
        same = [then for failed, then in self._recent if failed == look.result]
        if self._seen.add(look.error):
            self._count, self._run = self._count or 1.0, 0
        else:
            self._count, self._run = self._count + weight, self._run + 1
        self._steps.append(look)
        dense = len(same) * DENSE_WEIGHT > self._count
        found = level(len(same) * DENSE_WEIGHT if dense else self._count, self._stop_at)
        if not found:
            return None
        steps = same[-EVIDENCE:] if dense else self._steps
        reason = f"{look.tool} failed {len(steps)} times or more with the same error, whatever its arguments were"
        return Finding("same_error", found, reason, tuple(steps), 0 if dense else self._run)


class Empty:
    """Results in a row that say nothing is there, for things that no result had named."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._count = 0.0
        self._steps: Last[Look] = Last(EVIDENCE)

    def see(self, look: Look, news: News) -> Finding | None:
        if not look.empty or news.state:
            self._count = 0.0
            self._steps.clear()
            return None
        self._count += WAIT_WEIGHT if news.waits else GIVEN_WEIGHT if news.given else 1.0
        self._steps.append(look)
        found = level(self._count, self._stop_at)
        reason = f"{int(self._count)} calls in a row found nothing"
        return Finding("empty", found, reason, tuple(self._steps), len(self._steps) - 1) if found else None


class Stall:
    """Steps in a row in which at most one result or workspace state was new, and most calls with their results had
    been made before."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._seen: Last[tuple[Look, bool, bool, float]] = Last(stop_at)

    def see(self, look: Look, news: News) -> Finding | None:
        weight = WAIT_WEIGHT if news.waits else 1.0
        self._seen.append((look, news.result or news.state, not news.pair, weight))
        found = 0
        for reached, share in ((1, 0.6), (2, 0.8), (3, 1.0)):
            if self._stale(max(2, round(self._stop_at * share))):
                found = reached
        if not found:
            return None
        steps = tuple(each[0] for each in self._seen)[-EVIDENCE:]
        reason = (
            f"the last {len(self._seen)} commands brought nothing new: most were made before, with the same results"
        )
        return Finding("stall", found, reason, steps, self._repeated())

    def _repeated(self) -> int:
        """Steps at the end that were all made before, with the same results."""
        return next((n for n, (_, new, old, _) in enumerate(reversed(self._seen)) if new or not old), len(self._seen))

    def _stale(self, length: int) -> bool:
        if len(self._seen) < length:
            return False
        last = list(self._seen)[-length:]
        return sum(new for _, new, _, _ in last) <= 1 and sum(w for _, _, old, w in last if old) > length / 2


class Oscillation:
    """The workspace returns to states that it had before, and none is new in between."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._now = ""
        self._steps: Last[Look] = Last(EVIDENCE)
        self._count = 0

    def see(self, look: Look, news: News) -> Finding | None:
        if not look.state or look.state == self._now:
            return None
        self._now = look.state
        if news.state:
            self._count = 0
            self._steps.clear()
            return None
        self._count += 1
        self._steps.append(look)
        found = level(self._count, self._stop_at)
        reason = f"the files in the workspace went back {self._count} times to how they were before"
        return Finding("oscillation", found, reason, tuple(self._steps)) if found else None


class SamePlan:
    """Plan and criticism stay word for word the same while no result and no workspace state is new. A step without
    thoughts is no evidence, neither for nor against."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._plan = b""
        self._steps: Last[Look] = Last(EVIDENCE)
        self._count = 0.0

    def see(self, look: Look, news: News) -> Finding | None:
        if news.result or news.state or (look.plan and look.plan != self._plan):
            self._plan = look.plan or self._plan
            self._count = 0.0
            self._steps.clear()
            return None
        if not look.plan or (news.pair and not look.error):
            return None
        self._count += WAIT_WEIGHT if news.waits else 1.0
        self._steps.append(look)
        found = level(self._count, self._stop_at)
        reason = f"plan and criticism stayed the same over {len(self._steps)} steps in which nothing new came up"
        return Finding("plan", found, reason, tuple(self._steps)) if found else None


class Invalid:
    """Calls in a row that could not be read, do not exist, or were not allowed."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._steps: Last[Look] = Last(max(EVIDENCE, stop_at))

    def see(self, look: Look, news: News) -> Finding | None:
        if not look.invalid:
            self._steps.clear()
            return None
        self._steps.append(look)
        count = len(self._steps)
        found = level(count, self._stop_at)
        reason = f"{count} calls in a row could not be carried out: unreadable, unknown or not allowed"
        return Finding("invalid", found, reason, tuple(self._steps)[-EVIDENCE:], count - 1) if found else None
