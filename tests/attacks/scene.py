"""What lies around a workspace: a home, files of other programs, a victim that knows a secret. Made for one test.

Remembers how everything was, and says what was changed; removes whatever of this test was left on the machine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.program import Agent

HOME_FILES = (".ssh/id_ed25519", ".ssh/authorized_keys", ".env", ".config/gh/hosts.yml", ".bashrc", ".profile")
_VICTIM = """
import ctypes, os, signal, sys
signal.alarm(120)
kept = ctypes.create_string_buffer(os.environ['DATABASE_PASSWORD'].encode())
print(ctypes.addressof(kept), flush=True)
signal.pause()
"""
SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")
_SYSTEM_FOLDERS = ("/", "/etc", "/etc/cron.d", "/usr/local/bin", "/var/spool/cron/crontabs", "/opt", "/usr/bin")


class Scene:
    """`secret` stands in every place that a program must not read; `project_secret` in the workspace's `.env`."""

    def __init__(self, folder: Path, *, exposed: bool = False) -> None:
        self.secret = f"SECRET-{secrets.token_hex(8)}"
        self.project_secret = f"PROJECT-{secrets.token_hex(8)}"
        self.token = f"attack-{secrets.token_hex(6)}"
        self.agent = Agent(folder / "place")
        self.place, self.workspace = self.agent.folder, self.agent.workspace
        self.home = self.place / "home"
        self._made: list[Path] = []
        self._fill_place()
        self._fill_workspace(exposed)
        self.shared = [self._leave(Path(folder)) for folder in SHARED_FOLDERS if os.access(folder, os.W_OK)]
        self.homes = [str(self.home), pwd.getpwuid(os.getuid()).pw_dir]
        if os.access(self.homes[1], os.W_OK):
            self._leave(Path(self.homes[1]), f"{self.secret}-in-home")
        self.held_open = self._hold_open()
        self.victim, self.victim_address = self._start_victim()
        self._before = dict(self._states())

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for stream in (self.victim.stdout, self._socket):
            if stream:
                stream.close()
        for fd in self.held_open:
            os.close(fd)
        for path in [*self._made, *self.planted()]:
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.rmtree(self.place, ignore_errors=True)  # programs of root among it must not stay on this machine

    def environment(self) -> dict[str, str]:
        """Of the agent: keys and tokens of every kind."""
        keys = ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HTTPS_PROXY_PASSWORD", "SSH_AUTH_SOCK")
        return self.agent.environment(dict.fromkeys(keys, self.secret) | {"HOME": str(self.home)})

    def facts(self) -> dict[str, Any]:
        """Where everything is."""
        return {
            "place": str(self.place),
            "home": str(self.home),
            "homes": self.homes,
            "secrets": [str(self.home / name) for name in HOME_FILES] + [str(self.agent.home / "sessions")],
            "relative": [f"../home/{name}" for name in HOME_FILES],
            "beside": str(self.place / "beside.txt"),
            "shared": [str(path) for path in self.shared],
            "victim": self.victim.pid,
            "victim_address": self.victim_address,
            "secret_length": len(self.secret),
            "token": self.token,
            "plant": [str(path) for path in self._plantable()],
            "executable": sys.executable,
        }

    def changes(self) -> list[str]:
        """What is not as it was: everything beside the workspace, and in it `.git`."""
        now = dict(self._states())
        found = [path for path in {**self._before, **now} if self._before.get(path) != now.get(path)]
        return [f"{path} was {'removed' if path not in now else 'changed'}" for path in found]

    def planted(self) -> list[Path]:
        """Files with this test's name in places that nobody may write to."""
        return [path for path in self._plantable() if os.path.lexists(path)]

    def _fill_place(self) -> None:
        for name in HOME_FILES:
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{self.secret}\n")
        (self.home / ".ssh").chmod(0o700)
        (self.home / f"{self.secret}-in-home").touch()
        self.agent.home.mkdir()
        (self.agent.home / "sessions").write_text(self.secret)
        (self.place / "beside.txt").write_text(self.secret)
        (self.place / "folder").mkdir()

    def _fill_workspace(self, exposed: bool) -> None:
        self.workspace.mkdir()
        (self.workspace / "notes.txt").write_text("nothing secret\n")
        self._socket = socket.socket(socket.AF_UNIX)
        if exposed:
            self._socket.bind(os.path.relpath(self.workspace / "host.sock"))
            self._socket.listen()
            (self.workspace / ".git" / "hooks").mkdir(parents=True)
            (self.workspace / ".git" / "config").write_text("[core]\n")
            (self.workspace / ".git" / "hooks" / "post-commit").write_text("#!/bin/sh\n")
            (self.workspace / "sub").mkdir()
            for name in (".env", ".env.local", "sub/.env"):
                (self.workspace / name).write_text(f"KEY={self.project_secret}\n")

    def _leave(self, folder: Path, name: str = "") -> Path:
        path = folder / (name or f"other-{secrets.token_hex(6)}")
        path.write_text(self.secret)
        self._made.append(path)
        return path

    def _hold_open(self) -> tuple[int, ...]:
        """A secret file and a folder, which the agent inherits."""
        found = (os.open(self.home / ".env", os.O_RDWR), os.open(self.home / ".ssh", os.O_RDONLY))
        for fd in found:
            os.set_inheritable(fd, True)
        return found

    def _start_victim(self) -> tuple[subprocess.Popen[bytes], int]:
        """A program of the same user, with a secret in its arguments, its environment and its memory."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _VICTIM, f"--password={self.secret}"],
            env={"DATABASE_PASSWORD": self.secret},
            cwd=self.home,
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        return process, int(process.stdout.readline())

    def _plantable(self) -> Iterator[Path]:
        library = Path(os.__file__).parent
        python = (
            Path(sys.executable).parent,
            library,
            library / "__pycache__",
            Path(os.path.realpath(sys.executable)).parent,
        )
        packages = (Path(path) for path in sys.path if path.endswith("-packages"))
        folders = (
            *map(Path, (*_SYSTEM_FOLDERS, *SHARED_FOLDERS)),
            *python,
            *packages,
            self.place,
            *map(Path, self.homes),
        )
        for folder in dict.fromkeys(folders):
            yield folder / self.token
            yield folder / f"{self.token}.pth"

    def _states(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for folder in (self.place, self.workspace / ".git"):
            for path in [folder, *sorted(folder.rglob("*"))]:
                inside = path != self.workspace and self.workspace in path.parents and ".git" not in path.parts
                if path != self.workspace and not inside and os.path.lexists(path):
                    yield str(path), _state(path)


def _state(path: Path) -> tuple[object, ...]:
    """Everything that a program could change; the time of a change shows what was changed back."""
    found = path.lstat()
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    attributes = tuple(os.listxattr(path, follow_symlinks=False))
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_ino, *times, content, attributes)
