"""A session with a list of tasks as events, as the strategy of that name hands it over. Run it to watch it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from sample_events import Recorder, call, created, finished, thoughts

from agentrunner.types import Event

JSON = dict[str, Any]


def row(id_: str, title: str, status: str = "open", **more: Any) -> JSON:
    facts: JSON = {"id": id_, "title": title, "status": status, "priority": 0, "depends_on": [], "tries": 0}
    return facts | {"branch": "", "result": "", "evidence": [], "reason": "", "merged": []} | more


class Lists(Recorder):
    """Also records the strategy's own calls."""

    acts = 0

    def own(self, name: str, content: str, **arguments: Any) -> None:
        self.acts += 1
        here: JSON = {"step": 1, "branch": "/", "call_id": f"own-{self.acts}", "name": name}
        self.add("tool.started", f"/act:{self.acts}:0", **here, arguments=arguments)
        result: JSON = {"outcome": "ok", "content": content, "truncated_chars": 0, "artifacts": [], "seconds": 0.0}
        self.add("tool.finished", f"/act:{self.acts}:0", **here, **result)

    def rows(self, *tasks: JSON, **more: Any) -> None:
        self.own("tasks", f"{len(tasks)} changed", tasks=[dict(task) for task in tasks], **more)

    def ask(self, step: int, thoughts: JSON | None, calls: list[JSON], **more: Any) -> None:
        super().ask(step, thoughts, calls, **more)
        self.events[-2].data.update(branch=more["branch"], label=more["label"])

    def run(self, step: int, call: JSON, content: str, **more: Any) -> None:
        super().run(step, call, content, **more)
        self.events[-2].data["branch"] = more["branch"]


WALL = "Find out what protects the harbour"
PUMPS = "Find out how the pumps fared in the storm of 2013"
REPORT = "Write report.md with a citation for each statement"
CRITERIA = ["report.md exists", "each statement in it names file and line"]


def task_events(until: str = "") -> list[Event]:
    """Two tasks side by side, one of which fails once, then a third that needed both. `until`: "running", "failed"."""
    listed = Lists("s-20261122-tasks")
    created(listed, strategy="babyagi", goal="Report what protects the harbour from floods")
    listed.ask(1, None, [], branch="/", label="criteria", text='{"criteria": []}')
    listed.ask(2, None, [], branch="/", label="create", text='{"tasks": []}')
    open_criteria = [{"text": text, "met": False, "why": ""} for text in CRITERIA]
    first, second = row("t1", WALL, priority=1), row("t2", PUMPS, priority=2)
    third = row("t3", REPORT, priority=3, depends_on=["t1", "t2"])
    listed.rows(first, second, third, criteria=open_criteria)
    first |= {"status": "running", "tries": 1, "branch": "/t1"}
    second |= {"status": "running", "tries": 1, "branch": "/t2"}
    listed.rows(first, second)
    listed.own("recall", "nothing yet", query=WALL, max_chars=6000)
    search = call("c1", "file_search", query="harbour wall flood")
    listed.ask(3, thoughts("I look into the notes.", ["search", "sum up"]), [search], branch="/t1", label="execute")
    place = {"branch": "/t1"}
    listed.run(3, search, "2 passages from 2 of 20 files", **place)
    pumps = call("c2", "file_search", query="pumps 2013")
    listed.ask(4, thoughts("The pumps are at Mill Basin.", ["search"]), [pumps], branch="/t2", label="execute")
    if until == "running":
        return listed.events
    listed.run(4, pumps, "error: the files cannot be read", outcome="error", branch="/t2")
    end = call("c3", "finish", answer="The wall and the dunes.")
    listed.ask(5, thoughts("That is enough.", []), [end], branch="/t1", label="execute")
    listed.run(5, end, "ok: finished", **place)
    first |= {"status": "done", "priority": 0, "result": "The wall (sea-wall.md, lines 3-4) and the dunes."}
    second |= {"status": "open", "priority": 1, "reason": "the task used up its share of the budget"}
    listed.rows(first, second)
    if until == "failed":
        return listed.events
    second |= {"status": "running", "tries": 2, "branch": "/t2-2"}
    listed.rows(second)
    listed.ask(6, None, [], branch="/t2-2", label="execute", text="Two of three ran for 22 hours.")
    second |= {"status": "set_aside", "priority": 0, "reason": "failed twice: no source names the make"}
    third |= {"status": "running", "tries": 1, "branch": "/t3", "priority": 1, "merged": ["Write the report"]}
    listed.rows(second, third)
    listed.ask(7, None, [], branch="/t3", label="execute", text="report.md is written.")
    third |= {"status": "done", "priority": 0, "result": "report.md has 12 statements, each with file and line."}
    listed.rows(third, criteria=[one | {"met": True, "why": "read"} for one in open_criteria])
    finished(listed, answer="The wall does [t1]; the report is written [t3].", steps=7, artifacts=[])
    return listed.events


def hostile_tasks(text: str) -> list[Event]:
    """A list in which everything that comes from outside is `text`."""
    listed = Lists()
    created(listed, goal="tasks")
    bad = row(text, text, text, depends_on=[text], branch=text, result=text, reason=text, merged=[text])
    listed.rows(bad, criteria=[{"text": text, "met": False, "why": text}])
    listed.rows(row("t1", text, "running", priority=1, branch="/t1", depends_on=[text, text]))
    listed.ask(1, thoughts(text, [text]), [call("c1", text, **{text: text})], branch="/t1", label=text)
    listed.run(1, call("c1", text), text, branch="/t1", outcome=text)
    listed.rows(row("t1", text, "done", result=text))
    finished(listed, answer=text, artifacts=[])
    return listed.events


async def _demo(pace_s: float) -> None:
    import os

    from agentrunner.render.screen import choose_screen

    screen = choose_screen(sys.stderr, os.environ)
    screen.start()
    events = task_events()
    for event in events:
        screen.on_phase({"request.sent": "asking the model"}.get(event.type, "running a command"))
        screen(event)
        await asyncio.sleep(pace_s)
    screen.stop()
    screen.show_result(events[-1], sys.stdout)


if __name__ == "__main__":
    asyncio.run(_demo(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5))
