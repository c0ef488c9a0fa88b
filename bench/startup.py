"""How long `agent run` takes to its first request, beside a bare script with the openai client.

Both are whole processes against one loopback endpoint; the time is from starting the process to the endpoint seeing the
request. Runs alternate, so that a slower machine is slower for both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BARE = """
from openai import OpenAI
client = OpenAI(base_url={url!r}, api_key="none", max_retries=0)
client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hello"}}])
"""
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "done"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
}


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: float = 0.0

    def do_POST(self) -> None:
        Endpoint.seen = time.perf_counter()
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


def first_request_s(command: list[str], folder: str) -> float:
    environment = {"PATH": os.environ["PATH"], "HOME": folder, "AGENT_HOME": f"{folder}/home"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return Endpoint.seen - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE.format(url=url))
        commands = {
            "bare openai client": [sys.executable, str(bare)],
            "agent run": [sys.executable, "-m", "agentrunner", "run", "hello", "--base-url", url, "--model", "m"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(runs + 1):
            for name, command in commands.items():
                seconds = first_request_s(command, folder)
                if run:
                    times[name].append(seconds)
        help_times: list[float] = []
        for _ in range(runs):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "agentrunner", "--help"], check=True, capture_output=True)
            help_times.append(time.perf_counter() - start)
    for name, seconds in times.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{name:<20} to first request: {middle:.3f} s (min {low:.3f}, max {high:.3f})")
    ratio = statistics.median(a / b for a, b in zip(times["agent run"], times["bare openai client"], strict=True))
    print(f"ratio, median of pairs: {ratio:.2f}")
    print(f"agent --help: {statistics.median(help_times) * 1000:.0f} ms (min {min(help_times) * 1000:.0f})")


if __name__ == "__main__":
    main()
