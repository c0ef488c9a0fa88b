"""Which sandbox a command gets: what must be asked for, what is said, and what cannot lower it."""

from pathlib import Path

import pytest

from agentrunner.config import Settings
from agentrunner.errors import UsageError
from agentrunner.runner.sandboxes import open_sandbox_for
from agentrunner.sandbox import box
from agentrunner.sandbox.walls import Offer, offers
from tests.support.program import Agent, finish, says

CONFIRM = "--i-know-there-is-no-sandbox"
ALARM = "agent: there is no sandbox: code and commands"


@pytest.fixture
def partial(agent: Agent) -> None:
    """Skip, visibly, where there is no Landlock."""
    done = agent("sandbox", "run", "--sandbox", "partial", "--", "true")
    if done.code:
        pytest.skip(f"no sandbox of the level PARTIAL here: {done.err.strip()}")


def test_no_sandbox_must_be_confirmed_and_is_said_every_time(agent: Agent) -> None:
    script = agent.script(says("ask_user", question="?"), says("shell", command="echo $((6*7))"), finish())
    refused = agent("run", "x", "--script", script, "--sandbox", "none")
    assert (refused.code, CONFIRM in refused.err) == (2, True)
    started = agent("run", "x", "--script", script, "--sandbox", "none", CONFIRM, "--json")
    assert started.code == 10
    assert ALARM in started.err
    (created,) = started.of_type("session.created")
    assert created["sandbox"] == "NONE"
    assert any("no sandbox" in note for note in created["notes"])
    name = agent.session()
    again = agent("resume", name, "--answer", "y")
    assert (again.code, CONFIRM in again.err) == (2, True)
    done = agent("resume", name, "--answer", "y", CONFIRM, "--quiet")
    assert done.code == 0, done.err
    assert ALARM in done.err


def test_one_command_without_a_sandbox_must_be_confirmed_too(agent: Agent) -> None:
    refused = agent("sandbox", "run", "--sandbox", "none", "--", "echo", "hello")
    assert (refused.code, refused.out) == (125, "")
    assert CONFIRM in refused.err
    done = agent("sandbox", "run", "--sandbox", "none", CONFIRM, "--", "echo", "hello")
    assert (done.code, done.out) == (0, "hello\n")
    assert ALARM in done.err


def test_limits_of_commands_can_be_set_but_not_by_the_project(agent: Agent, sandboxed: None) -> None:
    (agent.folder / "agent.toml").write_text('sandbox_limits = ["tasks=100", "memory=512M"]\n')
    script = agent.script(says("shell", command="ulimit -u; ulimit -d"), finish("{{result}}"))
    ignored = agent("run", "x", "--script", script, "--sandbox", "full", "--quiet")
    if ignored.code == 2:
        pytest.skip(ignored.err)
    assert "sandbox_limits" in ignored.err
    assert ignored.out.split()[-2:] == ["128", "1048576"]
    assert agent("trust").code == 0
    taken = agent("run", "x", "--script", script, "--sandbox", "full", "--quiet")
    assert taken.out.split()[-2:] == ["100", "524288"]
    wrong = agent("run", "x", "--script", script, env={"AGENT_SANDBOX_LIMITS": "tasks=many"})
    assert (wrong.code, "'tasks=many'" in wrong.err) == (2, True)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_projects_files_cannot_confirm_it(agent: Agent, trusted: bool) -> None:
    (agent.folder / "agent.toml").write_text('sandbox = "none"\ni_know_there_is_no_sandbox = true\n')
    (agent.folder / ".env").write_text("AGENT_SANDBOX=none\nAGENT_I_KNOW_THERE_IS_NO_SANDBOX=true\n")
    if trusted:
        assert agent("trust").code == 0
    done = agent("run", "x", "--script", agent.script(finish()), "--json")
    assert ALARM not in done.err
    assert "i_know_there_is_no_sandbox" in done.err
    if trusted:  # the level that was agreed to stands, and is refused without the word
        assert (done.code, CONFIRM in done.err) == (2, True)
    else:
        assert done.of_type("session.created")[0]["sandbox"] != "NONE"


