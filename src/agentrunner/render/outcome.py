"""What happened, in words: how an attempt ended, the command that goes on, small events. Event data in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from agentrunner.render.common import duration, listing, mapping, money, one_line, safe, tokens_text
from agentrunner.sanitise import clean
from agentrunner.types import Event

Tone = Literal["good", "bad", "waiting"]


class OutcomeWords(NamedTuple):
    mark: str
    words: str
    tone: Tone


_WORDS: dict[str, OutcomeWords] = {
    "goal_met": OutcomeWords("✓", "goal met", "good"),
    "gave_up": OutcomeWords("✗", "gave up", "bad"),
    "verification_failed": OutcomeWords("✗", "the verification kept failing", "bad"),
    "budget_steps": OutcomeWords("✗", "budget: steps used up", "bad"),
    "budget_cost": OutcomeWords("✗", "budget: cost limit reached", "bad"),
    "budget_tokens": OutcomeWords("✗", "budget: tokens used up", "bad"),
    "budget_time": OutcomeWords("✗", "budget: time used up", "bad"),
    "stuck": OutcomeWords("✗", "stuck: going in circles", "bad"),
    "needs_approval": OutcomeWords("?", "needs your approval", "waiting"),
    "needs_input": OutcomeWords("?", "needs your answer", "waiting"),
    "needs_tool_outputs": OutcomeWords("?", "waits for tool outputs", "waiting"),
    "needs_attention": OutcomeWords("?", "needs your attention", "waiting"),
    "provider_error": OutcomeWords("✗", "the model endpoint failed", "bad"),
    "internal_error": OutcomeWords("✗", "internal error", "bad"),
    "interrupted": OutcomeWords("■", "interrupted, saved", "waiting"),
    "cancelled": OutcomeWords("■", "cancelled, saved", "waiting"),
}

_RAISE = {
    # Enough to get somewhere without doubling the default budget by habit.
    "budget_steps": "--add-steps 20",
    "budget_cost": "--add-cost 0.50",
    "budget_tokens": "--add-tokens 100000",
    "budget_time": "--add-time 15m",
}


def result_text(finished: Event) -> str:
    """The result for standard output: the answer, cleaned, ending in one newline; "" when there is none."""
    answer = clean(str(finished.data.get("answer") or "")).strip("\n")
    return f"{answer}\n" if answer else ""


def outcome_words(data: Mapping[str, Any]) -> OutcomeWords:
    reason = str(data.get("reason") or data.get("status") or "finished")
    return _WORDS.get(reason) or OutcomeWords("■", safe(reason).replace("_", " "), "waiting")


def resume_commands(session_id: str, data: Mapping[str, Any], strategy: object = "") -> list[str]:
    """The exact commands that go on with the session; none when it cannot be resumed."""
    if strategy == "assistant":  # A run of the server, which alone goes on with it.
        waits = {"interrupted": "", "needs_tool_outputs": ", when its client submits what the functions returned"}
        reason = str(data.get("reason"))
        return [f"agent serve goes on with it{waits[reason]}"] if reason in waits else []
    if not (data.get("resumable") or data.get("status") == "completed"):
        return []
    resume = f"agent resume {shlex.quote(safe(session_id))}"
    reason = str(data.get("reason"))
    if reason in _RAISE:
        return [f"{resume} {_RAISE[reason]}"]
    kinds = {str(mapping(item).get("kind")) for item in listing(data.get("pending"))}
    if reason in ("needs_input", "needs_attention") or kinds == {"input"}:
        return [f'{resume} --answer "..."']
    if reason == "needs_approval" or "approval" in kinds:
        return [f"{resume} --answer y", f"{resume} --answer n"]
    if data.get("status") == "completed" or reason in ("gave_up", "stuck", "verification_failed"):
        return [f'{resume} "what to do next"']
    return [resume]


def numbers_text(data: Mapping[str, Any], budget: Mapping[str, Any]) -> str:
    """For example "$0.0124 of $1.00 · 18.4k tokens · 4 steps · 41 s"."""
    usage = mapping(data.get("usage"))
    spent, limit = money(float(data.get("spent_usd") or 0.0)), budget.get("usd")
    cost = spent if limit is None else f"{spent} of {money(limit)}"
    if data.get("guaranteed") is False:
        endpoint = next((mapping(one).get("endpoint") for one in listing(data.get("violations"))), None)
        why = f": {one_line(endpoint, 80)} charged more than it may" if endpoint else ""
        cost += f" (not guaranteed{why})"
    tokens = int(usage.get("input_tokens") or 0) + int(usage.get("output_tokens") or 0)
    steps = int(data.get("steps") or 0)
    plural = "step" if steps == 1 else "steps"
    seconds = float(data.get("seconds") or 0.0)
    working = float(data.get("working_seconds", seconds))
    took = duration(seconds) + (f" ({duration(working)} without waits)" if seconds - working >= 1 else "")
    return f"{cost} · {tokens_text(tokens)} · {steps} {plural} · {took}"


class ArtifactLine(NamedTuple):
    path: str
    bytes: int | None


def artifact_lines(value: object, workspace: str = "") -> list[ArtifactLine]:
    """Artifacts of an event; with `workspace`, where they lie on this machine. An entry may be a path alone."""
    lines: list[ArtifactLine] = []
    for entry in listing(value):
        facts = mapping(entry)
        path = safe(facts.get("path") if facts else entry).replace("\n", " ")
        lines.append(
            ArtifactLine(str(PurePosixPath(safe(workspace)) / path) if workspace else path, facts.get("bytes"))
        )
    return lines


def failure_text(data: Mapping[str, Any]) -> str:
    """For example "429 from the endpoint (slow down), trying again in 2.0 s". The wait is not always known."""
    status, message = data.get("status"), one_line(data.get("message") or "", 160)
    what = f"{status} from the endpoint" if status else "no answer from the endpoint"
    then = ""
    if "retry_in_s" in data:
        wait = data["retry_in_s"]
        then = ", not trying again" if wait is None else f", trying again in {duration(float(wait))}"
    return f"{what}{f' ({message})' if message else ''}{then}"


def violation_text(data: Mapping[str, Any]) -> str:
    """For example "http://host/v1 charged 1,500 tokens of output where at most 500 were possible"."""
    over: list[str] = []
    for kind, name, bound in (
        ("input", "input_tokens", "input_tokens_bound"),
        ("output", "output_tokens", "max_output_tokens"),
    ):
        used, most = int(data.get(name) or 0), int(data.get(bound) or 0)
        if used > most:
            over.append(f"{used:,} tokens of {kind} where at most {most:,} were possible")
    endpoint = one_line(data.get("endpoint") or "the endpoint", 80)
    return f"{endpoint} charged {' and '.join(over)}; the limits are no longer guaranteed"


def raised_text(data: Mapping[str, Any]) -> str:
    """What was added to each limit: "20 steps, $0.50"."""
    words: dict[str, Callable[[float], str]] = {
        "steps": lambda n: f"{int(n)} steps",
        "usd": money,
        "tokens": lambda n: tokens_text(int(n)),
        "seconds": duration,
    }
    return ", ".join(say(float(data[key])) for key, say in words.items() if data.get(key))


def note_text(kind: str, data: Mapping[str, Any]) -> str:
    """One line about an event that needs no more; "" for those that are not told to people."""
    match kind:
        case "request.failed":
            return failure_text(data)
        case "budget.violated":
            return violation_text(data)
        case "conversation.compacted":
            stubbed, summarised = int(data.get("stubbed") or 0), int(data.get("summarised") or 0)
            return f"context compacted: {stubbed} results shortened, {summarised} messages summarised"
        case "cancel.requested":
            return "stopping after this step"
        case "message.added":
            return f"you: {one_line(data.get('text'), 300)}"
        case "budget.raised":
            return f"limits raised by {raised_text(data)}"
        case _:
            return ""
