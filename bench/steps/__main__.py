"""What a step costs, beside the same job by other means: `python -m bench.steps [--peers PYTHON]`.

Everything is measured in one run against one scripted endpoint on loopback, which sits in a process of its own and
takes the times: from an answer on its way to the next request having arrived, so its own work is left out.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.steps.many import concurrently
from bench.steps.measure import HERE, Run, endpoint, floor_us, prepare, run

NAMES = {
    "openai": "bare openai client",
    "http": "bare httpx2",
    "pydantic-ai": "pydantic-ai",
    "langgraph": "langgraph + SqliteSaver",
    "agent": "agent run",
}
GOAL = "Read every file in lines/ and say when you are done."
_numbers = itertools.count(1)


class Bench:
    """One endpoint, one folder, and the interpreters."""

    def __init__(self, port: int, folder: Path, peers: str | None) -> None:
        self.port = port
        self.folder = folder
        self.peers = peers

    def contenders(self) -> list[str]:
        return [name for name in NAMES if self.peers or name not in ("pydantic-ai", "langgraph")]

    def once(self, contender: str, steps: int) -> Run:
        name = f"{contender}-{next(_numbers)}"
        folder = prepare(self.folder / name, steps)
        url = f"http://127.0.0.1:{self.port}/{name}/{steps}/0/v1"
        if contender == "agent":
            return run(agent("run", GOAL, "--base-url", url, "--max-steps", str(steps + 1)), folder, self.port, name)
        python = self.peers if self.peers and contender in ("pydantic-ai", "langgraph") else sys.executable
        script = str(HERE / "contenders.py")
        return run([str(python), script, contender, url, str(steps)], folder, self.port, name)

    def resumed(self, steps: int) -> float:
        """Seconds from starting `agent resume` to its next request, in a session that has made this many steps."""
        name = f"resume-{next(_numbers)}"
        folder = prepare(self.folder / name, steps)
        url = f"http://127.0.0.1:{self.port}/{name}/{steps + 1}/0/v1"
        run(agent("run", GOAL, "--base-url", url, "--max-steps", str(steps)), folder, self.port, name)
        url = f"http://127.0.0.1:{self.port}/{name}/0/0/v1"
        again = agent("resume", "--last", "--base-url", url, "--add-steps", "2")
        return run(again, folder, self.port, name).first_request_s


def agent(command: str, *arguments: str) -> list[str]:
    new = ["--model", "m", "--workspace", ".", "--max-time", "100h"] if command == "run" else []
    return [sys.executable, "-m", "agentrunner", command, *arguments, *new]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |", flush=True)
    print(flush=True)


def cold_starts(bench: Bench, runs: int) -> dict[str, Run]:
    """In turn, so that a slower moment is slower for all. Returns the run of one step that each median comes from."""
    times: dict[str, list[Run]] = {name: [] for name in bench.contenders()}
    for _ in range(runs):
        for name, of in times.items():
            of.append(bench.once(name, 1))
    middle = {name: sorted(of, key=lambda one: one.first_request_s)[len(of) // 2] for name, of in times.items()}
    bare = [one.first_request_s for one in times["openai"]]
    rows: list[list[str]] = []
    for name, of in times.items():
        pairs = [one.first_request_s / other for one, other in zip(of, bare, strict=True)]
        rows.append([NAMES[name], f"{middle[name].first_request_s:.2f}", f"{statistics.median(pairs):.2f}x"])
    print(f"Cold start, from starting the process to its first request; medians of {runs}, ratios of pairs\n")
    table(("", "s", "to bare openai"), rows)
    return middle


def by_length(bench: Bench, lengths: Sequence[int], first: dict[str, Run]) -> None:
    print("Milliseconds from an answer to the next request, around step N (the last tenth before it)\n")
    runs = {name: {n: bench.once(name, n) for n in lengths} for name in bench.contenders()}
    longest = max(lengths)
    rows: list[list[str]] = []
    for name, of in runs.items():
        cells: list[str] = []
        for n in lengths:
            mine, bare = of[n].at(n), runs["openai"][n].at(n)
            cells.append(f"{mine:.2f} ({mine / bare:.3f}x)")
        rows.append([NAMES[name], *cells, f"{of[longest].growth:.1f}x"])
    table(("", *(f"N = {n}" for n in lengths), f"growth to {longest}, last 100 / first 100"), rows)
    print("Processor time per step, peak memory and bytes of all requests\n")
    rows = []
    for name, of in runs.items():
        cpu = [f"{(of[n].cpu_s - first[name].cpu_s) / (n - 1) * 1000:.2f}" for n in lengths]
        size = [f"{of[n].prompt_bytes / 1e6:.2f}" for n in lengths]
        memory = [f"{one.peak_mb:.0f}" for one in (first[name], *(of[n] for n in lengths))]
        rows.append([NAMES[name], *cpu, *memory, *size])
    head = [f"{what} N = {n}" for what in ("CPU ms", "MB", "requests MB") for n in lengths]
    head.insert(1 + len(lengths) - 1, "MB N = 1")
    table(("", *head), rows)


def journal(bench: Bench, first: Run, lengths: Sequence[int]) -> None:
    """Bytes per step of the database as it lies on disk after the run, less what a session of one step takes."""
    print("The journal\n")
    base = size_of(first)
    rows: list[list[str]] = []
    for n in lengths:
        grown = size_of(bench.once("agent", n)) - base
        rows.append([str(n), f"{grown / (n - 1):.0f}"])
    table(("steps", "bytes per step"), rows)


def size_of(one: Run) -> int:
    return sum(path.stat().st_size for path in (one.folder / "home").glob("agent.db*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that has pydantic-ai and langgraph")
    parser.add_argument("--lengths", type=int, nargs="+", default=[50, 200, 1000], metavar="N")
    parser.add_argument("--runs", type=int, default=5, help="cold starts of each; at most three of many sessions")
    parser.add_argument("--sessions", type=int, nargs="+", default=[32, 128], metavar="N")
    parser.add_argument("--only", choices=("cold", "steps", "journal", "resume", "sessions"), nargs="+")
    given = parser.parse_args()
    parts = given.only or ("cold", "steps", "journal", "resume", "sessions")
    with endpoint() as port, tempfile.TemporaryDirectory() as folder:
        bench = Bench(port, Path(folder), given.peers)
        print(f"The endpoint itself: {floor_us(port, 1_000):.0f} us per request of 1 KB, ", end="")
        print(f"{floor_us(port, 300_000):.0f} us of 300 KB; not in the times below.\n", flush=True)
        first = {} if parts == ["sessions"] else cold_starts(bench, given.runs if "cold" in parts else 1)
        if "steps" in parts:
            by_length(bench, given.lengths, first)
        if "journal" in parts:
            journal(bench, first["agent"], (100, 1000))
        if "resume" in parts:
            resumed, cold = bench.resumed(max(given.lengths)), first["agent"].first_request_s
            print(f"`agent resume` after {max(given.lengths)} steps, to its next request: {resumed:.2f} s; ", end="")
            print(f"a new session: {cold:.2f} s; 1.3 times that and 0.3 s: {1.3 * cold + 0.3:.2f} s\n", flush=True)
        if "sessions" in parts:
            concurrently(bench, given.sessions, min(3, given.runs))


if __name__ == "__main__":
    main()
