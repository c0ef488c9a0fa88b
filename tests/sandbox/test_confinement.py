"""What a program behind the wall can do, and what it cannot, judged from outside wherever that is possible."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentrunner.errors import SandboxError
from agentrunner.sandbox import open_sandbox

from .conftest import ALL, Box, ids

# --- it works at all ---------------------------------------------------------------------------------------------


def test_a_program_prints_writes_reads_and_exits_as_it_should(box: Box) -> None:
    (box.workspace / "in.txt").write_text("hello")
    ran = box.python("import sys; open('out.txt', 'w').write(open('in.txt').read().upper()); print(6 * 7); sys.exit(3)")
    assert (ran.exit_code, ran.stdout, ran.stderr, ran.stopped) == (3, "42\n", "", "")
    assert (box.workspace / "out.txt").read_text() == "HELLO"


def test_files_come_out_owned_by_the_caller(box: Box) -> None:
    assert box.python("import os; os.mkdir('d'); open('d/f', 'w').close()").exit_code == 0
    assert {(p.stat().st_uid, p.stat().st_gid) for p in box.workspace.rglob("*")} == {(os.getuid(), os.getgid())}


def test_commands_start_in_the_workspace_with_a_shell_and_a_private_tmp(box: Box) -> None:
    ran = box.run("sh", "-c", "pwd; echo x > $TMPDIR/x && cat $TMPDIR/x && ls /usr/bin | head -1 | wc -l")
    assert ran.stdout == f"{box.workspace}\nx\n1\n"
    assert list(box.workspace.iterdir()) == []


def test_python_and_python3_are_the_agents_interpreter(box: Box) -> None:
    import sys

    for name in ("python", "python3"):
        ran = box.run(name, "-c", "import sys; print(sys.version_info[:3], sys.prefix)")
        assert ran.stdout.strip() == f"{sys.version_info[:3]} {sys.prefix}", ran.stderr


def test_standard_input_reaches_the_program(box: Box) -> None:
    assert box.run("wc", "-c", stdin=b"x" * 300_000).stdout.strip() == "300000"
    assert box.run("cat").stdout == ""


def test_a_command_that_does_not_exist_is_said_so(box: Box) -> None:
    ran = box.run("no-such-command")
    assert ran.exit_code in (1, 126, 127)
    assert "no-such-command" in ran.stderr


# --- what it cannot read -----------------------------------------------------------------------------------------


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A secret in the home, or beside the workspace where the home cannot be written."""
    home = Path.home() if os.access(Path.home(), os.W_OK) else tmp_path
    path = home / f".agent-canary-{secrets.token_hex(4)}"
    path.write_text("CANARY")
    yield path
    path.unlink()


def test_secrets_outside_cannot_be_read_by_path_link_or_dots(box: Box, canary: Path, tmp_path: Path) -> None:
    (tmp_path / "beside").write_text("CANARY")
    (box.workspace / "link").symlink_to(canary)
    for path in (str(canary), "link", "../beside", f"/proc/self/root{canary}", f"/proc/1/root{canary}"):
        ran = box.run("cat", path)
        assert ran.exit_code != 0
        assert "CANARY" not in ran.stdout + ran.stderr
    ran = box.python(f"import os; os.link({str(canary)!r}, 'hard')")
    assert ran.exit_code != 0


