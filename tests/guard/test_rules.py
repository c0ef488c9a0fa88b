"""Each rule: a session that trips it, and a near miss that does not."""

import random
from collections.abc import Callable

import pytest

from agentrunner.guard.limits import STOP_AT, Limits
from agentrunner.types import Completion, Step, Thoughts
from tests.guard.steps import made, said, stop_of, unreadable

NUMBERS = range(1, 41)


def chanted(number: int, passage: str) -> Step:
    thoughts = Thoughts(text=f"{number}: " + passage * 40)
    found = made(number, f"result {number}", path=f"{number}.txt")
    assert found.completion is not None
    return Step(found.key, number, Completion({}, calls=found.completion.calls, thoughts=thoughts), found.results)


def words(number: int) -> str:
    return "".join(random.Random(number).choices("abcdefghij", k=20))


TRIPS: dict[str, tuple[str, Callable[[int], Step]]] = {
    "the same call with the same result": ("repeat", lambda n: made(n, "same")),
    "the same arguments in another order": (
        "repeat",
        lambda n: made(n, "same", **dict([("a", 1), ("b", 2)][:: 1 if n % 2 else -1])),
    ),
    "the same code with other comments": (
        "repeat",
        lambda n: made(n, "0 rows", tool="python", code=f"# {words(n)}\nprint(rows)"),
    ),
    "the same call that always changes the files": (
        "repeat",
        lambda n: made(n, "exit code 0", tool="shell", command="echo x >> log", workspace=f"w{n}"),
    ),
    "three calls in turn": ("cycle", lambda n: made(n, f"text {n % 3}", path=f"{n % 3}.txt")),
    "twelve calls in turn": ("cycle", lambda n: made(n, f"text {n % 12}", path=f"{n % 12}.txt")),
    "the same error of ever-new edits": (
        "same_error",
        lambda n: made(n, "error: no such text", tool="edit_file", outcome="error", old=f"x{n}"),
    ),
    "the same error of edits that quote what was read": (
        "same_error",
        lambda n: (
            made(n, " ".join(f"self.x{i}" for i in NUMBERS))
            if n == 1
            else made(n, "error: no such text", tool="edit_file", outcome="error", path="a.py", old=f"return self.x{n}")
        ),
    ),
    "an error that differs in numbers only": (
        "same_error",
        lambda n: made(n, f"error: line {n}: bad token at 0x{n:08x}", tool="python", outcome="error", code=f"{n}"),
    ),
    "the same error with known results between": (
        "same_error",
        lambda n: made(n, "error: no", outcome="error", old=f"x{n}") if n % 2 else made(n, "list", tool="list_files"),
    ),
    "searches for made-up names": (
        "empty",
        lambda n: made(n, "no line matches in . (files searched: 9)", tool="search_files", pattern=words(n)),
    ),
    "known calls in any order": (
        "stall",
        lambda n: made(n, f"text {(n * n + n // 3) % 5}", path=f"{(n * n + n // 3) % 5}.txt"),
    ),
    "files changed to and fro": (
        "oscillation",
        lambda n: made(n, f"took {n * 7} ms", tool="shell", command=f"run {n}", workspace=f"w{n % 2}"),
    ),
    "an unchanged plan over known errors": (
        "plan",
        lambda n: made(n, f"error: {n % 2}", outcome="error", tool=f"t{n % 2}", x=n, plan="try again"),
    ),
    "calls that do not exist": (
        "invalid",
        lambda n: made(n, f"error: there is no tool named {words(n)}", outcome="error", ran=False, x=n),
    ),
    "calls that are not allowed": ("invalid", lambda n: made(n, f"no: {words(n)}", outcome="denied", ran=False, x=n)),
    "answers that cannot be read": ("invalid", unreadable),
    "a passage said over and over": ("chant", lambda n: chanted(n, "I have to look again. ")),
}

