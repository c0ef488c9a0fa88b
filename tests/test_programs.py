"""`docs/programs.md` says what `--json` prints and what a script may hold."""

import re
from dataclasses import fields
from pathlib import Path

import yaml

from agentrunner.llm.script_format import Entry
from tests.support.program import JSON, Agent, finish, says

PAGE = (Path(__file__).parent.parent / "docs" / "programs.md").read_text(encoding="utf-8")
ENVELOPE = {"v", "seq", "at", "session_id", "type"}
LATER = {"forked_from"}
"""Keys that an event has only sometimes."""


def documented() -> dict[str, set[str]]:
    """Keys by type of event: the words in backquotes, without what stands in brackets behind them."""
    rows = re.findall(r"^\| `([a-z]+\.[a-z]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    return {type_: set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", keys))) - LATER for type_, keys in rows}


def every_kind_of_event(agent: Agent) -> list[JSON]:
    again = says("read_file", path="a.txt")
    script = agent.script(
        {"error": {"status": 429, "retry_after_s": 0.01}},
        *[again] * 4,
        says("ask_user", question="Which?"),
        finish(),
        finish("again"),
    )
    asked = agent("run", "x", "--script", script, "--json")
    answered = agent("resume", "--last", "--answer", "this", "--add-steps", "3", "--json")
    more = agent("resume", "--last", "and more", "--json")
    assert (asked.code, answered.code, more.code) == (10, 0, 0)
    fork = agent("sessions", "fork", agent.session(), "--at-step", "1").out.strip()
    forked = agent("sessions", "export", fork).events
    return [*asked.events, *answered.events, *more.events, *(one for one in forked if one["type"] == "session.forked")]


def test_each_event_has_the_keys_that_are_documented(agent: Agent) -> None:
    told = documented()
    events = every_kind_of_event(agent)
    assert {event["type"] for event in events} == set(told)
    for event in events:
        assert {key for key in event if not key.startswith("_")} - ENVELOPE == told[event["type"]], event["type"]


def test_each_key_of_a_script_is_documented_and_the_example_plays(agent: Agent) -> None:
    table = PAGE.partition("| key | |")[2]
    known = {field.name for field in fields(Entry)} - {"problem"}  # only recordings have it
    assert known <= set(re.findall(r"`(\w+)", table))
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    done = agent("run", "write a greeting", "--script", agent.script(*yaml.safe_load(example)), "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith("The first command said: wrote hello.txt")
