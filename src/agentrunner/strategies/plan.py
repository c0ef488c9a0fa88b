"""What the strategy with a task list knows at any time, and its prompts from it. It yields nothing but its requests."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

from agentrunner.strategies.share import Attempt, Spent
from agentrunner.strategies.structured import Asides
from agentrunner.strategies.tasks import Task, Tasks
from agentrunner.types import JSON, Label, Op, Session

CHARS_PER_TOKEN = 3
"""A low guess, so that a share of the context is not passed."""
RESULTS_SHARE = 0.4
"""Of the context, for the results of all tasks together."""
RECALL_SHARE = 0.1
"""Of the context, for what is found again."""
MOST_CHARS = 8_000
"""Of one result, or one search: what a tool shows at once."""


@dataclass(slots=True)
class Plan:
    session: Session
    tasks: Tasks = field(default_factory=Tasks)
    criteria: list[JSON] = field(default_factory=list[JSON])
    """{text, met, why}; met by the last verification."""
    met: set[int] = field(default_factory=set[int])
    """Numbers of criteria that hold by what the last new results are said to show."""
    claimed: bool = False
    """The last results are said to meet all of them."""
    missing: str = ""
    """What stands between the list and the end, by the last verification or by what a person said."""
    asides: Asides = field(default_factory=Asides)
    spent: Spent = field(default_factory=Spent)
    _notices: list[str] = field(default_factory=list[str])
    _files: dict[str, None] = field(default_factory=dict[str, None])
    _last_open: int = 0
    _shrank: int = 0
    _told: list[JSON] = field(default_factory=list[JSON])

    def ask(
        self, label: Label, schema: JSON | None, progress: str = "", **variables: object
    ) -> Generator[Op, Any, tuple[Any, str]]:
        """One aside with the prompt of the same name."""
        answer = yield from self.asides.ask(label, self.render(label, **variables), schema, progress)
        self.spent.merge(self.asides.spent)
        self.asides.spent = Spent()
        self._notices = []
        for notice in self.asides.notices:
            self._hear(notice.text) if notice.kind == "message" else self._notices.append(notice.text)
        self.asides.notices = []
        return answer

    def render(self, prompt: str, **variables: object) -> str:
        tasks = self.tasks
        known: dict[str, object] = {
            "session": self.session,
            "criteria": self.criteria,
            "met": sorted(self.met),
            "missing": self.missing,
            "notices": self._notices,
            "open": tasks.open(),
            "done": [self.clipped(task) for task in tasks.done()],
            "set_aside": tasks.set_aside(),
        }
        return self.session.render(prompt, **known, **variables)

    def clipped(self, task: Task) -> Task:
        """The task with as much of its result as all results may have of the context."""
        room = int(self.session.context_tokens * CHARS_PER_TOKEN * RESULTS_SHARE / max(1, len(self.tasks.done())))
        return replace(task, result=clip(task.result, min(MOST_CHARS, room)))

    def task_session(self) -> Session:
        """The session as a task sees it: what is checked at the end of all is not asked of each."""
        return replace(self.session, verify="", output_schema=None)

    def needed(self, task: Task) -> list[Task]:
        """Those that it depends on, with their results."""
        return [self.clipped(other) for other in self.tasks if other.id in task.depends_on]

    def take(self, attempt: Attempt) -> None:
        self.spent.merge(attempt.spent)
        if attempt.answer.outcome == "done":
            self._files |= dict.fromkeys(attempt.answer.artifacts)
        for words in attempt.words:
            self._hear(words)

    def files(self) -> tuple[str, ...]:
        """What tasks handed over, the last ones last."""
        return tuple(self._files)

    def recall_chars(self, searches: int) -> int:
        return min(MOST_CHARS, int(self.session.context_tokens * CHARS_PER_TOKEN * RECALL_SHARE / max(1, searches)))

    def progress(self) -> str:
        """What was reached, as far as it can be counted. To be called once in a round."""
        count = len(self.tasks.open())
        self._shrank += count < self._last_open
        self._last_open = count
        met = ", ".join(map(str, sorted(self.met))) or "none"
        return f"criteria met: {met} of {len(self.criteria)}; the list became shorter {self._shrank} times"

    def news(self) -> JSON:
        """What changed since the last time: rows of tasks, and all criteria when one of them changed."""
        rows = self.tasks.changes()
        criteria = [dict(criterion) for criterion in self.criteria]
        news: JSON = {"tasks": rows}
        if criteria != self._told:
            news, self._told = {"criteria": criteria} | news, criteria
        return news if rows or "criteria" in news else {}

    def cited(self, text: str) -> str:
        """The text, with the tasks that it rests on where it names none."""
        done = self.tasks.done()
        if not done or any(f"[{task.id}]" in text for task in done):
            return text
        rests_on = "\n".join(f"[{task.id}] {task.title}: {clip(task.result, 300)}" for task in done)
        return f"{text}\n\nThis rests on:\n{rests_on}".strip()

    def _hear(self, words: str) -> None:
        """What a person says is a criterion like the first ones."""
        self.criteria.append({"text": words, "met": False, "why": ""})
        self.missing = f"- {words} (said by the person meanwhile)"


def clip(text: str, most: int) -> str:
    """Beginning and end of a text that is too long."""
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]}\n[...]\n{text[-(most // 3) :]}"
