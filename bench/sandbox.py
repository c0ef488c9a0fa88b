"""How long a program takes to start behind each wall, beside the same program without one; and a cell's round trip.

Every round starts each of them once, so that a slower machine is slower for all. Times are from asking for the program
to having its exit code, without opening the sandbox, which a session does once. The ratio is the median of the rounds'.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from agentrunner.errors import SandboxError
from agentrunner.sandbox import Sandbox, open_sandbox

PROGRAM = [sys.executable, "-c", "pass"]
CELLS = 200
WALLS: tuple[tuple[Literal["full", "partial"], Literal["auto", "native", "bwrap"]], ...] = (
    ("full", "native"),
    ("full", "bwrap"),
    ("partial", "auto"),
)


def plain_s() -> float:
    start = time.perf_counter()
    subprocess.run(PROGRAM, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - start


async def sandboxed_s(sandbox: Sandbox) -> float:
    start = time.perf_counter()
    ran = await sandbox.run(PROGRAM)
    assert ran.exit_code == 0, ran
    return time.perf_counter() - start


async def cell_s(sandbox: Sandbox) -> list[float]:
    interpreter = await sandbox.interpreter()
    times: list[float] = []
    for _ in range(CELLS):
        start = time.perf_counter()
        cell = await interpreter.execute("1 + 1", 10)
        assert cell.value == "2", cell
        times.append(time.perf_counter() - start)
    return times


async def measure(boxes: dict[str, Sandbox], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ("plain", *boxes)}
    for turn in range(rounds + 1):
        times["plain"].append(plain_s())
        for name, box in boxes.items():
            times[name].append(await sandboxed_s(box))
        if not turn:  # the first one reads everything from the disk
            for found in times.values():
                found.clear()
    for name, found in times.items():
        low, middle, high = (1000 * value for value in (min(found), statistics.median(found), max(found)))
        ratio = statistics.median(a / b for a, b in zip(found, times["plain"], strict=True))
        print(f"{name:<20} python -c pass: {middle:5.1f} ms (min {low:.1f}, max {high:.1f}), {ratio:.2f} of plain")
    for name, box in boxes.items():
        cells = [1000 * seconds for seconds in await cell_s(box)]
        worst = statistics.quantiles(cells, n=20)[-1]
        print(f"{name:<20} a cell: {statistics.median(cells):.2f} ms (95 % under {worst:.2f})")
        await box.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    rounds = parser.parse_args().runs
    boxes: dict[str, Sandbox] = {}
    with tempfile.TemporaryDirectory() as folder:
        for level, launcher in WALLS:
            try:
                box = open_sandbox(Path(folder), level=level, launcher=launcher)
            except SandboxError as refused:
                print(f"{level} {launcher}: skipped, {refused}")
            else:
                boxes[f"{box.level} by {box.launcher}"] = box
        asyncio.run(measure(boxes, rounds))


if __name__ == "__main__":
    main()
