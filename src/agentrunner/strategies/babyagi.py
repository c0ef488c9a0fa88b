"""The strategy with a task list: execute the first tasks, create new ones from their results, put them in order.

BabyAGI's loop, with what it lacked: results are remembered and found again, tasks have tools and a share of the budget,
independent ones run side by side, and it ends when criteria that were written down before the first task are met.
"""

import json
from collections.abc import Generator, Sequence
from typing import Any

from agentrunner.strategies.autogpt import MAX_TRIES, verification
from agentrunner.strategies.conversation import Conversation
from agentrunner.strategies.plan import Plan
from agentrunner.strategies.share import Attempt, share_of
from agentrunner.strategies.structured import closed, listed
from agentrunner.strategies.tasks import Task
from agentrunner.types import JSON, Act, Answer, Message, Op, Par, Session, Strategy, ToolCall, ToolResult

ROUND = 4
"""Ready tasks that are begun together. However many of them run at a time, the round is the same."""
MAX_CRITERIA = 7
MAX_NEW = 8
"""Tasks taken from one answer."""
MAX_FILES = 4
"""Files whose beginning the verification sees."""

TEXT: JSON = {"type": "string"}
NUMBER: JSON = {"type": "integer"}
YES_OR_NO: JSON = {"type": "boolean"}
CRITERIA = closed(criteria=listed(TEXT))
NEW_TASKS = closed(tasks=listed(closed(title=TEXT, depends_on=listed(TEXT))), met=listed(NUMBER), done=YES_OR_NO)
ORDER = closed(order=listed(TEXT))
VERDICTS = closed(criteria=listed(closed(number=NUMBER, met=YES_OR_NO, why=TEXT)))


def babyagi(session: Session) -> Strategy:
    plan = Plan(session)
    tasks, tries = plan.tasks, 0
    yield from write_criteria(plan)
    if not session.first_task:
        yield from create(plan)
    if not tasks.open() and not plan.claimed:
        tasks.add([{"title": session.first_task or session.goal, "depends_on": []}])
    while True:
        for task in (yield from execute(plan, tasks.ready(ROUND))):
            yield from create(plan, task)
        if plan.claimed or not tasks.open():
            if (yield from verify(plan)):
                answer = yield from summary(plan)
                tries += answer.outcome == "unverified"
                if not plan.missing or tries >= MAX_TRIES:
                    return answer
            yield from create(plan)
            if not tasks.open():
                return (yield from summary(plan, "gave_up"))
        yield from prioritise(plan)


def write_criteria(plan: Plan) -> Generator[Op, Any, None]:
    """What must hold at the end; the goal itself when no answer says it better."""
    value, _ = yield from plan.ask("criteria", CRITERIA, most=MAX_CRITERIA)
    wanted = [" ".join(text.split()) for text in value["criteria"]] if value else []
    plan.criteria = [_criterion(text) for text in dict.fromkeys(wanted) if text][:MAX_CRITERIA]
    plan.criteria = plan.criteria or [_criterion(plan.session.goal)]


def execute(plan: Plan, ready: Sequence[Task]) -> Generator[Op, Any, list[Task]]:
    """Work on these side by side, each with earlier results that matter to it. Those that are over come back."""
    tasks, session = plan.tasks, plan.task_session()
    if not ready:
        return []
    found = yield from recall(plan, [task.title for task in ready])
    share = share_of(session.budget, plan.spent, len(ready))
    system = session.render("system", session=session)
    attempts: list[Attempt] = []
    for task, memory in zip(ready, found, strict=True):
        text = plan.render("execute", task=task, needed=plan.needed(task), found=memory, steps=share.steps)
        attempts.append(Attempt(session, Conversation(Message("system", system), Message("user", text)), share))
        tasks.begin(task)
    yield from tell(plan)
    yield Par(tuple(attempt.run() for attempt in attempts), tuple(task.name for task in ready))
    for task, attempt in zip(ready, attempts, strict=True):
        plan.take(attempt)
        if attempt.answer.outcome == "done":
            tasks.finish(task, attempt.answer.text, [*attempt.answer.artifacts, *attempt.evidence])
        else:
            tasks.fail(task, attempt.answer.reason or attempt.answer.text or "it was given up")
    yield from tell(plan)
    return [task for task in ready if task.status in ("done", "set_aside")]


