"""The default strategy: think, reason, plan, criticise, act, until the goal is verified as met.

The loop of AutoGPT, with three differences: criticism that asks for it changes the plan, an answer that cannot be read
is mended a bounded number of times, and `finish` is believed only after its verification.
"""

from collections.abc import Generator
from typing import Any

from agentrunner.strategies.compact import compact, crowded
from agentrunner.strategies.conversation import Conversation
from agentrunner.types import Act, Answer, Ask, Label, Message, Op, Session, Step, Strategy, ToolCall, ToolResult

MAX_REPAIRS = 3
"""Answers in a row that could not be read, before giving up; each is a paid request."""
MAX_TRIES = 3
"""Times that a finished goal may fail its verification."""
MAX_OVERFLOWS = 2
"""Overflows in a row: when compacting twice did not help, a third time will not."""
MIN_STEPS_BETWEEN = 4
"""Steps between two compactions, so that a context which cannot shrink is not summarised for ever."""


def autogpt(session: Session) -> Strategy:
    talk = Conversation(
        Message("system", session.render("system", session=session)),
        Message("user", session.render("goal", session=session)),
    )
    return (yield from work(session, talk, "step"))


def work(session: Session, talk: Conversation, label: Label) -> Strategy:
    """The think-act loop on a conversation, until an answer is accepted or given up."""
    repairs = tries = overflows = 0
    since_compaction = MIN_STEPS_BETWEEN
    while True:
        step: Step = yield Ask("repair" if repairs else label, talk, session.tools)
        if step.error is not None and step.error.kind == "overflow":
            overflows += 1
            if overflows > MAX_OVERFLOWS or not (yield from compact(session, talk)):
                return Answer("The context window is too small for this goal.", outcome="gave_up")
            continue
        overflows = 0
        since_compaction += 1
        talk.add(step)
        spoken = any(notice.kind == "message" for notice in step.notices)
        if spoken:  # A person wants more: what failed before does not count against it.
            repairs = tries = 0
        if step.error is not None:
            repairs += 1
            if repairs > MAX_REPAIRS:
                return Answer(f"The model's answers could not be read: {step.error.text}", outcome="gave_up")
            continue
        repairs = 0
        answer, problem = yield from conclusion(session, step)
        if answer is not None and not spoken:
            return answer
        if problem:
            tries += 1
            if tries >= MAX_TRIES:
                return Answer(_claimed(step), outcome="unverified", reason=problem)
            talk.say(session.render("replan", reason=problem))
        elif _revises(step):
            talk.say(session.render("replan", reason="your criticism says that the plan must change"))
        if since_compaction >= MIN_STEPS_BETWEEN and crowded(session, talk, step):
            yield from compact(session, talk)
            since_compaction = 0


def conclusion(session: Session, step: Step) -> Generator[Op, Any, tuple[Answer | None, str]]:
    """The answer, when this step finishes the goal and that holds up; else why it does not hold up ("" when the step
    did not mean to finish)."""
    assert step.completion is not None
    call, result = _finish_call(step)
    if call is None:
        if step.completion.calls:
            return None, ""
        call = ToolCall("answer", "finish", {"answer": step.completion.text})
        [result] = yield Act((call,))
    assert result is not None
    if result.outcome != "ok":
        return None, result.content
    answer = Answer(
        str(call.arguments.get("answer", "")),
        tuple(str(path) for path in call.arguments.get("artifacts", None) or ()),
        "gave_up" if call.arguments.get("outcome") == "gave_up" else "done",
    )
    if answer.outcome == "gave_up":
        return answer, ""
    failed = [r for r in step.results if r.outcome != "ok"]
    if failed:
        return None, f"finish came together with a command that failed ({failed[0].name}): look at its result first"
    if session.verify:
        check = yield from verification(session.verify)
        if check.outcome != "ok":
            return None, f"the verification `{session.verify}` failed:\n{check.content}"
    return answer, ""


def verification(command: str) -> Generator[Op, Any, ToolResult]:
    """What the user's own check says. One that was interrupted has said nothing, and is made again."""
    call = ToolCall("verify", "shell", {"command": command})
    check: ToolResult
    [check] = yield Act((call,))
    if check.outcome == "unknown":
        [check] = yield Act((call,))
    return check


def _finish_call(step: Step) -> tuple[ToolCall | None, ToolResult | None]:
    assert step.completion is not None
    for call, result in zip(reversed(step.completion.calls), reversed(step.results), strict=True):
        if call.name == "finish":
            return call, result
    return None, None


def _revises(step: Step) -> bool:
    return bool(step.completion and step.completion.thoughts and step.completion.thoughts.revise)


def _claimed(step: Step) -> str:
    assert step.completion is not None
    call, _ = _finish_call(step)
    return str(call.arguments.get("answer", "")) if call else step.completion.text
