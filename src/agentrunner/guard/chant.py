"""Whether one answer says one passage over and over: text that degenerated. It does not look at what commands carry,
since tables and generated files may well repeat themselves.
"""

from collections import Counter

from agentrunner.guard.looks import Look, mark
from agentrunner.guard.memory import Last
from agentrunner.guard.rules import EVIDENCE, Finding, level
from agentrunner.types import Step

TAIL_CHARS = 4_000
"""How much of the end of an answer is looked at: a passage that is chanted is chanted to the end."""
LONGEST_PASSAGE = 300
TIMES = 8
"""Repetitions in one answer; songs and lists of things that differ in a word have fewer that are the same."""
SHORTEST_CHANT = 160
"""Characters that the repetitions fill together."""


class Chant:
    """Counts answers in a row that chant."""

    def __init__(self, stop_at: int) -> None:
        self._stop_at = stop_at
        self._steps: Last[Look] = Last(EVIDENCE)

    def see(self, step: Step) -> Finding | None:
        answer = step.completion
        if answer is None:
            return None
        thoughts = answer.thoughts
        texts = [answer.text, *((thoughts.text, thoughts.reasoning, thoughts.criticism) if thoughts else ())]
        if not any(chants(text) for text in texts):
            self._steps.clear()
            return None
        said = mark("chant")
        self._steps.append(Look(step.number, step.key, "", said, said))
        count = len(self._steps)
        # Already the first one is a clear sign.
        found = max(1, level(count, self._stop_at))
        return Finding("chant", found, "one passage was said over and over in one answer", tuple(self._steps), count)


def chants(text: str) -> bool:
    """Whether the text ends in one passage `TIMES` times, or consists for the most part of one line; what stands in
    fences of code and in tables does not count."""
    tail = text[-TAIL_CHARS:].rstrip()
    if "```" in tail or "|" in tail:
        tail = _prose(tail).rstrip()
    if len(tail) < SHORTEST_CHANT:
        return False
    return _ends_in_repetition(tail) or _repeats_a_line(tail)


def _ends_in_repetition(tail: str) -> bool:
    end = tail[-12:]
    start = len(tail) - len(end)
    before = tail.rfind(end, max(0, start - LONGEST_PASSAGE), len(tail) - 1)
    if before < 0:
        return False
    period = start - before
    times = max(TIMES, -(-SHORTEST_CHANT // period))
    passage = tail[-period:]
    return tail.endswith(passage * times) and any(character.isalpha() for character in passage)


def _repeats_a_line(tail: str) -> bool:
    lines = Counter(line.strip() for line in tail.splitlines())
    line, times = max(lines.items(), key=lambda each: each[1], default=("", 0))
    return times >= TIMES and len(line) >= 20 and times * 2 > sum(lines.values()) and any(map(str.isalpha, line))


def _prose(text: str) -> str:
    """Without fenced code and rows of tables."""
    inside, kept = False, list[str]()
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside and not line.lstrip().startswith("|"):
            kept.append(line)
    return "".join(kept)
