"""The model of the kill tests, in a process of its own: it writes down every request, on the disk, before it answers.

What to answer stands in the goal and in how many answers the request already holds, so that the same request always
gets the same answer, whatever happened to earlier ones.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.endpoint import Answer, Endpoint, call, text

GOAL = re.compile(r"session=(?P<session>\S+) kind=(?P<kind>\S+) length=(?P<length>\d+) hold=(?P<hold>\d+)")
MIXED = ("pure", "idempotent", "unsafe")
HOLD_S = 1.0
"""How long the held answer is kept back: whoever waits for it is killed long before."""


def goal(session: str, kind: str, length: int, hold: int = 0) -> str:
    """`length` steps with a tool of this `kind`, then the end; the first answer to step `hold` comes late."""
    return f"session={session} kind={kind} length={length} hold={hold}"


def kind_of(kind: str, step: int) -> str:
    return MIXED[step % 3] if kind == "mixed" else "pure" if kind == "model" else kind


def answer(ledger: Path, latency_s: float, data: dict[str, Any]) -> Answer:
    said = GOAL.search(json.dumps(data["messages"], ensure_ascii=False))
    assert said is not None
    step = 1 + sum(message["role"] == "assistant" for message in data["messages"])
    path = ledger / said["session"]
    if said["kind"] == "tasks":
        name, given = of_a_list([str(message["content"]) for message in data["messages"]], step)
        _note(path, name)
        return replace(given, delay_s=latency_s)
    first = f" {step} " not in f" {path.read_text() if path.exists() else ''} "
    _note(path, str(step))
    if step > int(said["length"]):
        return call("finish", answer=f"all {said['length']} steps are done")
    given = call(kind_of(said["kind"], step), n=step)
    delay = HOLD_S if first and step == int(said["hold"]) else latency_s
    return Answer(given.text, given.calls, delay_s=delay)


LIST = {
    "criteria": '{"criteria": ["all is done"]}',
    "prioritise": '{"order": ["t4", "t3"]}',
    "verify": '{"criteria": [{"number": 1, "met": true, "why": "seen"}]}',
    "summary": "All is done [t1] [t2] [t3] [t4].",
}
NEW = {"": ["Eat apples", "Cook beans"], "t1": ["Mill corn"], "t2": ["Dig ditches"], "t3": ["Eat the apples"]}
"""What is created from the goal and from the result of each task; the last one is there already."""
MARKS = {
    "Before any work is done": "criteria",
    "Which tasks must be added": "create",
    "Put them in the order": "prioritise",
    "You check somebody else's work": "verify",
    "Write the answer to the goal": "summary",
}


def of_a_list(messages: list[str], step: int) -> tuple[str, Answer]:
    """The name of a request of the strategy with a task list, and its answer. Each task uses a tool of each effect."""
    whole = "\n".join(messages)
    if task := re.search(r"Your task \((t\d)\)", whole):
        number = 3 * (int(task[1][1:]) - 1) + step
        given = call(MIXED[step - 1], n=number) if step <= len(MIXED) else call("finish", answer=f"{task[1]} is done")
        return f"{task[1]}:{step}", given
    kind = next(name for mark, name in MARKS.items() if mark in whole)
    if kind != "create":
        return kind, text(LIST[kind])
    over = re.search(r"^Task (t\d) ", whole, re.MULTILINE)
    made = NEW.get(over[1] if over else "", [])
    value = {"tasks": [{"title": title, "depends_on": []} for title in made], "met": [], "done": not made}
    return f"create:{over[1] if over else ''}", text(json.dumps(value))


def _note(path: Path, said: str) -> None:
    # One `write` at the end of a file is whole or absent, and the judge reads it after everybody is dead.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{said} ".encode())
    os.fsync(descriptor)
    os.close(descriptor)


def main() -> None:
    ledger, latency_s = Path(sys.argv[1]), float(sys.argv[2])
    with Endpoint(lambda data: answer(ledger, latency_s, data)) as endpoint:
        print(endpoint.base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
