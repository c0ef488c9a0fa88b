"""Families of generated traces with the answer known beforehand: real loops, and work that only looks like one.

Deterministic: the same traces each time. Every second trace of a family lacks all keys that a recording need not have
(`error`, `exit_code`, `workspace_sha`, `class`, `thought`), since a guard must not depend on them.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

JSON = dict[str, Any]
PER_FAMILY = 8
WORDS = [
    "parser",
    "reader",
    "writer",
    "cache",
    "index",
    "router",
    "session",
    "ledger",
    "token",
    "packet",
    "filter",
    "stream",
    "buffer",
    "socket",
    "table",
]


@dataclass(frozen=True)
class Labelled:
    """`onset` is the first step that repeats, for a loop."""

    id: str
    family: str
    label: Literal["loop", "fine"]
    reason: str
    steps: list[JSON] = field(repr=False)
    onset: int | None = None


@dataclass
class Trace:
    """Builds the steps of one trace."""

    dice: random.Random
    bare: bool
    steps: list[JSON] = field(default_factory=list[JSON])
    state: int = 0

    def add(self, tool: str, args: Any, observation: str, *, changed: bool = False, **known: Any) -> None:
        """`known`: error, exit_code, class, thought. `changed`: the workspace is as it never was before."""
        if changed:
            self.state += 1
        step: JSON = {
            "tool": tool,
            "args": args,
            "observation": observation[:400],
            "obs_sha": hashlib.sha256(observation.encode()).hexdigest()[:12],
            "obs_len": len(observation),
        }
        if not self.bare:
            step |= {"error": False, "workspace_sha": f"w{self.state}"} | known
        self.steps.append(step)

    def prelude(self) -> None:
        """A few ordinary steps."""
        for n in range(self.dice.randint(2, 6)):
            word = self.dice.choice(WORDS)
            self.add("read_file", {"path": f"src/{word}_{n}.py"}, f"def {word}_{n}(): return {self.dice.random()}")

    def ending(self) -> None:
        self.add(
            "write_file", {"path": "report.md", "content": f"{self.dice.random()}"}, "wrote report.md", changed=True
        )
        self.add("finish", {"answer": f"done {self.dice.random()}"}, "finished")


# --- work that only looks like a loop ----------------------------------------------------------------------------


def polling(t: Trace) -> None:
    """the same question with a declared wait, the same answer for a long time, then another one"""
    job = t.dice.randint(100, 999)
    command = f"sleep {t.dice.choice([10, 30, 60])}; curl -s http://localhost/jobs/{job}"
    for _ in range(t.dice.randint(10, 35)):
        t.add("shell", {"command": command}, '{"status": "running"}', **{"class": "poll"})
    t.add("shell", {"command": command}, '{"status": "done"}')


def polling_in_two_calls(t: Trace) -> None:
    """a wait and a question in turn, the same answer for a long time"""
    for _ in range(t.dice.randint(8, 17)):
        t.add("shell", {"command": "sleep 60"}, "exit code 0")
        t.add("job_status", {"id": 7}, "running", **{"class": "poll"})
    t.add("job_status", {"id": 7}, "done")


def polling_with_news(t: Trace) -> None:
    """the same question without a wait, and every answer differs in a number"""
    for percent in range(0, 100, t.dice.choice([3, 4, 5])):
        t.add("job_status", {"id": 7}, f"running, {percent} % done")


def paging_without_arguments(t: Trace) -> None:
    """the same call without arguments, a new page each time"""
    for page in range(t.dice.randint(20, 60)):
        t.add("scroll_down", {}, f"lines {page * 40} to {page * 40 + 39}: {t.dice.random()}", **{"class": "page"})


def paging_by_number(t: Trace) -> None:
    """arguments and results that differ only in a number"""
    for page in range(1, t.dice.randint(40, 61)):
        t.add("web_fetch", {"url": f"http://shop.test/list?page={page}"}, f"page {page} of 60: 20 items")


def reading_many_files(t: Trace) -> None:
    """the same tool over new items, many of which hold the same"""
    t.add("list_files", {"path": "logs"}, "\n".join(f"logs/{n}.log" for n in range(200)))
    for n in range(t.dice.randint(60, 200)):
        text = "status: ok" if t.dice.random() < 0.8 else f"status: failed with code {n}"
        t.add("read_file", {"path": f"logs/{n}.log"}, text)


def writing_many_files(t: Trace) -> None:
    """the same tool over new items, each answered with the same words, the workspace changed each time"""
    for n in range(t.dice.randint(60, 200)):
        t.add("write_file", {"path": f"out/{n}.txt", "content": f"item {n}"}, "written: 8 bytes", changed=True)


def searching_listed_files(t: Trace) -> None:
    """a search in one listed file after the other; most find nothing, some do"""
    t.add("list_files", {"path": "src"}, "\n".join(f"src/module_{n}.py" for n in range(80)))
    since = 0
    for n in range(t.dice.randint(40, 80)):
        since = 0 if since >= 6 or t.dice.random() < 0.2 else since + 1
        found = "" if since else f"{n}: eval("
        t.add("search_files", {"pattern": "eval", "path": f"src/module_{n}.py"}, found, **{"class": "read"})


def fixing_after_tests(t: Trace) -> None:
    """an edit and a test in turn; fewer tests fail each time"""
    for left in range(t.dice.randint(6, 12), -1, -1):
        t.add("edit_file", {"path": "a.py", "old": f"x{left}", "new": f"y{left}"}, "edited a.py", changed=True)
        t.add("shell", {"command": "pytest -q"}, f"exit code {int(left > 0)}\n{left} failed", error=left > 0)


def fixing_one_stubborn_failure(t: Trace) -> None:
    """an edit and a test in turn; the same failure for up to eight rounds, while the files are new each time"""
    for n in range(t.dice.randint(5, 8)):
        t.add("edit_file", {"path": "a.py", "old": f"x{n}", "new": f"{t.dice.random()}"}, "edited a.py", changed=True)
        t.add("shell", {"command": "pytest -q"}, "exit code 1\nFAILED test_parse - KeyError: 'id'", error=True)
    t.add("edit_file", {"path": "b.py", "old": "x", "new": "y"}, "edited b.py", changed=True)
    t.add("shell", {"command": "pytest -q"}, "exit code 0\n12 passed")


def flaky_retry(t: Trace) -> None:
    """the same command fails twice or three times and then works, several times in a run"""
    for n in range(t.dice.randint(2, 4)):
        command = {"command": f"pip download {WORDS[n]}"}
        for _ in range(t.dice.randint(2, 3)):
            t.add("shell", command, "exit code 1\nerror: connection reset by peer", error=True)
        t.add("shell", command, f"exit code 0\nsaved {WORDS[n]}.whl", changed=True)
        t.prelude()


def leaving_a_repetition(t: Trace) -> None:
    """three identical calls, then the agent tries something else by itself"""
    for _ in range(3):
        t.add("search_files", {"pattern": "main", "path": "."}, "src/main.py:1: def main()")
    t.prelude()


def leaving_an_alternation(t: Trace) -> None:
    """two calls in turn twice, then the agent goes on by itself"""
    for _ in range(2):
        t.add("read_file", {"path": "a.txt"}, "alpha")
        t.add("read_file", {"path": "b.txt"}, "beta")
    t.prelude()


def different_errors(t: Trace) -> None:
    """ten failures in a row, each another one: something is learned each time"""
    words = t.dice.sample(WORDS, 10)
    for word in words:
        t.add("python", {"code": f"import {word}"}, f"error: ModuleNotFoundError: No module named '{word}'", error=True)


def reading_after_each_edit(t: Trace) -> None:
    """one file read again and again, changed in between each time"""
    for n in range(t.dice.randint(8, 20)):
        t.add("read_file", {"path": "a.py"}, f"version {n}: {t.dice.random()}")
        t.add("edit_file", {"path": "a.py", "old": f"v{n}", "new": f"v{n + 1}"}, "edited a.py", changed=True)


def looking_around_while_working(t: Trace) -> None:
    """one listing with the same result every few steps, new work in between"""
    for _ in range(t.dice.randint(6, 9)):
        t.add("list_files", {"path": "."}, "a.py\nb.py\nc.py")
        t.prelude()


def a_dialogue(t: Trace) -> None:
    """a person answers new questions with the same word"""
    for n in range(t.dice.randint(4, 7)):
        t.add("ask_user", {"question": f"Shall {WORDS[n]} be kept?"}, "Yes.")
        t.add("edit_file", {"path": "plan.md", "old": f"? {n}", "new": f"keep {n}"}, "edited plan.md", changed=True)


# --- loops -------------------------------------------------------------------------------------------------------


def cycle(period: int) -> Callable[[Trace], None]:
    def build(t: Trace) -> None:
        calls = [({"path": f"{WORDS[n]}.py"}, f"def {WORDS[n]}(): ...  # {t.dice.random()}") for n in range(period)]
        for _ in range(12 if period < 3 else 6 if period < 6 else 4):
            for args, result in calls:
                t.add("read_file", args, result)

    build.__name__ = f"cycle_of_{period}"
    build.__doc__ = f"the same {period} call(s) over and over with the same results"
    return build


def same_call_other_line_number(t: Trace) -> None:
    """the same command with the same error, which differs only in a line number"""
    for n in range(t.dice.randint(12, 20)):
        text = f"exit code 127\n/bin/bash: line {62425 + 3 * n}: javac: command not found"
        t.add("shell", {"command": "javac Main.java"}, text, error=True, exit_code=127)


def same_call_other_words(t: Trace) -> None:
    """the same call with the same result, and a thought in new words each time"""
    for n in range(12):
        words = " ".join(t.dice.sample(WORDS, 5))
        t.add("list_files", {"path": "src"}, "src/a.py", thought=f"Now I will look at {words} ({n})")


def same_result_other_comments(t: Trace) -> None:
    """the same code with another comment each time; the result never changes"""
    for _ in range(t.dice.randint(14, 24)):
        comment = " ".join(t.dice.sample(WORDS, 4))
        t.add("python", {"code": f"# {comment}\nprint(len(rows))"}, "ok\n0 rows were read from the table")


def same_error_new_edits(t: Trace) -> None:
    """an edit is refused with the same error however it is written"""
    for _ in range(t.dice.randint(12, 25)):
        edit = {"path": "a.py", "old": f"return {t.dice.random()}", "new": "return 0"}
        t.add("edit_file", edit, "error: `old` does not occur in 'a.py'. Read the file again.", error=True)


def same_error_new_code(t: Trace) -> None:
    """the same exception from ever-new code, its traceback with other line numbers and addresses"""
    for n in range(t.dice.randint(12, 25)):
        address = f"0x{t.dice.getrandbits(44):x}"
        text = (
            f"error: ValueError: bad header\nTraceback (most recent call last):\n  line {n}, in <module> at {address}"
        )
        t.add("python", {"code": f"load(skip={n}, sep={t.dice.random()})"}, text, error=True)


def guessing_names(t: Trace) -> None:
    """searches for made-up names, and none finds anything"""
    for n in range(t.dice.randint(22, 35)):
        name = f"{t.dice.choice(WORDS)}_{t.dice.choice(WORDS)}{n}.cfg"
        t.add("search_files", {"pattern": name, "path": "."}, "", **{"class": "read"})


def to_and_fro(t: Trace) -> None:
    """one line changed and changed back, the failing test with another duration each time"""
    for n in range(t.dice.randint(12, 16)):
        old, new = ("True", "False") if n % 2 == 0 else ("False", "True")
        t.state = 100 + n % 2
        t.add("edit_file", {"path": "a.py", "old": f"flag = {old}", "new": f"flag = {new}"}, "edited a.py")
        text = f"exit code 1\nFAILED test_{'on' if n % 2 else 'off'} in {t.dice.random():.2f}s"
        t.add("shell", {"command": "pytest -q"}, text, error=True)


def calls_that_do_not_exist(t: Trace) -> None:
    """one unknown command after the other, all refused"""
    names = [f"{a}_{b}" for a in WORDS[:5] for b in WORDS[5:9]]
    for name in t.dice.sample(names, t.dice.randint(12, 18)):
        text = "error: There is no tool of that name. The tools are: read_file, write_file, shell."
        t.add(name, {"query": name}, text, error=True)


def calls_without_arguments(t: Trace) -> None:
    """calls whose arguments are missing, refused each time, of two tools in turn"""
    for n in range(t.dice.randint(12, 18)):
        tool = ("write_file", "edit_file")[n % 2]
        t.add(tool, {}, f"error: `path` is missing. Call {tool} with the path of a file.", error=True)


def a_clock_in_the_loop(t: Trace) -> None:
    """three calls over and over, of which only the clock says something new"""
    for n in range(t.dice.randint(10, 14)):
        t.add("list_files", {"path": "out"}, "out/ is empty")
        t.add("shell", {"command": "date"}, f"exit code 0\n12:{n:02d}:07")
        t.add("read_file", {"path": "todo.md"}, "1. write the report")


def few_calls_in_any_order(t: Trace) -> None:
    """a handful of calls with known results in ever-changing order"""
    calls = [({"path": f"{word}.py"}, f"def {word}(): ...") for word in WORDS[:5]]
    for _ in range(40):
        args, result = t.dice.choice(calls)
        t.add("read_file", args, result)


def coming_back_to_it(t: Trace) -> None:
    """the same failing command again and again, with one other known call now and then"""
    for n in range(24):
        if n % 4 == 3:
            t.add("list_files", {"path": "."}, "a.py\nb.py")
        else:
            t.add(
                "shell", {"command": "make"}, "exit code 2\nmake: *** No rule to make target 'all'. Stop.", error=True
            )


FINE: tuple[Callable[[Trace], None], ...] = (
    polling,
    polling_in_two_calls,
    polling_with_news,
    paging_without_arguments,
    paging_by_number,
    reading_many_files,
    writing_many_files,
    searching_listed_files,
    fixing_after_tests,
    fixing_one_stubborn_failure,
    flaky_retry,
    leaving_a_repetition,
    leaving_an_alternation,
    different_errors,
    reading_after_each_edit,
    looking_around_while_working,
    a_dialogue,
)
LOOPS: tuple[Callable[[Trace], None], ...] = (
    same_call_other_line_number,
    same_call_other_words,
    same_result_other_comments,
    same_error_new_edits,
    same_error_new_code,
    guessing_names,
    to_and_fro,
    calls_that_do_not_exist,
    calls_without_arguments,
    a_clock_in_the_loop,
    few_calls_in_any_order,
    coming_back_to_it,
)


def traces() -> Iterator[Labelled]:
    """All of them: 136 that are fine, 120 loops."""
    for build in FINE:
        for n in range(PER_FAMILY):
            yield _fine(build, n)
    for build in LOOPS:
        for n in range(PER_FAMILY):
            yield _loop(build, n)
    for period in range(1, 13):
        for n in range(2):
            yield _loop(cycle(period), n)


def _begin(build: Callable[[Trace], None], n: int) -> Trace:
    t = Trace(random.Random(f"{build.__name__} {n}"), bare=n % 2 == 1)
    t.prelude()
    return t


def _fine(build: Callable[[Trace], None], n: int) -> Labelled:
    t = _begin(build, n)
    build(t)
    t.ending()
    return Labelled(f"{build.__name__}/{n}", build.__name__, "fine", build.__doc__ or "", t.steps)


def _loop(build: Callable[[Trace], None], n: int) -> Labelled:
    t = _begin(build, n)
    onset = len(t.steps) + 1
    build(t)
    return Labelled(f"{build.__name__}/{n}", build.__name__, "loop", build.__doc__ or "", t.steps, onset)
