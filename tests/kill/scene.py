"""The stage of the kill tests: the endpoint, the nursery, and what can be read afterwards."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agentrunner.journal import open_journal
from agentrunner.types import Event
from tests.kill.attempt import Order, effects_path
from tests.kill.endpoint import kind_of

ROOT = Path(__file__).parents[2]
numbers = itertools.count(1)


class Scene:
    def __init__(self, folder: Path, base_url: str, nursery: subprocess.Popen[str]) -> None:
        self.folder = folder
        self._base_url = base_url
        self._nursery = nursery

    @property
    def nursery(self) -> int:
        """The number of the process that the attempts are forked from."""
        return self._nursery.pid

    def order(self, **what: Any) -> Order:
        return Order(f"kill-{next(numbers)}", str(self.folder), self._base_url, **what)

    def run(self, *orders: Order, kill_after_s: float | None = None) -> list[int]:
        """Let these attempts begin at once, and say how they ended."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        wanted = {"orders": [asdict(order) for order in orders], "kill_after_s": kill_after_s}
        self._nursery.stdin.write(json.dumps(wanted) + "\n")
        self._nursery.stdin.flush()
        return json.loads(self._nursery.stdout.readline())

    def resume(self, order: Order) -> int:
        """Go on with it, unharmed."""
        [code] = self.run(replace(order, point="", step=0, file_bytes=0, pages=0, fault="", fault_at=0, write=0))
        return code

    def events(self, order: Order) -> list[Event]:
        with contextlib.closing(open_journal(self.folder / order.home, order.url or None)) as journal:
            return journal.load(order.session)

    def asked(self, order: Order) -> Counter[int]:
        """How often the endpoint was asked for each step."""
        path = self.folder / "ledger" / order.session
        return Counter(int(step) for step in path.read_text().split()) if path.exists() else Counter()

    def requests(self, order: Order) -> Counter[str]:
        """How often the endpoint was asked each thing, where that has a name of its own."""
        path = self.folder / "ledger" / order.session
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def effects(self, order: Order) -> Counter[str]:
        """How often each effect was "begun 3" and "done 3"."""
        path = effects_path(self.folder, order.session)
        return Counter(path.read_text().splitlines()) if path.exists() else Counter()


@contextlib.contextmanager
def open_scene(folder: Path, latency_s: float = 0.0, within: tuple[str, ...] = ()) -> Iterator[Scene]:
    """`within`: a command that runs the attempts' process in other surroundings, as itself."""
    for name in ("ledger", "effects", "workspace"):
        (folder / name).mkdir()
    with _process("tests.kill.endpoint", folder / "ledger", latency_s) as endpoint:
        assert endpoint.stdout is not None
        base_url = endpoint.stdout.readline().strip()
        with _process("tests.kill.nursery", base_url, within=within) as nursery:
            yield Scene(folder, base_url, nursery)


@contextlib.contextmanager
def _process(module: str, *arguments: object, within: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    command = [*within, sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def expected_transcript(kind: str, length: int) -> list[tuple[Any, ...]]:
    """What a session that nobody harms says and does, in order."""
    said: list[tuple[Any, ...]] = []
    for step in range(1, length + 1):
        name = kind_of(kind, step)
        said.append((f"/llm:{step}", name, {"n": step}))
        said.append((f"/tool:{step}:0", name, "ok", f"{name} work {step} is done"))
    answer = f"all {length} steps are done"
    last = length + 1
    said.append((f"/llm:{last}", "finish", {"answer": answer}))
    said.append((f"/tool:{last}:0", "finish", "ok", "finished: done, artifacts: 0"))
    return [*said, ("completed", "goal_met", answer, last)]


def differences(order: Order, events: list[Event]) -> list[str]:
    """In which unsafe steps the session went another way than one that nobody harms: the model was told that their
    outcome is not known. Any other difference fails."""
    unknown: list[str] = []
    for wanted, found in zip(expected_transcript(order.kind, order.length), transcript(events), strict=True):
        if wanted != found:
            assert (*wanted[:2], "unknown") == found[:3], (wanted, found)
            assert found[1] == "unsafe"
            unknown.append(str(found[0]))
    return unknown


def transcript(events: list[Event]) -> list[tuple[Any, ...]]:
    """What the journal says that was said and done, in order."""
    said: list[tuple[Any, ...]] = []
    for event in events:
        data = event.data
        if event.type == "completion.received":
            [call] = data["tool_calls"]
            said.append((event.key, call["name"], call["arguments"]))
        elif event.type == "tool.finished":
            said.append((event.key, data["name"], data["outcome"], data["content"]))
        elif event.type == "session.finished":
            said.append((data["status"], data["reason"], data["answer"], data["steps"]))
    return said