def create(plan: Plan, task: Task | None = None) -> Generator[Op, Any, None]:
    """New tasks from a task's result; from what is missing; in the beginning, from the goal."""
    value, _ = yield from plan.ask("create", NEW_TASKS, task=task and plan.clipped(task), most=MAX_NEW)
    plan.claimed = bool(value and value["done"])
    if value:
        plan.tasks.add(value["tasks"][:MAX_NEW])
        plan.met = {number for number in value["met"] if 1 <= number <= len(plan.criteria)}


def prioritise(plan: Plan) -> Generator[Op, Any, None]:
    if len(plan.tasks.open()) > 1:
        value, _ = yield from plan.ask("prioritise", ORDER, progress=plan.progress())
        plan.tasks.order(value["order"] if value else [])


def verify(plan: Plan) -> Generator[Op, Any, bool]:
    """Whether all criteria are met, by a request of its own that sees the evidence rather than the claim."""
    found = yield from recall(plan, [criterion["text"] for criterion in plan.criteria], printed=True)
    files = yield from beginnings(plan.files()[-MAX_FILES:])
    value, _ = yield from plan.ask("verify", VERDICTS, found=list(dict.fromkeys(filter(None, found))), files=files)
    given: list[JSON] = value["criteria"] if value else []
    verdicts: dict[int, JSON] = {verdict["number"]: verdict for verdict in given}
    for number, criterion in enumerate(plan.criteria, 1):
        verdict = verdicts.get(number, {"met": False, "why": "nothing was said about it"})
        criterion |= {"met": verdict["met"], "why": verdict["why"]}
    unmet = [f"{criterion['text']} ({criterion['why']})" for criterion in plan.criteria if not criterion["met"]]
    plan.missing = "\n".join(f"- {text}" for text in unmet)
    yield from tell(plan)
    return not unmet


def summary(plan: Plan, outcome: str = "done") -> Strategy:
    """The answer for the person, with the tasks that it rests on; then the user's own check of the goal."""
    session, missing = plan.session, plan.missing
    value, text = yield from plan.ask("summary", session.output_schema, outcome=outcome)
    yield from tell(plan)
    if session.output_schema is not None:
        text = json.dumps(value, ensure_ascii=False) if text else ""
    else:
        text = plan.cited(text)
    if outcome != "done":
        return Answer(text, plan.files(), "gave_up", f"not all criteria are met:\n{missing}")
    if session.output_schema is not None and not text:
        return Answer(plan.cited(""), plan.files(), "gave_up", "no answer of the wanted schema was given")
    if session.verify:
        check = yield from verification(session.verify)
        if check.outcome != "ok":
            plan.missing = f"the verification `{session.verify}` failed:\n{check.content}"
            return Answer(text, plan.files(), "unverified", plan.missing)
    return Answer(text, plan.files())


def recall(plan: Plan, queries: Sequence[str], *, printed: bool = False) -> Generator[Op, Any, list[str]]:
    """For each of these, what was found out before; of what was `printed` by tools only, where results are known. All
    of a round is asked before its first task begins."""
    if not any(task.tries for task in plan.tasks):
        return [""] * len(queries)
    room = plan.recall_chars(len(queries))
    asked = [{"query": query, "max_chars": room, "printed": printed} for query in queries]
    results: list[ToolResult] = yield Act(tuple(ToolCall(f"recall{n}", "recall", q) for n, q in enumerate(asked)))
    return [result.content if result.outcome == "ok" else "" for result in results]


def beginnings(paths: Sequence[str]) -> Generator[Op, Any, dict[str, str]]:
    if not paths:
        return {}
    calls = [ToolCall(f"file{n}", "read_file", {"path": path, "limit": 120}) for n, path in enumerate(paths)]
    results: list[ToolResult] = yield Act(tuple(calls))
    return {path: result.content for path, result in zip(paths, results, strict=True)}


def tell(plan: Plan) -> Generator[Op, Any, None]:
    """Put what changed in the list into the journal."""
    if news := plan.news():
        yield Act((ToolCall("tasks", "tasks", news),))


def _criterion(text: str) -> JSON:
    return {"text": text, "met": False, "why": ""}
