"""A realistic session as a list of events, for everything that shows sessions. Run it to watch it on a terminal."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from agentrunner.types import Event

SESSION = "s-20261122-7f3a9c"
GOAL = "Find the most important insights in this data and visualise them"

CODE_LOOK = """import pandas as pd

table = pd.read_csv("penguins.csv")
print(table.shape)
print(table.isna().sum())
table.describe()"""

OUTPUT_LOOK = """ok
(344, 8)
species               0
island                0
bill_length_mm        2
bill_depth_mm         2
flipper_length_mm     2
body_mass_g           2
sex                  11
year                  0
dtype: int64
       bill_length_mm  bill_depth_mm  flipper_length_mm  body_mass_g         year
count      342.000000     342.000000         342.000000   342.000000   344.000000
mean        43.921930      17.151170         200.915205  4201.754386  2008.029070"""

CODE_PLOT = """import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(8, 5))
for species, group in table.groupby("species"):
    axes.scatter(group["flipper_length_mm"], group["body_mass_g"], label=species, alpha=0.7)
axes.set_xlabel("flipper length (mm)")
axes.set_ylabel("body mass (g)")
axes.legend()
figure.savefig("insights.png", dpi=150)
slope = table["flipper_length_mm"].corr(table["body_mass_g"])
print(f"correlation {slope:.3f}")"""

TRACEBACK = """error: the cell raised KeyError
Traceback (most recent call last):
  File "<cell 2>", line 3, in <module>
    table.groupby("Species")["body_mass_g"].mean()
KeyError: 'Species'"""

ANSWER = """**Three findings** in 344 penguins:

1. Heavier penguins have longer flippers: the correlation is 0.871.
2. Gentoo are the heaviest species: 5,076 g on average, against 3,701 g for Adelie.
3. 11 birds have no recorded sex, so comparisons by sex leave out 3 % of the table.

