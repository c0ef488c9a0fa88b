"""What every room's tests may use: the program in a fresh folder, and whether this machine can sandbox code."""

import contextlib
import signal
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import forks
from tests.support import postgres as postgres_support
from tests.support.program import Agent

# The default run is the same sample every time; `make fuzz` looks further.
settings.register_profile("sample", derandomize=True, deadline=None)
settings.load_profile("sample")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--starts", action="store_true", help="start a process for each command, and fork none")


def pytest_configure(config: pytest.Config) -> None:
    Agent.always_starts = config.getoption("--starts")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what it runs in the background, and all programs of the tests would be deaf to Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish() -> None:
    forks.close()


@pytest.fixture
def agent(tmp_path: Path) -> Generator[Agent]:
    """The program in a fresh folder. Whatever sessions it makes there, each must be the same when it is replayed."""
    agent = Agent(tmp_path / "place")
    yield agent
    if agent.replayable:
        assert agent.replays() == []


@cache
def sandbox_refusal() -> str:
    """Why code cannot be sandboxed here; empty when it can."""
    import tempfile

    from agentrunner.errors import SandboxError
    from agentrunner.sandbox import open_sandbox

    with tempfile.TemporaryDirectory() as folder:
        try:
            open_sandbox(Path(folder)).close()
        except SandboxError as error:
            return str(error)
    return ""


@pytest.fixture
def sandboxed() -> None:
    """Skip, visibly, where no sandbox can be set up."""
    if refusal := sandbox_refusal():
        pytest.skip(f"no sandbox here: {refusal}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_support.Server]:
    """A PostgreSQL server. Skips, visibly, where none can be started."""
    with contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(postgres_support.server())
        except postgres_support.Unavailable as why:
            pytest.skip(f"no PostgreSQL here: {why}")
        yield running
