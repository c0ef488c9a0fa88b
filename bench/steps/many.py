"""Many sessions in one process, beside the same number of bare loops: the engine used as a library.

Each session makes STEPS steps against an endpoint that takes 50 ms for each answer. Run as a script it is one
contender: `python -m bench.steps.many NAME URL_PREFIX SESSIONS`.
"""

import asyncio
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.steps.contenders import GOAL, TOOL
from bench.steps.contenders import read_file as read_one
from bench.steps.measure import environment, prepare

if TYPE_CHECKING:
    from bench.steps.__main__ import Bench

STEPS = 20
WARM = 8
"""Sessions before those that are measured: what is made once for the process is there then."""
DELAY_MS = 50
NAMES = {"openai": "bare openai client", "http": "bare httpx2", "agent": "agentrunner as a library", "floor": "sockets"}


async def openai_loop(url: str, client: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": GOAL}]
    while True:
        answer = await client.with_options(base_url=url).chat.completions.create(
            model="m", messages=messages, tools=[TOOL]
        )
        message = answer.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return
        for call in message.tool_calls:
            result = read_one(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


async def bare_openai(urls: Sequence[str]) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=urls[0], api_key="none", max_retries=0) as client:
        await asyncio.gather(*(openai_loop(url, client) for url in urls))


async def http_loop(url: str, context: Any) -> None:
    import httpx2

    messages: list[Any] = [{"role": "user", "content": GOAL}]
    async with httpx2.AsyncClient(verify=context, timeout=600) as client:
        while True:
            body = {"model": "m", "messages": messages, "tools": [TOOL]}
            answer = await client.post(f"{url}/chat/completions", json=body)
            message = answer.json()["choices"][0]["message"]
            messages.append(message)
            if not message.get("tool_calls"):
                return
            for call in message["tool_calls"]:
                result = read_one(**json.loads(call["function"]["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


async def bare_http(urls: Sequence[str]) -> None:
    """One client for each: a shared pool of 128 connections is slower by far."""
    import ssl

    context = ssl.create_default_context()
    await asyncio.gather(*(http_loop(url, context) for url in urls))


async def floor(urls: Sequence[str]) -> None:
    """Requests of the size that a session has in the middle, and nothing else: what the endpoint can take."""

    async def loop(url: str) -> None:
        _, _, address, path = url.split("/", 3)
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b"x" * 4_000
        head = f"POST /{path}/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for _ in range(STEPS + 1):
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.rpartition(b"Content-Length: ")[2]))
        writer.close()

    await asyncio.gather(*(loop(url) for url in urls))


async def ours(urls: Sequence[str]) -> None:
    """The public way: one journal and one pool of connections for all, and for each session its parts."""
    from agentrunner.engine import Parts, run_session
    from agentrunner.guard.ledger import Ledger
    from agentrunner.journal import GroupedJournal, new_session_id, open_journal
    from agentrunner.llm import ChatModel, Pool
    from agentrunner.strategies import STRATEGIES
    from agentrunner.strategies.prompts import fill_in, load_prompts
    from agentrunner.strategies.wrap_up import facts_of, summary_without_model, wrap_up
    from agentrunner.tools import LocalToolbox, Policy, tool
    from agentrunner.tools.human import finish_tool
    from agentrunner.tools.workspace import Workspace
    from agentrunner.types import Budget, Session

    async def read_file(path: str) -> str:
        """Read a text file."""
        return read_one(path)

    prompts = load_prompts()
    home = Path.cwd().parent / "home"
    tools = [tool(effect="pure")(read_file), finish_tool(Workspace(Path.cwd(), home / "outputs"), None)]

    pool = Pool()

    async def session(url: str, journal: GroupedJournal) -> None:
        toolbox = LocalToolbox(tools, policy=Policy("auto"), outputs=home / "outputs")
        model = ChatModel("m", base_url=url, api_key=None, protocol="tools", pool=pool)
        one = Session(new_session_id(), GOAL, prompts=prompts, tools=toolbox.specs(), template=fill_in)
        parts = Parts(
            model=model,
            toolbox=toolbox,
            ledger=Ledger(Budget(steps=STEPS + 1, seconds=3600.0)),
            wrap_up=wrap_up,
            facts=facts_of,
            summary=summary_without_model,
            clock=time.monotonic,
        )
        created = ("session.created", "", {"goal": GOAL, "strategy": "autogpt", "workspace": str(Path.cwd())})
        end = await run_session(one, STRATEGIES["autogpt"], parts, journal, [], [created])
        assert end.data["steps"] == STEPS + 1, end.data
        await model.aclose()

    with contextlib.closing(open_journal(home)) as journal, contextlib.closing(GroupedJournal(journal)) as grouped:
        await asyncio.gather(*(session(url, grouped) for url in urls))
    await pool.aclose()


LOOPS = {"openai": bare_openai, "http": bare_http, "agent": ours, "floor": floor}


def contend(name: str, prefix: str, sessions: int) -> None:
    """Be one contender: warm up with a few sessions, then run them all and print {seconds, cpu, kb}."""
    loop = LOOPS[name]
    asyncio.run(loop([f"{prefix}-warm-{n}/{STEPS}/0/v1" for n in range(WARM)]))
    urls = [f"{prefix}-{n}/{STEPS}/{DELAY_MS}/v1" for n in range(sessions)]
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    asyncio.run(loop(urls))
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": seconds, "cpu": cpu, "kb": (after.ru_maxrss - before.ru_maxrss) / sessions}))


def concurrently(bench: "Bench", counts: Sequence[int], runs: int) -> None:
    """All in turn, `runs` times, so that a slower moment is slower for all."""
    print(f"{STEPS} steps in each of N sessions in one process, {DELAY_MS} ms for each answer; medians of {runs}\n")
    print("| | sessions | steps per second | CPU ms per step | KB per session |\n| --- | --- | --- | --- | --- |")
    for sessions in counts:
        found: dict[str, list[Any]] = {name: [] for name in LOOPS}
        for run in range(runs):
            for name, of in found.items():
                of.append(_once(bench, name, sessions, f"many-{name}-{sessions}-{run}"))
        steps = sessions * (STEPS + 1)
        for name, of in found.items():
            rate = statistics.median(steps / one["seconds"] for one in of)
            pairs = zip(of, found["openai"], strict=True)
            times = statistics.median(bare["seconds"] / one["seconds"] for one, bare in pairs)
            cpu = statistics.median(one["cpu"] for one in of) / steps * 1000
            kb = statistics.median(one["kb"] for one in of)
            print(f"| {NAMES[name]} | {sessions} | {rate:.0f} ({times:.1f}x) | {cpu:.2f} | {kb:.0f} |", flush=True)
        print(f"| nothing but the wait | {sessions} | {sessions / DELAY_MS * 1000:.0f} | | |", flush=True)
    print()


def _once(bench: "Bench", name: str, sessions: int, label: str) -> Any:
    folder = prepare(bench.folder / label, STEPS)
    prefix = f"http://127.0.0.1:{bench.port}/{label}"
    return _run([sys.executable, "-m", "bench.steps.many", name, prefix, str(sessions)], folder)


def _run(command: Sequence[str], folder: Path) -> Any:
    root = Path(__file__).parents[2]
    env = environment(folder)
    env["PYTHONPATH"] = f"{root / 'src'}:{root}"
    done = subprocess.run(command, cwd=folder / "workspace", env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[3]} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    contend(sys.argv[1], sys.argv[2], int(sys.argv[3]))
