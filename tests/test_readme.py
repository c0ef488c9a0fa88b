"""The README's commands do what it says, in the order in which they stand."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.support.endpoint import Answer, Endpoint, call, text
from tests.support.program import Agent

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def answer(data: dict[str, object]) -> Answer:
    """Makes the file that `check.py` looks for, then finishes."""
    messages = data["messages"]
    assert isinstance(messages, list)
    if "Make check.py pass" in str(messages[1]["content"]) and len(messages) == 3:
        return call("write_file", path="done.txt", content="done")
    return text("what was found")


def test_every_command_is_there_to_be_run() -> None:
    assert len(COMMANDS) > 15
    assert all(command.startswith("agent ") for command in COMMANDS)


@pytest.mark.timeout(240)
def test_the_commands_of_the_readme_work(agent: Agent, sandboxed: None) -> None:
    agent.always_starts = True
    shutil.copytree(ROOT / "examples", agent.folder / "examples")
    (agent.folder / "project").mkdir()
    (agent.folder / "project" / "check.py").write_text("open('done.txt')")
    with Endpoint(answer) as endpoint:
        env = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": endpoint.base_url}
        for command in COMMANDS:
            arguments = shlex.split(command)[1:]
            arguments = [endpoint.base_url if each.startswith("http://127") else each for each in arguments]
            if "ID" in arguments:
                arguments[arguments.index("ID")] = agent.session()
            done = agent(*arguments, env=env)
            allowed = (0, 3, 4) if arguments[0] == "doctor" else (0,)
            assert done.code in allowed, f"{command}\n{done.err}"
    assert (agent.folder / "report.html").exists()
    assert (agent.folder / "answer.txt").exists()


def test_the_first_command_is_a_dry_run_that_works(agent: Agent, sandboxed: None) -> None:
    pytest.importorskip("pandas")
    [line] = re.findall(r"<!-- first command -->\n```\n(.*)\n```", README)
    arguments = shlex.split(line.rpartition(".venv/bin/agent ")[2])
    (agent.folder / "examples").mkdir()
    (agent.folder / "examples" / "penguins.csv").write_bytes((ROOT / "examples" / "penguins.csv").read_bytes())
    done = agent(*arguments)
    assert done.code == 0, done.err
    assert (agent.workspace / "insights.png").stat().st_size > 10_000
