"""The forks that most tests take for the program: they do what a process does that was started by itself."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.endpoint import Answer, Endpoint
from tests.support.program import Agent, Done, finish, writes


@pytest.fixture
def started(agent: Agent) -> Agent:
    """The same place, in which nothing is forked."""
    other = Agent(agent.folder)
    other.always_starts = True
    return other


@pytest.fixture
def forked(agent: Agent) -> Agent:
    agent.always_starts = False
    return agent


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (("--help",), b"", 0),
        (("--version",), b"", 0),
        (("runn",), b"", 2),
        (("run", "-", "--dry-run"), b"x" * 1_000_000, 2),
        (("config", "show", "--origin"), b"", 0),
        (("sessions", "list"), b"", 0),
        (("resume", "nobody"), b"", 2),
    ],
)
def test_a_fork_says_what_a_process_says(
    forked: Agent, started: Agent, arguments: tuple[str, ...], stdin: bytes, code: int
) -> None:
    env = {"AGENT_MODEL": "a-model-of-mine", "AGENT_MAX_STEPS": "17"}
    found = forked(*arguments, env=env, stdin=stdin)
    assert found == started(*arguments, env=env, stdin=stdin)
    assert found.code == code
    assert found.out or found.err


def test_a_session_of_a_fork_is_one_of_a_process(forked: Agent, started: Agent) -> None:
    script = forked.script(writes("a.txt"), finish("done", "a.txt"))
    runs = [each("run", "write", "--script", script, "--json") for each in (forked, started)]
    types = [[event["type"] for event in done.events] for done in runs]
    assert types[0] == types[1]
    assert [done.finished["answer"] for done in runs] == ["done", "done"]
    assert started("resume", runs[0].finished["session_id"]).out == "done\n"


def test_forks_at_the_same_time_have_nothing_of_each_other(forked: Agent) -> None:
    def show(steps: int) -> Done:
        return forked("config", "show", env={"AGENT_MAX_STEPS": str(steps)})

    with ThreadPoolExecutor(4) as pool:
        shown = list(pool.map(show, range(100, 112)))
    assert all(f" {steps}\n" in done.out for steps, done in zip(range(100, 112), shown, strict=True)), shown[0].out


def test_a_fork_that_takes_too_long_is_killed_and_the_next_one_works(forked: Agent) -> None:
    with Endpoint([Answer("late", fault="hang")]) as endpoint:
        with pytest.raises(subprocess.TimeoutExpired):
            forked("run", "x", "--base-url", endpoint.base_url, "--model", "m", timeout=2)
        assert len(endpoint.requests) == 1
    assert forked("sessions", "list", "--json").out.count("\n") == 1


def test_variables_that_an_interpreter_reads_are_given_to_one(forked: Agent) -> None:
    assert "import time:" in forked("--version", env={"PYTHONPROFILEIMPORTTIME": "1"}).err