def test_no_process_of_the_sandbox_holds_the_agents_environment(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-CANARY")
    script = "env; for p in /proc/[0-9]*; do cat $p/environ $p/cmdline 2>/dev/null; done; true"
    ran = box.run("sh", "-c", script)
    assert ran.exit_code == 0
    assert "CANARY" not in ran.stdout


def test_no_descriptor_of_the_agent_is_inherited(box: Box, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    with secret.open() as held:
        os.set_inheritable(held.fileno(), True)
        ran = box.python(
            "import os\nfor fd in range(3, 512):\n try: print(fd, os.fstat(fd).st_size)\n except OSError: pass"
        )
    assert ran.stdout == ""


def test_other_processes_cannot_be_seen_at_the_full_level(full: Box) -> None:
    ran = full.python("import os; print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))")
    assert len(ran.stdout.split(",")) <= 3


def test_git_is_read_only_and_env_files_are_masked_at_the_full_level(full: Box) -> None:
    (full.workspace / ".git" / "hooks").mkdir(parents=True)
    (full.workspace / ".git" / "config").write_text("[core]\n")
    (full.workspace / "sub").mkdir()
    for name in (".env", ".env.local", "sub/.env"):
        (full.workspace / name).write_text("KEY=CANARY")
    assert full.run("cat", ".git/config").stdout == "[core]\n"
    attacks = (
        "echo x > .git/hooks/post-commit",
        "mv .git g",
        "rm -rf .git",
        "mv sub s2; cat s2/.env",
        "cat .env .env.local",
    )
    for attack in attacks:
        ran = full.run("sh", "-c", attack)
        assert ran.exit_code != 0, attack
        assert "CANARY" not in ran.stdout
    assert (full.workspace / ".git" / "config").read_text() == "[core]\n"
    assert list((full.workspace / ".git" / "hooks").iterdir()) == []


# --- what it cannot reach ----------------------------------------------------------------------------------------


def test_a_listener_on_the_hosts_loopback_cannot_be_reached(box: Box) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        ran = box.python(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('REACHED')")
    assert ran.exit_code != 0
    assert "REACHED" not in ran.stdout


def test_datagrams_do_not_leave(box: Box) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.3)
        port = listener.getsockname()[1]
        box.python(
            f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))"
        )
        with pytest.raises(TimeoutError):
            listener.recv(10)


def test_sockets_of_the_host_cannot_be_reached_by_name(box: Box, tmp_path: Path) -> None:
    name = f"agent-{secrets.token_hex(4)}"
    with closing(socket.socket(socket.AF_UNIX)) as abstract, closing(socket.socket(socket.AF_UNIX)) as inside:
        abstract.bind(f"\0{name}")
        abstract.listen()
        inside.bind(os.path.relpath(box.workspace / "sock"))
        inside.listen()
        for address in (f"\\0{name}", "sock"):
            ran = box.python(
                f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{address}'); print('REACHED')"
            )
            assert ran.exit_code != 0
            assert "REACHED" not in ran.stdout


# --- what it cannot change ---------------------------------------------------------------------------------------


def test_nothing_outside_the_workspace_can_be_written(box: Box, tmp_path: Path) -> None:
    import sys

    (tmp_path / "victim").write_text("as it was")
    (box.workspace / "link").symlink_to(tmp_path / "victim")
    for path in (
        tmp_path / "victim",
        tmp_path / "new",
        Path("link"),
        Path("/usr/x"),
        Path("/etc/x"),
        Path(sys.prefix, "x"),
    ):
        ran = box.python(f"open({str(path)!r}, 'w').write('PWNED')")
        assert ran.exit_code != 0 or tmp_path.is_relative_to("/tmp"), path  # the sandbox has a /tmp of its own
    assert (tmp_path / "victim").read_text() == "as it was"
    assert not (tmp_path / "new").exists()
    assert not Path(sys.prefix, "x").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import ctypes, os; l = ctypes.CDLL(None, use_errno=True); assert l.ptrace(16, os.getppid(), 0, 0) < 0",
        "import ctypes; l = ctypes.CDLL(None, use_errno=True); assert l.unshare(0x10000000) < 0",
        "import ctypes; l = ctypes.CDLL(None, use_errno=True); assert l.mount(b'x', b'/tmp', b'tmpfs', 0, None) < 0",
        "import ctypes; l = ctypes.CDLL(None, use_errno=True); assert l.memfd_create(b'x', 0) < 0",
        "import os; open('s', 'w').close(); os.chmod('s', 0o755)\ntry: os.chmod('s', 0o4755)\nexcept OSError: pass\n"
        "else: raise SystemExit(1)",
        "import os\nassert 'NoNewPrivs:\\t1' in open('/proc/self/status').read()",
        "import os\nassert 'CapEff:\\t0000000000000000' in open('/proc/self/status').read()",
    ],
    ids=["ptrace", "unshare", "mount", "memfd", "set-uid", "no-new-privs", "no-capabilities"],
)
def test_dangerous_doors_are_closed(full: Box, code: str) -> None:
    ran = full.python(code)
    assert ran.exit_code == 0, ran.stderr


