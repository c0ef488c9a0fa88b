"""An environment full of secrets: none of them reaches the sandbox, a request's body, an event, a report, or a log."""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import open_sandbox
from tests.support.endpoint import Answer, Endpoint, Received, call
from tests.support.program import Agent

WALLS = [("full", "native"), ("full", "bwrap"), ("partial", "auto")]
NAMES = [
    *("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "HF_TOKEN"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "NPM_TOKEN"),
    *("PGPASSWORD", "DATABASE_PASSWORD", "AGENT_SECRET_OF_MINE", "LD_AUDIT_NOTE", "PYTHON_SECRET_NOTE"),
]
ALSO = ["in_an_open_file", "in_env_file", "in_home", "in_user_configuration"]

# Everything that a process can learn of itself and of others without being told where to look.
LOOK = r"""
import glob, os, socket, sys
def show(name, data):
    print(name, data.replace(b'\0', b'\n')[-200_000:].decode(errors='replace'))
for path in [*glob.glob('/proc/*/environ'), *glob.glob('/proc/*/cmdline'), *glob.glob('/proc/*/task/*/environ')]:
    try:
        with open(path, 'rb') as file:
            show(path, file.read())
    except OSError:
        pass
print(dict(os.environ))
for path in glob.glob('/proc/*/fd/*'):
    try:
        target = os.readlink(path)
        print(path, target)
        if os.path.isfile(path) and not target.startswith('/dev/'):
            with open(path, 'rb') as file:
                show(path, file.read(100_000))
    except OSError:
        pass
for fd in range(3, 256):
    try:
        show(f'descriptor {fd}', os.pread(fd, 100_000, 0))
    except OSError:
        pass
for path in HINTS:
    try:
        with open(path, 'rb') as file:
            show(path, file.read(100_000))
    except OSError as refused:
        print(path, refused)
try:
    socket.socket(socket.AF_UNIX).connect(SSH)
except OSError as refused:
    print(refused)
"""


class Vault:
    """Canaries by name, an agent for keys that counts who calls it, and an open file."""

    def __init__(self, agent: Agent) -> None:
        self.canaries = {name: f"canary{secrets.token_hex(12)}" for name in [*NAMES, *ALSO]}
        self.calls = 0
        self.ssh = agent.folder / "ssh-agent.sock"
        (agent.folder / ".env").write_text(f"SOME_TOKEN={self.canaries['in_env_file']}\n")
        (agent.folder / ".netrc").write_text(f"machine x password {self.canaries['in_home']}\n")
        (agent.folder / "config").mkdir()
        (agent.folder / "config" / "hosts.yml").write_text(self.canaries["in_user_configuration"])
        held = agent.folder / "held"
        held.write_text(self.canaries["in_an_open_file"])
        self.open_file = os.open(held, os.O_RDONLY)
        self.open_folder = os.open(agent.folder, os.O_RDONLY)
        self.hints = [str(agent.folder / name) for name in (".env", ".netrc", "config/hosts.yml", "held")]
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(self.ssh))
        self._door.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        os.close(self.open_file)
        os.close(self.open_folder)

    @property
    def environment(self) -> dict[str, str]:
        found = {name: self.canaries[name] for name in NAMES}
        return found | {"SSH_AUTH_SOCK": str(self.ssh)}

    @property
    def look(self) -> str:
        return f"HINTS, SSH = {self.hints!r}, {str(self.ssh)!r}\n{LOOK}"

    def found_in(self, data: bytes) -> list[str]:
        """The names of the canaries in it, as they are or in base 64."""
        return [name for name, value in self.canaries.items() if _is_in(value.encode(), data)]

    def _serve(self) -> None:
        while True:
            try:
                self._door.accept()[0].close()
            except OSError:
                return
            self.calls += 1


def _is_in(value: bytes, data: bytes) -> bool:
    shifted = [base64.b64encode(b"x" * shift + value)[4:-4] for shift in range(3)]
    return any(form in data for form in [value, *shifted])


@pytest.fixture
def vault(agent: Agent) -> Iterator[Vault]:
    made = Vault(agent)
    yield made
    made.close()


@pytest.fixture(
    params=[
        pytest.param(wall, id="-".join(wall), marks=[] if wall == WALLS[0] else [pytest.mark.slow]) for wall in WALLS
    ]
)
def options(request: pytest.FixtureRequest, agent: Agent) -> list[str]:
    level, launcher = request.param
    agent.workspace.mkdir()
    try:
        open_sandbox(agent.workspace, level=level, launcher=launcher).close()
    except SandboxError as refused:
        pytest.skip(str(refused))
    return ["--sandbox", level, "--sandbox-launcher", launcher, "--workspace", str(agent.workspace)]


