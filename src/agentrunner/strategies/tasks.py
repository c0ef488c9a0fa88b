"""A list of tasks: ids that never collide, an order, dependencies, duplicates merged. Pure; it asks nobody.

What an answer of a model says about it is taken with care: an unknown id is no task, and no task is lost by being left
out.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from agentrunner.types import JSON

Status = Literal["open", "running", "done", "set_aside"]

MAX_TRIES = 2
"""Times that a task may fail before it is set aside."""
SAME_FROM = 0.8
"""Likeness from which on two titles mean the same."""
MAX_TITLE_CHARS = 500

_WORD = re.compile(r"[^\W_]+(?:[^\s]*[^\W_])?")
"""From the first to the last letter or digit between spaces: a URL, a path or a version is one word."""
_FILLERS = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "into", "of", "on", "please", "the", "to", "with")
)


@dataclass(slots=True)
class Task:
    id: str
    title: str
    depends_on: tuple[str, ...] = ()
    status: Status = "open"
    tries: int = 0
    result: str = ""
    evidence: tuple[str, ...] = ()
    reason: str = ""
    """Why the last try failed."""
    merged: tuple[str, ...] = ()
    """Titles that meant the same."""

    @property
    def name(self) -> str:
        """Of the branch that works on it, in this try or the last one."""
        return self.id if self.tries < 2 else f"{self.id}-{self.tries}"


class Tasks:
    """In the order in which they are to be done."""

    def __init__(self) -> None:
        self._all: dict[str, Task] = {}
        self._order: list[str] = []
        self._told: dict[str, JSON] = {}

    def __iter__(self) -> Iterator[Task]:
        return iter(self._all.values())

    def open(self) -> list[Task]:
        return [task for task in map(self._all.__getitem__, self._order) if task.status in ("open", "running")]

    def done(self) -> list[Task]:
        return [task for task in self._all.values() if task.status == "done"]

    def set_aside(self) -> list[Task]:
        return [task for task in self._all.values() if task.status == "set_aside"]

    def ready(self, most: int) -> list[Task]:
        """The first ones that wait for nothing."""
        done = {task.id for task in self.done()}
        return [task for task in self.open() if done.issuperset(task.depends_on)][:most]

    def add(self, wanted: Sequence[JSON]) -> list[Task]:
        """Take in tasks as a model wrote them: [{title, depends_on}]. "#2" is the second of these very tasks. Those
        that mean the same as one that is there are merged into it; the others come back."""
        new: list[Task] = []
        named: dict[str, str] = {}
        for number, one in enumerate(wanted, 1):
            title = " ".join(str(one["title"]).split())[:MAX_TITLE_CHARS]
            if not title:
                continue
            twin = self._twin(title)
            if twin is None:
                twin = Task(f"t{len(self._all) + 1}", title, self._known(one["depends_on"], named))
                self._all[twin.id] = twin
                self._order.append(twin.id)
                new.append(twin)
            elif title not in (twin.title, *twin.merged):
                twin.merged += (title,)
            named[f"#{number}"] = twin.id
        return new

    def begin(self, task: Task) -> None:
        task.status = "running"
        task.tries += 1

    def finish(self, task: Task, result: str, evidence: Iterable[str]) -> None:
        task.status, task.result, task.reason = "done", result, ""
        task.evidence = tuple(dict.fromkeys(evidence))

    def fail(self, task: Task, reason: str) -> None:
        """To be tried again, or set aside with all that wait for it."""
        task.reason = reason
        task.status = "open" if task.tries < MAX_TRIES else "set_aside"
        if task.status == "set_aside":
            for other in self.open():
                if task.id in other.depends_on:
                    other.tries = MAX_TRIES
                    self.fail(other, f"it needs {task.id}, which was set aside")

    def order(self, wanted: Sequence[str]) -> None:
        """These first; those left out stay behind them, in the order they had."""
        first = [id_ for id_ in dict.fromkeys(wanted) if id_ in self._all]
        self._order = [*first, *(id_ for id_ in self._order if id_ not in first)]

    def changes(self) -> list[JSON]:
        """The rows that are new, or other than at the last time."""
        ranks = {task.id: rank for rank, task in enumerate(self.open(), 1)}
        rows = {task.id: _row(task, ranks.get(task.id, 0)) for task in self._all.values()}
        changed = [row for id_, row in rows.items() if self._told.get(id_) != row]
        self._told = rows
        return changed

    def _known(self, ids: Sequence[str], named: dict[str, str]) -> tuple[str, ...]:
        """Only tasks that are there already, so that no two wait for each other, and that may still be done."""
        found = [self._all[id_] for id_ in (named.get(id_, id_) for id_ in ids) if id_ in self._all]
        return tuple(dict.fromkeys(task.id for task in found if task.status != "set_aside"))

    def _twin(self, title: str) -> Task | None:
        """The task that means the same."""
        titles = [task.title for task in self._all.values()]
        scores = likeness(title, titles)
        best = max(range(len(titles)), key=scores.__getitem__, default=None)
        return None if best is None or scores[best] < SAME_FROM else list(self._all.values())[best]


def _row(task: Task, rank: int) -> JSON:
    return {
        "id": task.id,
        "title": task.title,
        "status": task.status,
        "priority": rank,
        "depends_on": list(task.depends_on),
        "tries": task.tries,
        "branch": f"/{task.name}" if task.tries else "",
        "result": task.result,
        "evidence": list(task.evidence),
        "reason": task.reason,
        "merged": list(task.merged),
    }


def likeness(title: str, others: Sequence[str]) -> list[float]:
    """From 0 to 1 for each of the others: the share of words in common, rare ones counting more, as in a search. Titles
    that do not name the same things (URLs, paths, versions, numbers) are not alike at all."""
    words, texts = _words(title), [_words(other) for other in others]
    common = Counter(word for text in [words, *texts] for word in text)
    weights = {word: math.log(1 + (len(texts) + 1) / count) for word, count in common.items()}

    def weight(some: frozenset[str]) -> float:
        return math.fsum(sorted(weights[word] for word in some))

    return [
        0.0 if _names(words) != _names(text) else weight(words & text) / (weight(words | text) or 1.0) for text in texts
    ]


def _names(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if not word.isalpha())


def _words(title: str) -> frozenset[str]:
    found = _WORD.findall(unicodedata.normalize("NFKC", title).casefold())
    kept = frozenset(found) - _FILLERS
    return frozenset(_stem(word) for word in kept or found)


def _stem(word: str) -> str:
    """Without a plural's s: enough for titles, which repeat each other's words."""
    return word[:-1] if word.isalpha() and len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
