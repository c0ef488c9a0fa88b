"""Driving a strategy: each `Ask` and `Act` is answered from the journal when it is there, else carried out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentrunner.engine.acting import run_calls
from agentrunner.engine.asking import answer, completion_of, remember, tools_digest
from agentrunner.engine.branches import side_by_side
from agentrunner.engine.external import run_with_external
from agentrunner.engine.inbox import drain
from agentrunner.engine.run import Run, Stop
from agentrunner.engine.structured import read_value
from agentrunner.guard.stuck import StuckDetector
from agentrunner.types import (
    Act,
    Answer,
    Ask,
    Completion,
    Event,
    Notice,
    Par,
    Step,
    StepError,
    Strategy,
    ToolCall,
    Verdict,
)


async def drive(run: Run, strategy: Strategy, branch: str = "") -> Answer:
    """The strategy's answer. `branch` is the path that its journal keys begin with, empty for the root.

    Raises `Stop`, and whatever the journal raises.
    """
    asks = acts = pars = 0
    detector = StuckDetector(run.parts.guard)
    reply: Any = None
    while True:
        try:
            op = strategy.send(reply)
        except StopIteration as end:
            return end.value
        if isinstance(op, Ask):
            asks += 1
            reply = await _ask(run, op, branch, asks, detector)
        elif isinstance(op, Par):
            names = op.names or tuple(f"{pars + n}" for n in range(1, len(op.branches) + 1))
            pars += len(op.branches)
            paths = [f"{branch}/{name}" for name in names]
            reply = await side_by_side(run, [drive(run, *one) for one in zip(op.branches, paths, strict=True)])
        else:
            acts += 1
            reply = await _act(run, op, f"{branch}/act:{acts}", branch)


async def _act(run: Run, act: Act, key: str, branch: str) -> list[Any]:
    for position, call in enumerate(act.calls):
        recorded = run.log.last(f"{key}:{position}", "tool.finished")
        if recorded is not None and recorded.data["name"] != call.name:
            _accept(run, recorded, "tool", recorded.data["name"], call.name)
    results = await run_calls(run, act.calls, key, branch, run.parts.ledger.steps)
    return list(results)


async def _ask(run: Run, ask: Ask, branch: str, ordinal: int, detector: StuckDetector) -> Step:
    key = f"{branch}/llm:{ordinal}"
    run.witness(ask, key)
    step = _answered_before(run, ask, key, branch)
    if step is None:
        answered = await answer(run, ask, key, branch)
        step = (
            Step(key, run.parts.ledger.steps, error=answered)
            if isinstance(answered, StepError)
            else Step(key, answered[1], answered[0], cost_usd=answered[2])
        )
    if step.completion is None:
        return step
    step = await _with_tools(run, ask, step, branch, ordinal)
    # What is asked without tools is an aside: the guard and people speak to the work itself.
    if not ask.tools and ask.progress is None:
        return step
    return await _with_notices(run, ask, step, branch, ordinal, detector)


def _answered_before(run: Run, ask: Ask, key: str, branch: str) -> Step | None:
    """The step as the journal has it, without its tools; None when the request was never answered."""
    received = run.log.last(key, "completion.received")
    if received is None:
        failed = run.log.last(key, "request.failed")
        if failed is None or failed.data["kind"] != "overflow":
            return None
        ask.conversation.drain()
        return Step(key, failed.data["step"], error=StepError("overflow", failed.data["message"]))
    sent = run.log.last(key, "request.sent")
    _check_structure(run, ask, received, sent)
    completion = completion_of(received)
    if completion.thoughts and completion.thoughts.plan:
        run.plans[branch] = completion.thoughts.plan
    if sent:
        remember(run, ask, sent.data, received.data)
    ask.conversation.drain()
    return Step(key, received.data["step"] or 0, completion, cost_usd=received.data["cost_usd"])


def _check_structure(run: Run, ask: Ask, received: Event, sent: Event | None) -> None:
    """A resume answers from the journal only what is asked again in the same way. Wording may differ.

    What a person accepted is journalled at its request; tools that were accepted, for all requests before that.
    """
    then = str(received.data["label"])
    if then != ask.label:
        _accept(run, received, "label", then, ask.label)
    elif sent is not None and sent.data["_tools"] != tools_digest(run, ask):
        accepted = run.log.last("", "tools.changed")
        if accepted is None or accepted.seq < sent.seq:
            _accept(run, received, "tools", "", "")


def _accept(run: Run, event: Event, what: str, then: str, now: str) -> None:
    """Journal that a recorded answer is used for a request of another form, or end the attempt."""
    if run.log.last(event.key, "change.accepted") is not None:
        return
    had = "other tools" if what == "tools" else f"the {what} {then!r}, which is {now!r} now"
    if not run.parts.allow_changed:
        text = f"step {event.data['step']} was made by another version of this program: it had {had}"
        hint = "resume it with that version, or add --allow-changed to go on with the answers that are there"
        raise Stop("failed", "internal_error", f"{text}; {hint}")
    place = {name: event.data[name] for name in ("step", "branch")}
    run.log.note("change.accepted", event.key, place | {"what": what, "was": then, "is": now})


async def _with_tools(run: Run, ask: Ask, step: Step, branch: str, ordinal: int) -> Step:
    """Run the calls of an answer, unless the answer is unusable as a whole."""
    completion = step.completion
    assert completion is not None
    error = unusable(completion, with_tools=bool(ask.tools))
    if error is None and completion.calls:
        place = f"{branch}/tool:{ordinal}"
        calls = _only_first(completion.calls) if _one_at_a_time(ask) else completion.calls
        if any(tool.external for tool in ask.tools):
            results = await run_with_external(run, calls, ask.tools, place, branch, step.number)
        else:
            results = await run_calls(run, calls, place, branch, step.number, offered=ask.tools)
        return replace(step, results=results)
    if error is not None or ask.schema is None:
        return replace(step, error=error)
    value, problem = read_value(completion.text, ask.schema)
    return replace(step, value=value, error=StepError("malformed", problem) if problem else None)


def _one_at_a_time(ask: Ask) -> bool:
    """Whether an answer may call one tool only. Endpoints are told, and not all of them hold to it."""
    return (ask.options or {}).get("parallel_tool_calls") is False


def _only_first(calls: Sequence[ToolCall]) -> Sequence[ToolCall]:
    """The first call as it is. Each of the others gets a result too, for a history without it would be refused."""
    first, *others = calls
    told = (
        f"Not carried out: call one tool at a time. {first.name} was the first call of your answer; make this call"
        " again, by itself, if you still need it."
    )
    return [first, *(replace(call, problem=told) for call in others)]


def unusable(completion: Completion, *, with_tools: bool) -> StepError | None:
    """Why nothing of this answer is run; None when it can be used."""
    if completion.finish == "length":
        text = (
            "Your answer was cut at its length. Answer again, shorter: one command, and long content in several parts."
        )
        return StepError("length", text)
    if completion.problem:
        return StepError("malformed", completion.problem)
    if completion.calls and not with_tools:
        return StepError("malformed", "There is no tool to call here. Answer with text.")
    if not completion.calls and not completion.text.strip():
        want = "Call one of the tools, or answer with text to finish." if with_tools else "Answer with text."
        return StepError("malformed", f"Your answer was empty. {want}")
    return None


async def _with_notices(run: Run, ask: Ask, step: Step, branch: str, ordinal: int, detector: StuckDetector) -> Step:
    """Add what the guard and people have to say about the step.

    The guard looks at every step, so that its memory is whole; but what it said about a step that is past stands in the
    journal and is not judged again.
    """
    notices: list[Notice] = []
    # What was not even tried is no sign of going in circles.
    tried = replace(step, results=step.results[:1]) if _one_at_a_time(ask) else step
    seen = detector.after(tried) if ask.tools else detector.reached(step, ask.label, ask.progress or "")
    live = not run.log.knows(f"{branch}/llm:{ordinal + 1}")
    past = run.log.last(step.key, "guard.verdict")
    if past is not None:
        data, fold = past.data, tuple(past.data.get("_fold", ()))
        verdict = Verdict(data["action"], data["rule"], data["reason"], tuple(data["evidence"]), fold)
        if verdict.action != "stop":
            notices.append(_notice(run, verdict))
    elif seen is not None and live:
        data = {"step": step.number, "branch": branch or "/", "action": seen.action, "rule": seen.rule}
        data |= {"reason": seen.reason, "evidence": list(seen.evidence), "_fold": list(seen.fold)}
        run.log.note("guard.verdict", step.key, data)
        if seen.action == "stop":
            raise Stop("incomplete", "stuck", seen.reason)
        notices.append(_notice(run, seen))
    first = ordinal == 1 and not branch
    said = [*run.log.past(step.key, "message.added"), *(run.log.past("", "message.added") if first else ())]
    notices += [Notice("message", event.data["text"]) for event in said]
    if live:
        notices += drain(run, step.key)
    if any(notice.kind == "message" for notice in notices):
        detector.spoken()
    return replace(step, notices=tuple(notices))


def _notice(run: Run, verdict: Verdict) -> Notice:
    if verdict.action == "replan":
        kind, prompt, fold = "replan", "stuck", verdict.fold
    else:
        kind, prompt, fold = "nudge", "nudge", ()
    if prompt not in run.session.prompts:  # A session keeps the prompts that it began with, and these came later.
        return Notice(kind, run.session.render("replan", reason=verdict.reason))
    text = run.session.render(prompt, reason=verdict.reason, rule=verdict.rule, turns=len(fold))
    return Notice(kind, text, fold)
