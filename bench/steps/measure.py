"""Running one contender as a process and reading off what it cost: the endpoint's log, its processor time, its peak."""

import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One process from its start to its end. `gaps_ms[k]`: from answer k on its way to request k + 1 having arrived."""

    first_request_s: float
    gaps_ms: Sequence[float]
    cpu_s: float
    peak_mb: float
    prompt_bytes: int
    folder: Path

    def at(self, step: int) -> float:
        """Milliseconds per step around this one: the median of the last tenth before it, at least five."""
        return statistics.median(self.gaps_ms[max(0, step - max(5, step // 10)) : step])

    @property
    def growth(self) -> float:
        """The last hundred steps over the first hundred."""
        return statistics.mean(self.gaps_ms[-100:]) / statistics.mean(self.gaps_ms[:100])


@contextmanager
def endpoint() -> Generator[int]:
    """The port of a scripted endpoint in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.stdin.close()
        server.wait(10)


def seen(port: int, name: str) -> list[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/{name}/log")
    log = json.loads(connection.getresponse().read())
    connection.close()
    return log


def prepare(folder: Path, files: int) -> Path:
    """A place to work in, with the small files that are read there: what a tool costs is not the question."""
    place = folder / "workspace" / "lines"
    place.mkdir(parents=True)
    for n in range(1, files + 1):
        (place / f"{n:04d}.txt").write_text(f"{n:05d} {n * 2654435761 % 2**64:020d}\n")
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **{name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
        "AGENT_HOME": str(folder / "home"),
        # None of the others compacts, so ours must not either.
        "AGENT_CONTEXT_WINDOW": "100000000",
    }


def run(command: Sequence[str], folder: Path, port: int, name: str) -> Run:
    """Run it to its end. Raises when it fails: a contender that gave up early would look quick."""
    errors = folder / "errors.txt"
    with errors.open("w") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder / "workspace", env=environment(folder), stdout=subprocess.DEVNULL, stderr=stderr
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 5):  # 5: ours, stopped by its limit of steps, for the resume that follows
        raise SystemExit(f"{name} failed with {process.returncode}:\n{errors.read_text()[-2000:]}")
    log = seen(port, name)
    gaps = [(after[0] - before[1]) * 1000 for before, after in itertools.pairwise(log)]
    cpu = usage.ru_utime + usage.ru_stime
    return Run(log[0][0] - started, gaps, cpu, usage.ru_maxrss / 1024, sum(size for _, _, size in log), folder)


def floor_us(port: int, body_bytes: int) -> float:
    """What a request costs that nobody works on: the endpoint, the loopback, and the smallest client there is."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = b"x" * body_bytes
    times: list[float] = []
    for _ in range(200):
        start = time.perf_counter()
        connection.request("POST", "/floor/1000/0/v1/chat/completions", body)
        connection.getresponse().read()
        times.append(time.perf_counter() - start)
    connection.close()
    log = seen(port, "floor")
    return statistics.median(sent - came for came, sent, _ in log) * 1e6
