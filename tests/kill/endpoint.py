"""The model of the kill tests, in a process of its own: it writes down every request, on the disk, before it answers.

What to answer stands in the goal and in how many answers the request already holds, so that the same request always
gets the same answer, whatever happened to earlier ones.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from tests.support.endpoint import Answer, Endpoint, call

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
    first = f" {step} " not in f" {path.read_text() if path.exists() else ''} "
    # One `write` at the end of a file is whole or absent, and the judge reads it after everybody is dead.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(descriptor, f"{step} ".encode())
    os.fsync(descriptor)
    os.close(descriptor)
    if step > int(said["length"]):
        return call("finish", answer=f"all {said['length']} steps are done")
    given = call(kind_of(said["kind"], step), n=step)
    delay = HOLD_S if first and step == int(said["hold"]) else latency_s
    return Answer(given.text, given.calls, delay_s=delay)


def main() -> None:
    ledger, latency_s = Path(sys.argv[1]), float(sys.argv[2])
    with Endpoint(lambda data: answer(ledger, latency_s, data)) as endpoint:
        print(endpoint.base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