The plot is in `insights.png`."""

PLAN = ["look at the table", "compare the species", "draw the strongest relation", "write up the findings"]


class Recorder:
    """Builds events in order, numbered, a second apart."""

    def __init__(self, session_id: str = SESSION) -> None:
        self.session_id = session_id
        self.events: list[Event] = []

    def add(self, kind: str, key: str = "", /, **data: Any) -> None:
        seq = len(self.events) + 1
        at = f"2026-11-22T10:{seq // 60:02}:{seq % 60:02}.000Z"
        self.events.append(Event(self.session_id, seq, at, kind, key, data))

    def ask(self, step: int, thoughts: dict[str, Any] | None, calls: list[dict[str, Any]], **more: Any) -> None:
        """A request and its answer."""
        here: dict[str, Any] = {"step": step, "branch": "", "label": "step"}
        bounds = {"reserved_usd": 0.04, "input_tokens_bound": 5200, "max_output_tokens": 16384}
        self.add("request.sent", f"/llm:{step}", **here, digest="3f" * 16, **bounds)
        usage = {"input_tokens": 3000 + 900 * step, "cached_tokens": 2000, "output_tokens": 310, "reasoning_tokens": 0}
        answer: dict[str, Any] = {"model": "gpt-5-mini", "thoughts": thoughts, "plan_changed": None, "text": ""}
        answer |= {"tool_calls": calls, "usage": usage, "cost_usd": 0.003, "spent_usd": 0.0031 * step, "seconds": 2.4}
        self.add("completion.received", f"/llm:{step}", **(here | answer | more))

    def run(self, step: int, call: dict[str, Any], content: str, **more: Any) -> None:
        """A tool call and its result."""
        here: dict[str, Any] = {"step": step, "branch": "", "call_id": call["id"], "name": call["name"]}
        self.add("tool.started", f"/tool:{step}:0", **here, arguments=call["arguments"])
        result: dict[str, Any] = {"outcome": "ok", "content": content, "truncated_chars": 0, "artifacts": []}
        self.add("tool.finished", f"/tool:{step}:0", **(here | result | {"seconds": 0.31} | more))


def thoughts(text: str, plan: list[str], criticism: str = "", revise: bool = False) -> dict[str, Any]:
    reasoning = "The table is small, so one cell can read all of it; figures come from what the code prints."
    return {"text": text, "reasoning": reasoning, "plan": plan, "criticism": criticism, "revise": revise}


def call(call_id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "name": name, "arguments": arguments}


PICTURE = {"path": "insights.png", "bytes": 49_312, "sha256": "ab" * 32}


def created(recorder: Recorder, **more: Any) -> None:
    facts: dict[str, Any] = {
        "goal": GOAL,
        "strategy": "autogpt",
        "model": "gpt-5-mini",
        "budget": {"steps": 50, "usd": 1.0, "tokens": None, "seconds": 1800},
        "workspace": "/home/ada/penguins/workspace",
        "sandbox": "FULL",
        "files": ["penguins.csv"],
        "notes": [],
        "dry_run": False,
    }
    recorder.add("session.created", **(facts | more))
    recorder.add("session.claimed", owner="host:4242")


def finished(recorder: Recorder, **more: Any) -> None:
    usage = {"input_tokens": 21_000, "cached_tokens": 8000, "output_tokens": 1240, "reasoning_tokens": 0}
    facts: dict[str, Any] = {
        "status": "completed",
        "reason": "goal_met",
        "exit_code": 0,
        "answer": ANSWER,
        "artifacts": [PICTURE],
        "pending": [],
        "steps": 4,
        "spent_usd": 0.0124,
        "guaranteed": True,
        "usage": usage,
        "seconds": 41.2,
        "resumable": True,
    }
    recorder.add("session.finished", **(facts | more))


def session_events() -> list[Event]:
    """Four steps: look, a mistake that revises the plan, a plot after a 429, finish."""
    recorder = Recorder()
    created(recorder)
    look = call("call_1", "python", code=CODE_LOOK)
    first = thoughts("I start by looking at the table's columns and gaps.", PLAN, "I do not know the columns yet.")
    recorder.ask(1, first, [look])
    recorder.run(1, look, OUTPUT_LOOK, truncated_chars=2210)
    compare = call("call_2", "python", code='table.groupby("Species")["body_mass_g"].mean()')
    worried = "Means alone hide the relation between size and flipper; the plan has no step for it."
    recorder.ask(2, thoughts("Now I compare the species by weight.", PLAN[1:], worried, True), [compare])
    recorder.run(2, compare, TRACEBACK, outcome="error", seconds=0.04)
    recorder.add(
        "request.failed",
        "/llm:3",
        step=3,
        branch="",
        label="step",
        attempt=1,
        status=429,
        message="Rate limit reached",
        retry_in_s=2.0,
    )
    plot = call("call_3", "python", code=CODE_PLOT)
    note = call("call_4", "write_file", path="notes.md", content="# Notes\n\nGentoo are the heaviest.\n")
    better = ["use the column name species", "correlate size with flipper length", *PLAN[2:]]
    recorder.ask(3, thoughts("The column is lower case; I plot size against flippers.", better), [plot, note])
    recorder.events[-1].data["plan_changed"] = True
    recorder.run(3, plot, "ok\ncorrelation 0.871", artifacts=[PICTURE], seconds=1.92)
    recorder.run(3, note, "ok: wrote notes.md, 34 bytes", seconds=0.002)
    end = call("call_5", "finish", answer=ANSWER, artifacts=["insights.png"], outcome="done")
    recorder.ask(4, thoughts("Everything asked for exists.", better[-1:]), [end])
    recorder.run(4, end, "ok: finished", seconds=0.001)
    finished(recorder)
    return recorder.events


def stopped_events() -> list[Event]:
    """A weak sandbox, a refused and an unknown call, a guard verdict, and no steps left."""
    recorder = Recorder("s-20261122-stopped")
    notes = ["no network namespace: outgoing connections are blocked by seccomp only", "web tools are switched off"]
    budget = {"steps": 3, "usd": 0.05, "tokens": 20_000, "seconds": None}
    created(recorder, sandbox="PARTIAL", notes=notes, budget=budget, goal="\n".join(f"line {n}" for n in range(1, 20)))
    fetch = call("call_1", "web_fetch", url="http://203.0.113.7/leak?q=1")
    recorder.ask(1, None, [fetch], text="I fetch the page.")
    here: dict[str, Any] = {"step": 1, "branch": "", "call_id": "call_1"}
    recorder.add("human.asked", call_id="call_1", kind="approval", question="web_fetch wants to reach 203.0.113.7")
    recorder.add("human.answered", call_id="call_1", answer="n", granted=False)
    denied = "denied: the user refused this call"
    recorder.add("tool.finished", **here, name="web_fetch", outcome="denied", content=denied, artifacts=[], seconds=0)
    shell = call("call_2", "shell", command="seq 1 500")
    recorder.ask(2, None, [shell])
    recorder.run(2, shell, "\n".join(str(n) for n in range(500)), seconds=0.02)
    recorder.run(
        2, call("call_9", "shell", command="make"), "unknown: it was running when we stopped", outcome="unknown"
    )
    recorder.add(
        "guard.verdict",
        step=2,
        branch="",
        action="replan",
        rule="same-call",
        reason="the same call gave the same result 3 times",
        evidence=[1, 2],
    )
    recorder.add("conversation.compacted", stubbed=4, summarised=12)
    recorder.ask(3, None, [], text="I could not finish.")
    recorder.add("request.sent", step=None, branch="", label="wrap_up")
    summary = "Listed 500 numbers; the page was not fetched."
    finished(
        recorder,
        status="incomplete",
        reason="budget_steps",
        exit_code=5,
        answer=summary,
        artifacts=[],
        steps=3,
        guaranteed=False,
    )
    return recorder.events


def hostile_events(text: str) -> list[Event]:
    """A session in which everything that comes from outside is `text`."""
    recorder = Recorder()
    created(recorder, goal=text, model=text, sandbox=text, notes=[text], files=[text], workspace=text, strategy=text)
    bad = call("call_1", text, code=text, **{text: text})
    cell = call("call_2", "python", code=text)
    here: dict[str, Any] = {"step": 1, "branch": text, "call_id": text}
    deliberation = {"text": text, "reasoning": text, "plan": [text, text], "criticism": text, "revise": True}
    recorder.ask(1, deliberation, [bad, cell], text=text, branch=text, model=text)
    for each in (bad, cell):
        recorder.run(1, each, text, artifacts=[{"path": text, "bytes": 3, "sha256": "0"}, text], outcome="error")
    recorder.add("tool.finished", **here, name=text, outcome=text, content=text, artifacts=[text], seconds=0)
    recorder.add("request.failed", step=1, branch="", label=text, attempt=1, status=500, message=text, retry_in_s=None)
    recorder.add("guard.verdict", step=1, branch="", action="nudge", rule=text, reason=text, evidence=[1])
    recorder.add("human.asked", call_id=text, kind="approval", question=text)
    recorder.add("human.answered", call_id=text, answer=text, granted=False)
    recorder.add("message.added", text=text)
    recorder.add("unheard.of", text=text)
    pending = [{"call_id": text, "kind": "approval", "question": text}]
    made = [{"path": text, "bytes": 3, "sha256": "0"}]
    finished(recorder, answer=text, reason=text, status=text, pending=pending, artifacts=made)
    return recorder.events


async def _demo(pace_s: float, ask: bool) -> None:
    import os

    from agentrunner.render.screen import choose_screen

    screen = choose_screen(sys.stderr, os.environ)
    screen.start()
    events = stopped_events() if ask else session_events()
    for event in events[:-1]:
        screen.on_phase(
            {"request.sent": "asking the model", "tool.started": "running the command"}.get(event.type, "…")
        )
        screen(event)
        if event.type == "request.sent":
            for word in (
                "Now",
                "I",
                "am",
                "writing",
                "an",
                "answer",
                "to",
                "show",
                "what",
                "a",
                "stream",
                "looks",
                "like",
            ):
                screen.on_delta(f"{word} ")
                await asyncio.sleep(pace_s / 10)
        if ask and event.type == "human.asked":
            answer = await screen.ask("approval", event.data["question"])
            screen.remark(f"answered {answer!r}")
        await asyncio.sleep(pace_s)
    screen(events[-1])
    screen.stop()
    screen.show_result(events[-1], sys.stdout)


if __name__ == "__main__":
    asyncio.run(_demo(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5, "ask" in sys.argv))
