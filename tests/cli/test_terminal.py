"""On a real terminal: a pseudo-terminal of 80 columns, read through an emulator."""

import sys
from collections.abc import Iterator

import pexpect
import pyte
import pytest

from tests.support.endpoint import Endpoint, call, text
from tests.support.program import Agent, finish, says, writes


class Terminal:
    """A running program, and the screen that a person would see."""

    def __init__(self, agent: Agent, *arguments: str, columns: int = 80) -> None:
        self.screen = pyte.HistoryScreen(columns, 200, history=2000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        environment = agent.environment({"TERM": "xterm-256color"})
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "agentrunner", *arguments],
            cwd=str(agent.folder),
            env=environment,  # pyright: ignore[reportArgumentType]
            dimensions=(200, columns),
            timeout=30,
        )

    def until(self, words: str) -> None:
        self.child.expect_exact(words.encode())
        self._take(self.child.before + self.child.after)

    def end(self) -> int:
        self.child.expect(pexpect.EOF)
        self._take(self.child.before)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)

    def _take(self, data: bytes) -> None:
        self.raw += data
        self.stream.feed(data)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).strip()


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.child.close(force=True)


def test_a_run_shows_goal_thoughts_commands_and_outcome(agent: Agent, terminals: list[Terminal]) -> None:
    thoughts = {"text": "I see", "reasoning": "because", "plan": ["write", "finish"], "criticism": "maybe"}
    script = agent.script(says("write_file", thoughts, path="a.txt", content="x"), finish("all is well", "a.txt"))
    terminal = Terminal(agent, "run", "make a file", "--script", script)
    terminals.append(terminal)
    assert terminal.end() == 0
    for words in ("make a file", "step 1/50", "I see", "because", "○ write", "maybe", "write_file", "goal met"):
        assert words in terminal.text
    assert terminal.text.count("all is well") == 1
    assert "asking the model" not in terminal.text
    assert max(len(line) for line in terminal.text.splitlines()) <= 80


def test_approvals_are_asked_and_their_words_reach_the_model(agent: Agent, terminals: list[Terminal]) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"), writes("c.txt"), writes("d.txt"), finish())
    terminal = Terminal(agent, "run", "x", "--script", script, "--approve", "each")
    terminals.append(terminal)
    terminal.until("> ")
    terminal.child.sendline("y -2")
    terminal.until("> ")
    terminal.child.sendline("n")
    terminal.until("> ")
    terminal.child.sendline("rather not")
    assert terminal.end() == 0
    assert sorted(path.name for path in agent.workspace.iterdir()) == ["a.txt", "b.txt"]
    shown = agent("sessions", "show", agent.session()).out
    assert "rather not" in shown


def test_a_question_is_answered_at_the_terminal(agent: Agent, terminals: list[Terminal]) -> None:
    script = agent.script(says("ask_user", question="Which colour?"), finish("{{result}}"))
    terminal = Terminal(agent, "run", "x", "--script", script)
    terminals.append(terminal)
    terminal.until("Which colour?")
    terminal.until("> ")
    terminal.child.sendline("blue")
    assert terminal.end() == 0
    assert "blue" in terminal.text


def test_an_interrupt_at_a_question_leaves_it_open(agent: Agent, terminals: list[Terminal]) -> None:
    script = agent.script(says("ask_user", question="Which colour?"), finish("{{result}}"))
    terminal = Terminal(agent, "run", "x", "--script", script)
    terminals.append(terminal)
    terminal.until("> ")
    terminal.child.sendintr()
    assert terminal.end() == 130
    assert agent("resume", "--last", "--answer", "red").code == 0


def test_answers_stream_and_leave_no_status_line_behind(agent: Agent, terminals: list[Terminal]) -> None:
    with Endpoint([call("list_files", {"text": "look"}), text("a streamed answer")]) as endpoint:
        terminal = Terminal(agent, "run", "x", "--base-url", endpoint.base_url, "--model", "local")
        terminals.append(terminal)
        assert terminal.end() == 0
        assert endpoint.requests[0].json["stream"] is True
    assert "a streamed answer" in terminal.text
    assert "asking the model" not in terminal.text
    assert "running" not in terminal.text


def test_a_hostile_model_cannot_write_to_the_terminal(agent: Agent, terminals: list[Terminal]) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\x1b]52;c;aGk=\x07\x9b31m\u202e approved"
    script = agent.script(says("write_file", {"text": hostile}, path="a.txt", content=hostile), finish(hostile))
    terminal = Terminal(agent, "run", hostile, "--script", script)
    terminals.append(terminal)
    terminal.end()
    for sequence in (b"\x1b]", b"\x1b[2J", b"\x07", "\x9b".encode(), "\u202e".encode()):
        assert sequence not in terminal.raw
