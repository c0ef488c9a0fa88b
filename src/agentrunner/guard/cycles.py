"""The rule for the same commands over and over: one ("repeat") or two to twelve in turn ("cycle")."""

from dataclasses import dataclass

from agentrunner.guard.looks import Look
from agentrunner.guard.memory import Last
from agentrunner.guard.rules import CHANGED_WEIGHT, EVIDENCE, WAIT_WEIGHT, Finding, News, level_of

LONGEST_CYCLE = 12


@dataclass(slots=True)
class _Streak:
    """Steps in a row that match what stood one period before them."""

    length: int = 0
    weight: float = 0.0
    same_results: int = 0

    def add(self, weight: float, *, same_result: bool) -> None:
        self.length += 1
        self.weight += weight
        self.same_results += same_result

    def clear(self) -> None:
        self.length, self.weight, self.same_results = 0, 0.0, 0


class Cycles:
    """The same 1 to 12 calls over and over with the same results ("repeat" for one, else "cycle"); or many rounds of
    the same calls of which only a few, such as a clock, have another result each time."""

    def __init__(self, repeat_at: int, cycle_at: int) -> None:
        self._repeat_at, self._cycle_at = repeat_at, cycle_at
        self._last: Last[Look] = Last(LONGEST_CYCLE + EVIDENCE)
        self._exact = [_Streak() for _ in range(LONGEST_CYCLE + 1)]
        self._calls = [_Streak() for _ in range(LONGEST_CYCLE + 1)]

    def see(self, look: Look, news: News) -> Finding | None:
        weight = WAIT_WEIGHT if news.waits else CHANGED_WEIGHT if news.state else 1.0
        worst: Finding | None = None
        for period in range(1, min(len(self._last), LONGEST_CYCLE) + 1):
            then = self._last[-period]
            exact, calls = self._exact[period], self._calls[period]
            if then.call != look.call:
                if calls.length:
                    exact.clear()
                    calls.clear()
                continue
            same_result = then.result == look.result
            calls.add(weight, same_result=same_result)
            if same_result:
                exact.add(weight, same_result=True)
            else:
                exact.clear()
            found = self._level(period)
            if found and (worst is None or found > worst.level):
                streak = exact if exact.length else calls
                worst = self._finding(period, found, streak.length, look)
        self._last.append(look)
        return worst

    def _level(self, period: int) -> int:
        """`weight` counts what matches one period earlier: the first round is not in it."""
        exact, calls = self._exact[period], self._calls[period]
        if period == 1:
            return level_of(exact.weight + 1, self._repeat_at, *_before(self._repeat_at))
        rounds = self._cycle_at
        counts = (rounds - 1, max(1, rounds - 2), max(1, rounds - 1.5))
        found = level_of(exact.weight, *(at * period + 1 for at in counts))
        if found or calls.same_results < calls.length * 0.6:
            return found
        # Three times as many rounds: pages are turned by calls that are the same each time, too.
        return level_of(calls.weight, *(at * 3 * period for at in (rounds, rounds - 1.2, rounds - 0.6)))

    def _finding(self, period: int, found: int, length: int, look: Look) -> Finding:
        steps = (*self._last[-min(length + period - 1, EVIDENCE - 1) :], look)
        if period == 1:
            reason = (
                f"{look.tool} was called {length + 1} times in a row with the same arguments and gave the same result"
            )
            return Finding("repeat", found, reason, steps, length)
        reason = f"the same {period} calls were made {length // period + 1} times over with the same results"
        return Finding("cycle", found, reason, steps, length)


def _before(stop_at: int) -> tuple[int, int]:
    """Counts for nudge and re-plan, each a step of its own where there is room."""
    return max(2, stop_at - 2), max(2, stop_at - 1)
