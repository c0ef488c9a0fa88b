"""The loop guard beside the loop rules of other agents: `python -m bench.guard [FOLDER OF TRACES]`.

It prints what is stopped and nudged on generated traces, and with a folder on recorded ones, then what a step costs.
Recorded traces are not part of this repository; their labels are.
"""

import argparse
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.guard.peers import PEERS
from tests.guard.families import traces

from agentrunner.guard.stuck import StuckDetector
from agentrunner.guard.traces import read_trajectories, replay
from agentrunner.types import Completion, Step, Thoughts, ToolCall, ToolResult

LABELS = Path(__file__).parent / "labels.jsonl"


class Case(NamedTuple):
    id: str
    label: str
    onset: int | None
    steps: Sequence[Mapping[str, Any]]
    resolved: bool = False


class Said(NamedTuple):
    """Steps at which something was said, and the rules that said it."""

    nudged: int | None
    stopped: int | None
    nudge_rule: str = ""
    stop_rule: str = ""


def ours(case: Case) -> Said:
    verdicts = replay(case.steps)
    if not verdicts:
        return Said(None, None)
    (nudged, first), (stopped, last) = verdicts[0], verdicts[-1]
    if last.action != "stop":
        return Said(nudged, None, first.rule)
    return Said(nudged, stopped, first.rule, last.rule)


def wilson(hits: int, of: int) -> str:
    """A share with its 95 % interval."""
    if not of:
        return "-"
    z, p = 1.96, hits / of
    middle, spread = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return f"{p:.3f} [{(middle - spread) / scale:.3f}, {(middle + spread) / scale:.3f}]"


def compare(cases: Sequence[Case], title: str) -> dict[str, list[int | None]]:
    loops, fine = ([case for case in cases if case.label == label] for label in ("loop", "fine"))
    unclear = len(cases) - len(loops) - len(fine)
    print(f"\n## {title}: {len(loops)} loops, {len(fine)} fine, {unclear} unclear\n")
    print("| rule | loops stopped (recall) | false stops | precision | delay, median | steps spared |")
    print("|---|---|---|---|---|---|")
    stops: dict[str, list[int | None]] = {"ours, stop": [ours(case).stopped for case in cases]}
    stops["ours, first nudge"] = [ours(case).nudged for case in cases]
    stops |= {name: [rule(case.steps) for case in cases] for name, rule in PEERS.items()}
    for name, found in stops.items():
        right = [(c, at) for c, at in zip(cases, found, strict=True) if at is not None and c.label == "loop"]
        wrong = sum(at is not None and c.label == "fine" for c, at in zip(cases, found, strict=True))
        delays = [at - c.onset for c, at in right if c.onset is not None]
        spared = sum(len(c.steps) - at - 1 for c, at in right) / sum(len(case.steps) for case in cases)
        print(
            f"| {name} | {len(right)}/{len(loops)} {wilson(len(right), len(loops))} | {wrong}/{len(fine)} "
            f"| {wilson(len(right), len(right) + wrong)} | {statistics.median(delays) if delays else '-'} "
            f"| {spared:.3f} |"
        )
    return stops


def by_rule(cases: Iterable[Case]) -> None:
    nudges: Counter[tuple[str, str]] = Counter()
    stops: Counter[tuple[str, str]] = Counter()
    for case in cases:
        said = ours(case)
        if said.nudge_rule:
            nudges[said.nudge_rule, case.label] += 1
        if said.stop_rule:
            stops[said.stop_rule, case.label] += 1
    print("\n| our rule | first nudges: loop, fine, unclear | stops: loop, fine, unclear |\n|---|---|---|")
    for rule in sorted({rule for rule, _ in (*nudges, *stops)}):
        cells = (
            ", ".join(str(found[rule, label]) for label in ("loop", "fine", "unclear")) for found in (nudges, stops)
        )
        print(f"| {rule} | {' | '.join(cells)} |")


