"""What people get wrong: one line on standard error, the right exit code, nothing lost and nothing half made."""

import os
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.support.endpoint import Endpoint, error, text
from tests.support.program import Agent, Done, finish, writes


def one_line(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def sessions(agent: Agent) -> list[str]:
    return agent("sessions", "list", "--json").out.splitlines()


def test_no_key_for_a_public_endpoint(agent: Agent) -> None:
    one_line(agent("run", "hello"), 2, "OPENAI_API_KEY", "--dry-run")
    assert sessions(agent) == []


def test_a_wrong_key(agent: Agent) -> None:
    with Endpoint([text("x")], key="right") as endpoint:
        done = agent("run", "hi", "--base-url", endpoint.base_url, "--quiet", env={"OPENAI_API_KEY": "wrong"})
    one_line(done, 3, "401")


def test_an_unknown_model(agent: Agent) -> None:
    with Endpoint([error(404, "The model 'gpt-x' does not exist")]) as endpoint:
        done = agent("run", "hi", "--base-url", endpoint.base_url, "--model", "gpt-x", "--quiet")
    one_line(done, 3, "404", "gpt-x")


def test_an_endpoint_that_is_not_there(agent: Agent) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = agent(
        "run", "hi", "--base-url", f"http://127.0.0.1:{port}/v1", "--quiet", "--model", "m", env={"AGENT_RETRIES": "1"}
    )
    one_line(done, 3, str(port))


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_file_that_cannot_be_read(agent: Agent, name: str) -> None:
    one_line(agent("run", "hi", "--dry-run", "--file", name), 2, repr(name))
    assert not agent.workspace.exists()


def test_a_workspace_that_is_a_file(agent: Agent) -> None:
    (agent.folder / "w").write_text("x")
    one_line(agent("run", "hi", "--dry-run", "--workspace", "w"), 2, "not a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_cannot_be_written(agent: Agent) -> None:
    agent.workspace.mkdir(mode=0o500)
    one_line(agent("run", "hi", "--dry-run"), 2, "not writable")


@pytest.mark.parametrize("place", ["/", "~"])
def test_a_workspace_that_is_too_much(agent: Agent, place: str) -> None:
    where = str(agent.folder) if place == "~" else place
    one_line(agent("run", "hi", "--dry-run", "--workspace", where), 2, "workspace")


def test_an_unknown_option_in_agent_toml(agent: Agent) -> None:
    (agent.folder / "agent.toml").write_text("max_stepz = 3\n")
    one_line(agent("run", "hi", "--dry-run"), 2, "max_stepz", "max_steps")


def test_an_unknown_option_on_the_command_line(agent: Agent) -> None:
    one_line(agent("run", "hi", "--max-stepz", "3"), 2, "--max-stepz", "--max-steps,", "'agent run --help'")


def test_an_unknown_command(agent: Agent) -> None:
    one_line(agent("runn", "hi"), 2, "runn", "'agent --help'")


@pytest.mark.parametrize(
    "command", [("run", "hi", "--sandbox", "ful"), ("sandbox", "run", "--sandbox", "ful", "--", "true")]
)
def test_a_word_that_an_option_does_not_know(agent: Agent, command: tuple[str, ...]) -> None:
    one_line(agent(*command), 2, "--sandbox", "'ful' is not one of 'auto', 'full'", "--help'")


@pytest.mark.parametrize("value", ["ten", "-1", "1.5"])
def test_a_limit_that_is_no_number(agent: Agent, value: str) -> None:
    one_line(agent("run", "hi", "--dry-run", f"--max-steps={value}"), 2, value)


@pytest.mark.parametrize("goal", ["", "   ", "\n"])
def test_an_empty_goal(agent: Agent, goal: str) -> None:
    one_line(agent("run", "--goal", goal, "--dry-run"), 2, "empty")


def test_no_goal(agent: Agent) -> None:
    one_line(agent("run", "--dry-run"), 2, "no goal")


def test_a_goal_of_a_megabyte(agent: Agent) -> None:
    one_line(agent("run", "-", "--dry-run", stdin=b"x" * 1_000_000), 2, "--file")


def test_a_script_that_is_not_there(agent: Agent) -> None:
    one_line(agent("run", "hi", "--script", "missing.yaml"), 2, "missing.yaml")


def test_a_script_with_an_unknown_key(agent: Agent) -> None:
    one_line(agent("run", "hi", "--script", agent.script({"txt": "hi"})), 2, "txt")


def test_a_script_that_runs_out(agent: Agent) -> None:
    done = agent("run", "hi", "--script", agent.script(writes("a.txt")), "--quiet")
    one_line(done, 1, "script", "step 2")
    assert len(sessions(agent)) == 1


def test_a_script_whose_expectation_does_not_hold(agent: Agent) -> None:
    done = agent("run", "hi", "--script", agent.script(finish() | {"expect": "moon"}), "--quiet")
    one_line(done, 1, "moon")


@pytest.mark.parametrize("placeholder", ["{{result.9}}", "{{result#/rows}}", "{{reslut}}"])
def test_a_script_that_quotes_what_is_not_there(agent: Agent, placeholder: str) -> None:
    script = agent.script(writes("a.txt"), finish(placeholder))
    done = agent("run", "hi", "--script", script, "--quiet")
    one_line(done, 1, placeholder.strip("{}"))


def test_an_unknown_session(agent: Agent) -> None:
    one_line(agent("resume", "nothing-like-it"), 2, "nothing-like-it")


def test_an_answer_to_no_question(agent: Agent) -> None:
    agent("run", "hi", "--script", agent.script(finish()))
    one_line(agent("resume", "--last", "--answer", "y"), 2, "no open question")


def test_a_corrupt_database(agent: Agent) -> None:
    agent.replayable = False
    agent("run", "hi", "--script", agent.script(finish()))
    for path in agent.home.glob("agent.db*"):
        path.unlink()
    (agent.home / "agent.db").write_bytes(b"this is not a database" * 500)
    one_line(agent("run", "hi", "--dry-run"), 2, "agent.db")


def test_a_database_of_a_newer_version(agent: Agent) -> None:
    agent.replayable = False
    agent("run", "hi", "--script", agent.script(finish()))
    with sqlite3.connect(agent.home / "agent.db") as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    one_line(agent("sessions"), 2, "999")


@pytest.mark.parametrize(
    ("name", "content"),
    [("system.md", "{% if %}"), ("system.md", "{{ nobody }}"), ("replan.md", "{{ oops"), ("other.md", "x")],
)
def test_a_prompt_that_cannot_be_used(agent: Agent, name: str, content: str) -> None:
    (agent.folder / "mine").mkdir()
    (agent.folder / "mine" / name).write_text(content)
    done = agent("run", "hi", "--script", agent.script(finish()), "--prompts", "mine")
    one_line(done, 2, "prompt")
    assert sessions(agent) == []


def test_a_strategy_that_is_not_there(agent: Agent) -> None:
    one_line(agent("run", "hi", "--dry-run", "--strategy", "autogtp"), 2, "autogtp")


def test_an_unknown_price(agent: Agent) -> None:
    done = agent("run", "hi", "--model", "nobody-knows-it", env={"OPENAI_API_KEY": "k"})
    one_line(done, 2, "nobody-knows-it", "--price")


def test_an_unknown_name_at_a_local_endpoint_costs_nothing_and_says_so(agent: Agent) -> None:
    with Endpoint([text("done")]) as endpoint:
        done = agent("run", "hi", "--base-url", endpoint.base_url, "--model", "nobody-knows-it")
    assert done.code == 0
    assert done.err.count("nobody-knows-it' is not known") == 1


def test_an_untrusted_project_may_not_redirect_the_key(agent: Agent) -> None:
    with Endpoint([text("stolen")]) as thief, Endpoint([text("done")]) as endpoint:
        (agent.folder / "agent.toml").write_text(f'base_url = "{thief.base_url}"\napprove = "auto"\nmax_cost = 100\n')
        (agent.folder / ".env").write_text(f"OPENAI_BASE_URL={thief.base_url}\n")
        env = {"OPENAI_API_KEY": "k", "AGENT_BASE_URL": endpoint.base_url}
        done = agent("run", "hi", "--json", env=env)
        assert thief.requests == []
    assert done.code == 0, done.err
    ignored = [line for line in done.err.splitlines() if "not trusted" in line]
    assert len(ignored) == 4
    assert done.events[0]["budget"]["usd"] == 1.0


def test_a_trusted_project_may(agent: Agent) -> None:
    with Endpoint([text("done")]) as endpoint:
        (agent.folder / "agent.toml").write_text(f'base_url = "{endpoint.base_url}"\nmodel = "local"\n')
        assert agent("trust").code == 0
        assert agent("run", "hi").code == 0
        (agent.folder / "agent.toml").write_text(f'base_url = "{endpoint.base_url}/elsewhere"\nmodel = "local"\n')
        assert agent("run", "hi").code == 2


def test_pandas_missing_is_said_before_anything_is_made(agent: Agent) -> None:
    (agent.folder / "t.csv").write_text("a,b\n1,2\n")
    block = agent.folder / "block"
    block.mkdir()
    (block / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pandas' else find(name, *a)\n"
    )
    paths = os.pathsep.join(filter(None, (str(block), os.environ.get("PYTHONPATH", ""))))
    done = agent("run", "hi", "--dry-run", "--file", "t.csv", env={"PYTHONPATH": paths})
    one_line(done, 2, "agentrunner[data]")
    assert not agent.workspace.exists()


def test_a_full_disk_is_said_and_nothing_is_lost(agent: Agent) -> None:
    place = agent.folder / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk needs mount: {mounted.stderr.decode().strip()}")
    try:
        script = agent.script(*(writes(f"{n}.txt", "x" * 30_000) for n in range(40)), finish())
        done = agent("run", "hi", "--script", script, "--quiet", env={"AGENT_HOME": str(place)})
        one_line(done, 1, "agent.db")
        listed = agent("sessions", "list", "--json", env={"AGENT_HOME": str(place)})
        assert len(listed.out.splitlines()) == 1
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_an_answer_file_that_cannot_be_written(agent: Agent) -> None:
    done = agent("run", "hi", "--script", agent.script(finish()), "-o", "no/such/place.txt")
    assert done.code == 2
    assert "place.txt" in done.err


def test_a_file_is_never_overwritten_by_another_of_its_name(agent: Agent) -> None:
    agent.workspace.mkdir()
    (agent.workspace / "t.csv").write_text("mine")
    (agent.folder / "t.csv").write_text("a,b\n1,2\n")
    done = agent("run", "hi", "--script", agent.script(finish("{{file}}")), "--file", "t.csv")
    assert done.out == "t-2.csv\n"
    assert (agent.workspace / "t.csv").read_text() == "mine"


def test_standard_input_is_a_file_only_when_asked(agent: Agent) -> None:
    done = agent("run", "hi", "--script", agent.script(finish("{{file}}")), "--file", "-", stdin=b"a,b\n")
    assert done.out == "stdin.txt\n"
    assert (agent.workspace / "stdin.txt").read_bytes() == b"a,b\n"
    assert Path(agent.folder, "script.yaml").exists()


def test_an_empty_path_is_not_the_current_directory(agent: Agent) -> None:
    one_line(agent("run", "hi", "--dry-run", "--workspace", ""), 2, "--workspace")


@pytest.mark.parametrize("where", ["agent-home", "agent-home/inside", "."])
def test_a_workspace_that_would_lay_the_journal_open(agent: Agent, where: str) -> None:
    one_line(agent("run", "hi", "--dry-run", "--workspace", where), 2, "workspace")
    one_line(agent("sandbox", "run", "--workspace", where, "--", "true"), 2, "workspace")


def test_a_reader_of_progress_that_goes_away_does_not_stop_the_work(agent: Agent) -> None:
    command = " ".join(agent.command("run", "hi", "--script", agent.script(writes("a.txt"), finish("the result"))))
    piped = f"{command} 2>&1 >out.txt | head -1"
    subprocess.run(["bash", "-c", piped], cwd=agent.folder, env=agent.environment(), check=True, capture_output=True)
    assert (agent.folder / "out.txt").read_text() == "the result\n"


@pytest.mark.parametrize(("redirection", "code"), [("2>&-", 0), (">&-", 0), (">/dev/full", 1), ("2>/dev/full", 0)])
def test_streams_that_cannot_be_written_give_no_traceback(agent: Agent, redirection: str, code: int) -> None:
    command = " ".join(agent.command("run", "hi", "--script", agent.script(finish("the result"))))
    done = subprocess.run(
        ["bash", "-c", f"{command} {redirection}"], cwd=agent.folder, env=agent.environment(), capture_output=True
    )
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert len(sessions(agent)) == 1


@pytest.mark.parametrize(
    "arguments", ["sessions list --json", "config show", "tools", "run hi --script script.yaml --json"]
)
def test_a_full_disk_behind_standard_output_is_said(agent: Agent, arguments: str) -> None:
    agent("run", "hi", "--script", agent.script(writes("a.txt"), finish("the result")))
    command = " ".join(agent.command(*arguments.split()))
    done = subprocess.run(
        ["bash", "-c", f"{command} > /dev/full"], cwd=agent.folder, env=agent.environment(), capture_output=True
    )
    assert done.returncode == 1, done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1, done.stderr.decode()
    assert b"No space left on device" in done.stderr


def test_a_full_disk_behind_a_recording_is_said_and_the_work_goes_on(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish("the result"))
    done = agent("run", "hi", "--script", script, "--record", "/dev/full", "--quiet")
    assert (done.code, done.out) == (0, "the result\n")
    assert done.err.count("'/dev/full' ends early") == 1


def test_a_current_directory_that_is_gone(agent: Agent) -> None:
    command = f"mkdir gone; cd gone; rmdir ../gone; {' '.join(agent.command('sessions', 'list'))}"
    done = subprocess.run(["bash", "-c", command], cwd=agent.folder, env=agent.environment(), capture_output=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_prompt_that_is_not_text(agent: Agent) -> None:
    (agent.folder / "mine").mkdir()
    (agent.folder / "mine" / "system.md").write_bytes(b"\xff\xfe")
    one_line(agent("run", "hi", "--script", agent.script(finish()), "--prompts", "mine"), 2, "system.md")


def test_a_failed_verification_says_what_failed(agent: Agent, sandboxed: None) -> None:
    script = agent.script(finish(), finish(), finish())
    done = agent("run", "hi", "--script", script, "--verify", "echo no such thing >&2; exit 3", "--quiet")
    assert done.code == 4
    assert "no such thing" in done.err


def test_a_verification_cut_by_the_time_limit_is_a_time_limit(agent: Agent, sandboxed: None) -> None:
    script = agent.script(finish(), finish(), finish())
    done = agent("run", "hi", "--script", script, "--verify", "sleep 100", "--max-time", "2s", "--json")
    assert (done.code, done.finished["reason"]) == (8, "budget_time")
    assert done.finished["steps"] == 1