NEAR_MISSES: dict[str, Callable[[int], Step]] = {
    "the same call with news": lambda n: made(n, f"line {n}", tool="next_line"),
    "pages that differ in a number": lambda n: made(n, f"page {n} of 60", tool="web_fetch", url=f"http://x/?page={n}"),
    "the same result for new items": lambda n: made(n, "status: ok", path=f"{n}.log"),
    "the same words for each file written": lambda n: made(n, "written", tool="write_file", x=n, workspace=f"w{n}"),
    "a poll that says it waits": lambda n: made(n, "running", tool="shell", command="sleep 30; curl localhost/job"),
    "a wait and a look in turn": lambda n: (
        made(n, "exit code 0", tool="shell", command="sleep 30")
        if n % 2
        else made(n, "running", tool="shell", command="curl localhost/job")
    ),
    "code that prints nothing": lambda n: made(n, "ok", tool="python", code=f"x{n} = {n}"),
    "a poll until something answers": lambda n: made(
        n, "exit code 7\nconnection refused", tool="shell", outcome="error", command="sleep 5; curl localhost"
    ),
    "a test that fails while the files are new": lambda n: (
        made(n, "exit code 1\nFAILED test_x", tool="shell", outcome="error", command="pytest", workspace=f"w{n // 2}")
        if n % 2
        else made(n, "edited a.py", tool="edit_file", new=f"{n}", workspace=f"w{n // 2}")
    ),
    "errors that are all new": lambda n: made(n, f"error: no module {words(n)}", outcome="error", code=f"import {n}"),
    "the same error now and then": lambda n: (
        made(n, "error: busy", outcome="error", path=f"{n}") if n % 6 == 0 else made(n, f"text {n}", path=f"{n}")
    ),
    "empty results for listed items": lambda n: (
        made(n, "\n".join(f"src/m{i}.py" for i in NUMBERS), tool="list_files")
        if n == 1
        else made(n, "", tool="search_files", pattern="eval", path=f"src/m{n}.py")
    ),
    "a listing between new work": lambda n: (
        made(n, "a.py", tool="list_files") if n % 4 == 0 else made(n, f"text {n}", path=f"{n}.txt")
    ),
    "new states of the workspace": lambda n: (
        made(n, "ok", tool="shell", command="make", workspace=f"w{n}") if n < 11 else made(n, f"text {n}", path=f"{n}")
    ),
    "an unchanged plan with new results": lambda n: made(n, f"text {n}", path=f"{n}.txt", plan="read them all"),
    "every third call invalid": lambda n: (
        made(n, "error: no such tool", outcome="error", ran=False, x=n) if n % 3 == 0 else made(n, f"{n}", path=f"{n}")
    ),
    "a table in an answer": lambda n: made(n, f"text {n}", path=f"{n}", text="| a | b |\n" + "| 0 | 0 |\n" * 40),
    "a ruler in an answer": lambda n: made(n, f"text {n}", path=f"{n}", text="result\n" + "-" * 400),
    "code in an answer": lambda n: made(n, f"text {n}", path=f"{n}", text="```\n" + "append(zero)\n" * 40 + "```"),
}


@pytest.mark.parametrize("what", TRIPS)
def test_a_loop_is_nudged_then_planned_anew_then_stopped_by_its_rule(what: str) -> None:
    rule, make = TRIPS[what]
    steps = [make(n) for n in NUMBERS]
    assert stop_of(steps, only(rule)) == rule
    assert [each.split()[0] for each in said(steps)][:3] == ["nudge", "replan", "stop"]


@pytest.mark.parametrize("what", NEAR_MISSES)
def test_a_near_miss_is_not_stopped(what: str) -> None:
    assert stop_of(NEAR_MISSES[what](n) for n in NUMBERS) == ""


@pytest.mark.parametrize("what", TRIPS)
def test_a_rule_that_is_off_says_nothing_and_one_that_warns_never_stops(what: str) -> None:
    rule, make = TRIPS[what]
    steps = [make(n) for n in NUMBERS]
    only_this = only(rule)
    off = Limits(dict.fromkeys(STOP_AT, "off"))
    warn = Limits({**only_this.modes, rule: "warn"})
    assert said(steps, off) == []
    assert set(said(steps, warn)) == {f"nudge {rule}", f"replan {rule}"}


def test_a_lower_count_stops_earlier() -> None:
    steps = [made(n, "same") for n in NUMBERS]
    assert said(steps[:3], Limits(counts={"repeat": 3}))[-1] == "replan repeat"
    assert said(steps[:4], Limits(counts={"repeat": 3}))[-1] == "stop repeat"


def test_a_thought_in_other_words_does_not_hide_a_repetition() -> None:
    assert stop_of(made(n, "same", plan=words(n)) for n in NUMBERS) == "repeat"


def test_results_are_compared_without_masks() -> None:
    assert said(made(n, f"{n} rows", tool="shell", command="wc -l log") for n in NUMBERS) == []


def test_thoughts_that_are_missing_are_no_evidence() -> None:
    assert stop_of([made(n, "same") for n in NUMBERS], only("plan")) == ""


def only(rule: str) -> Limits:
    return Limits({name: "stop" if name == rule else "off" for name in STOP_AT})