def _run(agent: Agent, vault: Vault, *arguments: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        agent.command(*arguments),
        cwd=agent.folder,
        env=agent.environment(vault.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        pass_fds=[vault.open_file, vault.open_folder],
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_command_finds_no_secret(agent: Agent, vault: Vault, options: list[str]) -> None:
    code, out, err = _run(agent, vault, "sandbox", "run", *options, "--", "python3", "-I", "-c", vault.look)
    assert code == 0, err
    assert b"'HOME'" in out
    assert not vault.found_in(out + err)
    assert vault.calls == 0


def test_the_look_would_find_them(agent: Agent, vault: Vault) -> None:
    done = subprocess.run(
        [*agent.command()[:1], "-I", "-c", vault.look.replace("/proc/*/", "/proc/self/")],
        env=vault.environment,
        capture_output=True,
        pass_fds=[vault.open_file],
        check=True,
        timeout=30,
    )
    assert sorted(vault.found_in(done.stdout)) == sorted(vault.canaries)
    assert vault.calls == 1


def test_a_session_gives_no_secret_away(agent: Agent, vault: Vault, options: list[str], tmp_path: Path) -> None:
    (agent.workspace / "look.py").write_text(vault.look)
    cell = vault.look.replace("range(3, 256)", "()")  # its control channel is not read from under it
    script = [
        call("shell", command="env; python3 -I look.py"),
        call("python", code=cell),
        call("shell", command="python3 -I look.py > found.txt 2>&1; wc -c found.txt"),
        call("read_file", path="found.txt"),
        call("finish", answer="looked", artifacts=["found.txt"]),
    ]
    page, record, answer = tmp_path / "page.html", tmp_path / "record.yaml", tmp_path / "answer.txt"
    with Endpoint(script) as endpoint:
        places = ["--base-url", endpoint.base_url, "--record", str(record), "-o", str(answer)]
        code, out, err = _run(agent, vault, "run", "look around", "--model", "local", "--json", *places, *options)
        assert code == 0, (out[-2000:], err)
        received = list(endpoint.requests)
    session = agent.session()
    shown = [out, err]
    for arguments in (
        ["report", session, "--html", str(page)],
        ["sessions", "export", session],
        ["sessions", "show", session],
    ):
        code, more_out, more_err = _run(agent, vault, *arguments)
        assert code == 0, (arguments, more_out, more_err)
        shown += [more_out, more_err]
    _check_nowhere(agent, vault, shown, received, [page, record, answer])
    assert vault.calls == 0


def test_an_endpoint_that_repeats_the_key_in_its_error_does_not_spread_it(
    agent: Agent, vault: Vault, tmp_path: Path
) -> None:
    agent.workspace.mkdir()
    with Endpoint(_echo_of_the_key(vault)) as endpoint:
        code, out, err = _run(agent, vault, "run", "go", "--model", "local", "--base-url", endpoint.base_url, "--json")
    assert code == 3, (out, err)
    page = tmp_path / "page.html"
    _, more_out, more_err = _run(agent, vault, "report", agent.session(), "--html", str(page))
    _check_nowhere(agent, vault, [out, err, more_out, more_err], [], [page])


def _echo_of_the_key(vault: Vault) -> list[Answer]:
    key = vault.canaries["OPENAI_API_KEY"]
    body = f'{{"error": {{"message": "Incorrect API key provided: {key}", "code": "invalid_api_key"}}}}'
    return [Answer(status=401, body=body.encode(), headers={"Content-Type": "application/json"})] * 4


def _check_nowhere(agent: Agent, vault: Vault, shown: list[bytes], received: list[Received], files: list[Path]) -> None:
    for text in shown:
        assert not vault.found_in(text), text[-3000:]
    for request in received:
        assert not vault.found_in(request.body)
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        assert vault.found_in(headers.encode()) == ["OPENAI_API_KEY"]  # it belongs there, and nothing else does
    kept = [path for folder in (agent.home, agent.workspace) for path in folder.rglob("*") if path.is_file()]
    for path in [*kept, *files]:
        if path.exists():
            assert not vault.found_in(path.read_bytes()), path