def beside_peers(cases: Sequence[Case], stops: Mapping[str, list[int | None]]) -> None:
    """Whether ours catches what any of them rightly catches."""

    def labelled(name: str, label: str) -> set[int]:
        return {i for i, at in enumerate(stops[name]) if at is not None and cases[i].label == label}

    theirs = set[int]().union(*(labelled(name, "loop") for name in PEERS))
    caught = len(theirs & labelled("ours, stop", "loop"))
    share = caught / max(1, len(theirs))
    print(f"\nOf {len(theirs)} loops that any of the others catches, ours stops {caught} ({share:.3f}).")
    for i in sorted(theirs):
        if stops["ours, stop"][i] is None:
            print(f"  missed: {cases[i].id}")
    for i, case in enumerate(cases):
        if case.label == "fine" and stops["ours, stop"][i] is not None:
            print(f"  stopped wrongly: {case.id} at {stops['ours, stop'][i]}")
    best = min(len(labelled(name, "fine")) for name in PEERS)
    print(f"False stops: ours {len(labelled('ours, stop', 'fine'))}, the best of the others {best}.")


def recorded(folder: Path) -> list[Case]:
    labels = {(label := json.loads(line))["id"]: label for line in LABELS.read_text().splitlines()}
    cases: list[Case] = []
    for path in sorted(folder.glob("*.jsonl")):
        for found in read_trajectories(path.read_bytes().splitlines()):
            if isinstance(found, str):
                raise SystemExit(f"{path.name}: {found}")
            label = labels.get(found.id, {"label": "unclear", "reason": "not labelled"})
            resolved = label["reason"] == "the task was solved"
            cases.append(Case(found.id, label["label"], label.get("onset"), found.steps, resolved))
    return cases


def after_first_nudge(cases: Sequence[Case]) -> str:
    steps = sum(len(case.steps) for case in cases)
    after = sum(len(case.steps) - at - 1 for case in cases if (at := ours(case).nudged) is not None)
    return f"{after} of {steps} steps ({after / steps:.3f}) come after our first nudge."


def solved(cases: Sequence[Case]) -> None:
    """The runs that were solved for sure: none of them may be stopped."""
    for name, group in (
        ("solved dialogues", [case for case in cases if case.resolved]),
        ("demonstrations", [case for case in cases if case.id.startswith("swea/")]),
    ):
        said = [ours(case) for case in group]
        stopped = sum(each.stopped is not None for each in said)
        nudged = sum(each.nudged is not None for each in said)
        print(f"{name}: {len(group)}, of which ours stops {stopped} and nudges {nudged}.")


def cost() -> None:
    """Milliseconds per step as the engine sees it, where all steps are new and where they go in circles."""

    def step(n: int, characters: int) -> Step:
        text = "\n".join(f"{n}: line {line} of a result, src/module_{line}.py" for line in range(characters // 41))
        call = ToolCall("c", "shell", {"command": f"cat {n}"})
        result = ToolResult("c", "shell", "error" if n % 3 == 0 else "ok", text, workspace=f"w{n}")
        thoughts = Thoughts(f"Now number {n}.", "Because it is next.", ("go on", f"number {n}"), "None.")
        return Step(f"/llm:{n}", n, Completion({}, calls=(call,), thoughts=thoughts), (result,))

    print("\n| session | ms per step around step 100 | around step 1,000 | around step 5,000 |\n|---|---|---|---|")
    for characters in (400, 4_000, 16_000):
        for name, of in (("all new", 10_000), ("in circles", 7)):
            detector, seconds = StuckDetector(), list[float]()
            for n in range(5_050):
                made = step(n % of, characters)
                before = time.perf_counter()
                detector.after(made)
                seconds.append(time.perf_counter() - before)
            around = [f"{statistics.median(seconds[at - 50 : at + 50]) * 1000:.3f}" for at in (100, 1_000, 5_000)]
            print(f"| {name}, results of {characters} characters | {' | '.join(around)} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of recorded traces, *.jsonl")
    folder = parser.parse_args().folder
    generated = [Case(t.id, t.label, t.onset, t.steps) for t in traces()]
    stops = compare(generated, "generated traces")
    by_rule(generated)
    beside_peers(generated, stops)
    if folder is not None:
        found = recorded(folder)
        stops = compare(found, "recorded traces")
        by_rule(found)
        beside_peers(found, stops)
        print(after_first_nudge(found))
        solved(found)
    cost()


if __name__ == "__main__":
    main()
