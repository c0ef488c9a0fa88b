"""The program as its users run it: a process with arguments, an environment of its own, and two streams."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import forks
from tests.support.replays import differences

JSON = dict[str, Any]


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def events(self) -> list[JSON]:
        """Standard output of --json: every line must be an object."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def finished(self) -> JSON:
        last = self.events[-1]
        assert last["type"] == "session.finished", last
        return last

    def of_type(self, type_: str) -> list[JSON]:
        return [event for event in self.events if event["type"] == type_]


class Agent:
    """`agent` in a folder of its own, with an AGENT_HOME of its own and nothing of the developer's environment."""

    always_starts = False
    """Whether each command is a process that was started by itself, also where a fork would do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "agent-home"
        self.workspace = folder / "workspace"
        self.replayable = True
        """Set to False by a test that spoils the journal, or changes what its sessions were made with."""
        folder.mkdir(parents=True, exist_ok=True)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        return (
            keep
            | {"HOME": str(self.folder), "AGENT_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.folder / "config")}
            | dict(extra or {})
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "agentrunner", *arguments]

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"", timeout: float = 90
    ) -> Done:
        """Run a command to its end. It is a fork where its variables are none that an interpreter or a library might
        look for when it starts."""
        environment = self.environment(env)
        if not self.always_starts and all(name.startswith("AGENT_") for name in env or ()):
            code, out, err = forks.run(arguments, self.folder, environment, stdin, timeout)
        else:
            done = subprocess.run(
                self.command(*arguments),
                cwd=self.folder,
                env=environment,
                input=stdin,
                capture_output=True,
                timeout=timeout,
            )
            code, out, err = done.returncode, done.stdout, done.stderr
        return Done(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def script(self, *entries: JSON, name: str = "script.yaml") -> str:
        """Write a script of answers and return its path."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(list(entries), allow_unicode=True), encoding="utf-8")
        return str(path)

    def replays(self) -> list[str]:
        """What differs when this folder's sessions are run again from their journal, in this process."""
        return differences(self.home, self.environment(), self.folder)

    def session(self) -> str:
        """The id of the newest session."""
        return json.loads(self("sessions", "list", "--json").out.splitlines()[0])["id"]


def says(name: str, /, thoughts: JSON | None = None, **arguments: Any) -> JSON:
    """A script's entry with one call."""
    entry: JSON = {"calls": [{"name": name, "arguments": arguments}]}
    return entry | ({"thoughts": thoughts} if thoughts else {})


def finish(answer: str = "done", *artifacts: str, **more: Any) -> JSON:
    return says("finish", answer=answer, artifacts=list(artifacts), **more)


def writes(path: str, content: str = "text") -> JSON:
    return says("write_file", path=path, content=content)