def test_groups_of_root_are_left_outside(full: Box) -> None:
    if os.geteuid():
        pytest.skip("only root can drop its groups")
    assert "Groups:\t \n" in full.run("cat", "/proc/self/status").stdout


def test_process_one_is_out_of_reach_or_has_no_more_rights_than_the_program(full: Box) -> None:
    rights = ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2")
    if full.sandbox.launcher == "bwrap":  # its own process, which this filter does not cover
        assert full.run("ls", "-A", "/proc/1").stdout == ""
    processes = ["self"] if full.sandbox.launcher == "bwrap" else ["self", "1"]
    for name in processes:
        status = full.run("cat", f"/proc/{name}/status").stdout
        assert [line for line in rights if line not in status] == []
    assert full.python("open('/proc/1/mem', 'r+b')").exit_code != 0
    ran = full.python("import os; os.kill(1, 9); print('alive')")
    assert "alive" in ran.stdout or ran.exit_code != 0


# --- what is left of it ------------------------------------------------------------------------------------------


def test_a_daemon_does_not_survive_and_is_not_waited_for(box: Box) -> None:
    began = time.monotonic()
    script = (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
        "  for i in range(200): open('beat', 'w').write(str(i)); time.sleep(0.05)\n os._exit(0)\n"
        "time.sleep(0.3)\nprint('done')"
    )
    ran = box.python(script)
    assert ran.stdout == "done\n"
    assert time.monotonic() - began < 5
    beat = (box.workspace / "beat").read_text()
    time.sleep(0.3)
    assert (box.workspace / "beat").read_text() == beat


def test_closing_ends_what_still_runs(box: Box) -> None:
    import asyncio

    async def close_under_it() -> float:
        running = asyncio.create_task(box.sandbox.run(["sh", "-c", "while true; do date > beat; sleep 0.05; done"]))
        while not (box.workspace / "beat").exists():
            await asyncio.sleep(0.02)
        await box.sandbox.aclose()
        await running
        return (box.workspace / "beat").stat().st_mtime

    last = asyncio.run(close_under_it())
    time.sleep(0.3)
    assert (box.workspace / "beat").stat().st_mtime == last
    with pytest.raises(SandboxError, match="closed"):
        box.run("true")


# --- opening -----------------------------------------------------------------------------------------------------


def test_no_sandbox_is_given_only_to_those_who_confirm_it(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="i-know-there-is-no-sandbox"):
        open_sandbox(tmp_path, level="none")
    with closing(open_sandbox(tmp_path, level="none", confirmed_none=True)) as sandbox:
        assert (sandbox.level, sandbox.launcher) == ("NONE", "none")
        assert Box(sandbox).run("echo", "hi").stdout == "hi\n"
        assert sandbox.lacks


def test_auto_takes_the_best_and_never_none(tmp_path: Path) -> None:
    with closing(open_sandbox(tmp_path)) as sandbox:
        assert sandbox.level in ("FULL", "PARTIAL")
        assert bool(sandbox.lacks) == (sandbox.level == "PARTIAL")


@pytest.mark.parametrize("path", ["/", "/usr", "/proc/self", "/dev"])
def test_a_part_of_the_system_is_no_workspace(path: str) -> None:
    with pytest.raises(SandboxError, match="cannot be a workspace"):
        open_sandbox(Path(path))


def test_a_workspace_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(SandboxError, match="not a directory"):
        open_sandbox(tmp_path / "f")


@pytest.mark.parametrize("wall", ALL, ids=ids(ALL))
def test_variables_of_the_caller_are_added(open_box: Callable[..., Box], wall: tuple[str, str]) -> None:
    box = open_box(wall, environment={"GREETING": "hello world"})
    assert box.run("sh", "-c", "echo $GREETING").stdout == "hello world\n"
