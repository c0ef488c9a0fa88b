"""What is printed for somebody who has gone: every command ends without a word, and says it with its exit code."""

import os
import subprocess
from pathlib import Path

import pytest

from agentrunner.cli import NO_READER
from tests.support.program import Agent, Done, finish, writes

PRINTING = [
    ("--help",),
    ("--version",),
    ("sessions", "list"),
    ("sessions", "list", "--json"),
    ("sessions", "show", "ID"),
    ("sessions", "show", "ID", "--step", "1"),
    ("sessions", "export", "ID"),
    ("sessions", "export", "ID", "--with-files"),
    ("sessions", "export", "ID", "--traces"),
    ("sessions", "export", "--help"),
    ("replay", "ID"),
    ("replay", "ID", "--json"),
    ("resume", "ID"),
    ("resume", "ID", "--json"),
    ("run", "hi", "--script", "script.yaml"),
    ("tools", "list"),
    ("tools", "show", "python"),
    ("sandbox", "run", "--", "seq", "100000"),
    ("doctor", "--json"),
    ("config", "show"),
    ("serve", "--dry-run", "--port", "0"),
    ("keys", "create", "somebody"),
    ("keys", "list"),
]


def unread(agent: Agent, *arguments: str) -> Done:
    """Its standard output is a pipe that nobody reads, not even its first line."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            agent.command(*arguments),
            cwd=agent.folder,
            env=agent.environment(),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=90,
        )
    return Done(done.returncode, "", done.stderr.decode())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Agent, str]:
    agent = Agent(tmp_path_factory.mktemp("ran"))
    done = agent("run", "hi", "--quiet", "--script", agent.script(writes("a.txt", "line\n" * 9000), finish("it is")))
    assert done.code == 0, done.err
    assert agent("keys", "create", "first").code == 0
    return agent, agent.session()


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_has_gone_ends_the_command_without_a_word(
    ran: tuple[Agent, str], arguments: tuple[str, ...]
) -> None:
    agent, session = ran
    done = unread(agent, *(session if each == "ID" else each for each in arguments))
    assert done.code == NO_READER == 141, done
    assert "Traceback" not in done.err
    if arguments[0] != "run":
        assert done.err == ""


def test_an_exit_code_that_says_more_stays(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish("done"))
    assert unread(agent, "run", "hi", "--script", script, "--max-steps", "1", "--quiet").code == 5
    stopped = unread(agent, "run", "hi", "--script", script, "--json")
    assert stopped.code == 130, stopped.err
    assert "saved" in stopped.err


def test_a_result_that_nobody_reads_is_in_its_file(agent: Agent) -> None:
    done = unread(agent, "run", "hi", "--script", agent.script(finish("the result")), "-o", "answer.txt")
    assert done.code == 141
    assert (agent.folder / "answer.txt").read_text() == "the result\n"


def test_all_named_sessions_are_removed_although_nobody_reads_it(agent: Agent) -> None:
    for _ in range(2):
        assert agent("run", "hi", "--script", agent.script(finish("x")), "--quiet").code == 0
    ids = [line.split()[0] for line in agent("sessions", "list").out.splitlines()[1:]]
    assert len(ids) == 2
    assert unread(agent, "sessions", "rm", *ids).code == 141
    assert not agent("sessions", "list", "--json").out


@pytest.mark.parametrize("arguments", [("sessions", "export", "ID"), ("sessions", "list"), ("--help",)], ids=" ".join)
def test_a_full_disk_is_one_line(ran: tuple[Agent, str], arguments: tuple[str, ...]) -> None:
    agent, session = ran
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            agent.command(*(session if each == "ID" else each for each in arguments)),
            cwd=agent.folder,
            env=agent.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "agent: standard output cannot be written: No space left on device\n"
