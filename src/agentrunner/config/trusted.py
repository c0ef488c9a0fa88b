"""Which project files the user has agreed to: `agent trust` records their content, a changed file has to be agreed to
again. It does not know what a file may do; the configuration decides that.

The list is kept in AGENT_HOME, outside of every project, so that no project can write itself into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from agentrunner.errors import UsageError

PROJECT_FILES = ("agent.toml", ".env")
MAX_BYTES = 1024 * 1024
"""No configuration is larger; a link to something endless must not be read to its end."""

Standing = Literal["trusted", "changed", "unknown"]
"""The file is as it was when its directory was trusted; it is not; its directory never was."""


def trust(directory: Path, home: Path) -> list[str]:
    """Agree to the project files of `directory` as they are now. Returns the names of those that are there."""
    root = directory.resolve()
    if not root.is_dir():
        raise UsageError(f"cannot trust {str(directory)!r}: it is not a directory", "give the directory of a project")
    contents = {name: read_project_file(root / name) for name in PROJECT_FILES}
    trusted = dict(_read(home))
    trusted[str(root)] = {name: _digest(content) for name, content in contents.items() if content is not None}
    _write(home, trusted)
    return list(trusted[str(root)])


def is_trusted(directory: Path, home: Path) -> bool:
    """Whether all project files of `directory` are as they were when it was trusted; False when it never was."""
    root = directory.resolve()
    contents = {name: read_project_file(root / name) for name in PROJECT_FILES}
    standings = [standing(root, name, content, home) for name, content in contents.items() if content is not None]
    return str(root) in _read(home) and all(each == "trusted" for each in standings)


def standing(directory: Path, name: str, content: bytes, home: Path) -> Standing:
    """How the user stands to this content of the project file `name`. The caller must use just this content: reading
    the file again could bring another one."""
    files = _read(home).get(str(directory.resolve()))
    if files is None:
        return "unknown"
    return "trusted" if files.get(name) == _digest(content) else "changed"


def read_project_file(path: Path) -> bytes | None:
    """Its content, None when there is no such regular file. Raises `UsageError` when it cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}", "make it readable, or move it away") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{str(path)!r} is larger than {MAX_BYTES} bytes", "a configuration file is expected there")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(home: Path) -> Mapping[str, Mapping[str, str]]:
    path = home / "trusted.json"
    try:
        found: object = json.loads(path.read_bytes())
        directories = cast(dict[str, dict[str, dict[str, str]]], found)["directories"]
        return {root: dict(files) for root, files in directories.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            f"the list of trusted directories {str(path)!r} cannot be read: {error}",
            "move it away and run 'agent trust' again",
        ) from error


def _write(home: Path, directories: Mapping[str, Mapping[str, str]]) -> None:
    """Replaced as a whole: a process that reads it at this moment sees the old list or the new one."""
    text = json.dumps({"version": 1, "directories": directories}, indent=2)
    temporary = home / f"trusted.{secrets.token_hex(4)}.part"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
            temporary.replace(home / "trusted.json")
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot write the list of trusted directories in {str(home)!r}: {error.strerror}",
            "set AGENT_HOME to a writable folder",
        ) from error