@pytest.mark.usefixtures("partial")
@pytest.mark.parametrize("name", [".env", ".git", "deep/down/.env.local"])
def test_an_exposed_workspace_switches_code_off_at_partial(agent: Agent, name: str) -> None:
    place = agent.workspace / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir() if name == ".git" else place.write_text("KEY=1")
    refused = agent("sandbox", "run", "--sandbox", "partial", "--", "echo", "hello")
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (125, "", 1)
    assert name in refused.err
    assert "--allow-exposed-workspace" in refused.err
    allowed = agent("sandbox", "run", "--sandbox", "partial", "--allow-exposed-workspace", "--", "echo", "hello")
    assert (allowed.code, allowed.out) == (0, "hello\n")
    script = agent.script(says("shell", command="echo hello"), finish())
    done = agent("run", "x", "--script", script, "--sandbox", "partial", "--json")
    assert "There is no tool named 'shell'" in done.of_type("tool.finished")[0]["content"]
    (created,) = done.of_type("session.created")
    assert created["sandbox"] == "OFF"
    assert "--allow-exposed-workspace" in created["notes"][0]
    done = agent("run", "x", "--script", script, "--sandbox", "partial", "--allow-exposed-workspace", "--json")
    assert done.of_type("tool.finished")[0]["content"] == "exit code 0\nhello"


@pytest.mark.usefixtures("partial", "sandboxed")
def test_a_resume_with_a_lower_level_says_so_and_writes_it_down(agent: Agent) -> None:
    script = agent.script(says("ask_user", question="?"), finish())
    started = agent("run", "x", "--script", script, "--json")
    if started.of_type("session.created")[0]["sandbox"] != "FULL":
        pytest.skip("the best level here is not FULL")
    name = agent.session()
    done = agent("resume", name, "--answer", "y", "--sandbox", "partial")
    assert done.code == 0, done.err
    assert "the sandbox was FULL and is PARTIAL now" in done.err
    exported = agent("sessions", "export", name)
    (opened,) = [event for event in exported.events if event["type"] == "sandbox.opened"]
    assert opened["level"] == "PARTIAL"
    assert opened["lacks"]


@pytest.mark.usefixtures("partial")
def test_where_only_partial_is_left_auto_announces_it_and_full_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_full(level: str, launcher: str) -> list[Offer]:
        return [offer for offer in offers(level, launcher) if offer.level != "FULL"]

    monkeypatch.setattr(box, "offers", without_full)
    sandbox, notes = open_sandbox_for(Settings(sandbox="auto"), tmp_path)
    assert sandbox is not None
    assert (sandbox.level, notes[0].startswith("the sandbox is PARTIAL: ")) == ("PARTIAL", True)
    sandbox.close()
    with pytest.raises(UsageError, match="no sandbox can be set up here"):
        open_sandbox_for(Settings(sandbox="full"), tmp_path)


@pytest.mark.usefixtures("sandboxed")
def test_what_a_command_leaves_for_other_programs_is_moved_and_reported(agent: Agent) -> None:
    done = agent("sandbox", "run", "--", "sh", "-c", "echo x > .envrc; mkdir .vscode; echo y > kept")
    assert done.code == 0, done.err
    assert "moved '.envrc' to 'quarantined/envrc-1.txt'" in done.err
    assert sorted(path.name for path in agent.workspace.iterdir()) == ["kept", "quarantined"]
    script = agent.script(says("shell", command="echo x > .envrc"), finish())
    run = agent("run", "x", "--script", script)
    assert "moved '.envrc' to 'quarantined/envrc-2.txt'" in run.err
    assert not (agent.workspace / ".envrc").exists()


@pytest.mark.usefixtures("sandboxed")
def test_what_is_left_behind_between_two_calls_is_moved_at_the_end(agent: Agent) -> None:
    again = "import threading, time\ndef again():\n    while True:\n        open('.envrc', 'w').close()\n"
    again += "        time.sleep(0.01)\nthreading.Thread(target=again).start()\ntime.sleep(0.1)"
    script = agent.script(says("python", code=again), says("list_files"), finish())
    done = agent("run", "x", "--script", script)
    assert done.code == 0, done.err
    assert not (agent.workspace / ".envrc").exists()
    assert len(list((agent.workspace / "quarantined").iterdir())) == 2
