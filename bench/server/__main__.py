"""What the server adds to the time of its model: `python -m bench.server`.

Threads with a run of five answers each, against a scripted endpoint that takes 50 ms for each: from asking for the run
to knowing that it is over, for clients that poll and for clients that stream. Endpoint, server and clients are
processes of their own.
"""

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from bench.server.clients import Client, all_at, official_alone, threads

STEPS = 5
DELAY_MS = 50
MODEL_MS = STEPS * DELAY_MS
HERE = Path(__file__).parent
IDLE_THREADS = 100


@contextlib.contextmanager
def process(command: Sequence[str], folder: Path) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A process, and the first line of what it says."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "AGENT_HOME": str(folder / "home")}
    env |= {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    running = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        yield running, running.stdout.readline()
    finally:
        running.terminate()
        running.communicate(timeout=30)


@contextlib.contextmanager
def server(model_port: int, folder: Path) -> Generator[tuple[int, int, float]]:
    """The port and process id of `agent serve`, and how long it took to start."""
    url = f"http://127.0.0.1:{model_port}/{STEPS}/{DELAY_MS}/v1"
    command = [sys.executable, "-m", "agentrunner", "serve", "--port", "0", "--base-url", url]
    begun = time.perf_counter()
    with process(command, folder) as (running, said):
        took = time.perf_counter() - begun
        found = re.search(r":(\d+)", said)
        if found is None:
            raise SystemExit("agent serve did not start")
        yield int(found[1]), running.pid, took


async def assistant(port: int) -> str:
    """One that searches a vector store with one small file."""
    client = Client(port)
    text = "\n".join(f"line {number} of the file that is searched" for number in range(1, 41))
    _, upload = await client.ask(
        "POST",
        "/uploads",
        {"filename": "lines.txt", "bytes": len(text), "mime_type": "text/plain", "purpose": "assistants"},
    )
    part = await asyncio.to_thread(_add_part, port, upload["id"], text)
    _, done = await client.ask("POST", f"/uploads/{upload['id']}/complete", {"part_ids": [part]})
    _, store = await client.ask("POST", "/vector_stores", {"file_ids": [done["file"]["id"]]})
    while store["status"] != "completed":
        await asyncio.sleep(0.05)
        _, store = await client.ask("GET", f"/vector_stores/{store['id']}")
    resources = {"file_search": {"vector_store_ids": [store["id"]]}}
    wanted = {"model": "m", "tools": [{"type": "file_search"}], "tool_resources": resources}
    _, made = await client.ask("POST", "/assistants", wanted)
    await client.close()
    return str(made["id"])


def _add_part(port: int, upload: str, text: str) -> str:
    import httpx2

    answer = httpx2.post(f"http://127.0.0.1:{port}/v1/uploads/{upload}/parts", files={"data": text.encode()})
    return str(answer.raise_for_status().json()["id"])


def used_s(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


async def model_alone(port: int, count: int) -> list[float]:
    """Seconds that the same requests take without a server between: what the endpoint and the clients can do."""

    async def one() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = time.perf_counter()
        for number in range(STEPS):
            body = b'{"role":"tool"}' * number + b"x" * 4_000
            head = f"POST /{STEPS}/{DELAY_MS}/v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.rpartition(b"Content-Length: ")[2]))
        took = time.perf_counter() - begun
        writer.close()
        return took

    return await asyncio.gather(*(one() for _ in range(count)))


def row(name: str, took: Sequence[float], cpu_ms: float | None = None) -> None:
    ms = sorted(one * 1000 for one in took)
    p50, p95 = statistics.median(ms), ms[max(0, round(len(ms) * 0.95) - 1)]
    cpu = "" if cpu_ms is None else f"{cpu_ms:.1f}"
    print(f"| {name} | {p50:.0f} ({p50 / MODEL_MS:.2f}) | {p95:.0f} ({p95 / MODEL_MS:.2f}) | {cpu} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument(
        "--apart-ms", type=float, nargs="*", default=[0.0, 25.0, 50.0, 100.0], help="between their beginnings"
    )
    arguments = parser.parse_args()
    count = arguments.threads
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        _, said = stack.enter_context(process([sys.executable, str(HERE / "endpoint.py")], folder))
        port, pid, took = stack.enter_context(server(int(said), folder))
        print(f"agent serve: ready after {took:.2f} s")
        id_ = asyncio.run(assistant(port))
        asyncio.run(threads(Client(port), IDLE_THREADS))
        print(f"with {IDLE_THREADS} idle threads: at most {peak_mb(pid):.0f} MB\n")
        asyncio.run(all_at(port, "polling", id_, 8, 0))  # what is made once for the process is there then
        print(
            f"{count} threads, {STEPS} answers of {DELAY_MS} ms in each run, ms and times the model's {MODEL_MS} ms\n"
        )
        print("| | p50 | p95 | CPU ms of the server per answer |\n| --- | --- | --- | --- |")
        row("the endpoint alone", asyncio.run(model_alone(int(said), count)))
        idle = f"http://127.0.0.1:{said.strip()}/{STEPS}/{DELAY_MS}/v1"
        row("OpenAI's client before a server without work", asyncio.run(official_alone(idle, count)))
        for apart_ms in arguments.apart_ms:
            for how in ("polling", "streaming"):
                before = used_s(pid)
                found = asyncio.run(all_at(port, how, id_, count, apart_ms / 1000))
                row(f"{how}, {apart_ms:g} ms apart", found, (used_s(pid) - before) / count / STEPS * 1000)
        print(f"\nafter all of them: at most {peak_mb(pid):.0f} MB")


if __name__ == "__main__":
    main()
