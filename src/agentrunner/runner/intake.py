"""What comes in with a run, checked and put in its place: the goal, the workspace, the files, the answer's schema."""

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agentrunner.errors import UsageError
from agentrunner.sandbox import PathError, Root
from agentrunner.sandbox.plan import exposed
from agentrunner.types import JSON

MAX_GOAL_BYTES = 64 * 1024
"""A goal is sent with every request; more than this belongs into a file."""
MAX_FILE_BYTES = 256 * 1024 * 1024
"""The sandbox lets no file of the workspace be larger."""


def check_goal(goal: str) -> str:
    """The goal without surrounding space. Raises `UsageError` when it is empty or too long."""
    goal = goal.strip()
    if not goal:
        raise UsageError("the goal is empty", "say what is to be reached: agent run --goal 'TEXT'")
    size = len(goal.encode("utf-8", "replace"))
    if size > MAX_GOAL_BYTES:
        hint = f"at most {MAX_GOAL_BYTES:,}; put the text into a file and give it with --file"
        raise UsageError(f"the goal has {size:,} bytes", hint)
    return goal


def check_workspace(path: Path, home: Path) -> Path:
    """The workspace's real path, made when it is not there. Raises `UsageError` when it cannot be worked in, or when it
    would lay the user's home or ours (`home`, where the journal is) open to the agent."""
    kept = {Path("/"), Path.home().resolve(), home.resolve()}
    if any(path.resolve() in (place, *place.parents) for place in kept) or home.resolve() in path.resolve().parents:
        raise UsageError(f"the workspace may not be {str(path)!r}", "give --workspace a folder for this work alone")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"the workspace {str(path)!r} is not a folder", "give --workspace a folder") from None
    except OSError as error:
        raise UsageError(f"the workspace {str(path)!r} cannot be made: {error.strerror}", "give --workspace") from None
    real = path.resolve()
    if not os.access(real, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(f"the workspace {str(path)!r} is not writable", "give --workspace a folder of yours")
    return real


def why_exposed(workspace: Path) -> str:
    """Why no code should run in this workspace where `.env` files and `.git` cannot be kept from it; empty when there
    are none."""
    found = exposed(str(workspace))
    if not found:
        return ""
    shown = ", ".join(map(repr, found[:3])) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    return (
        f"the sandbox is PARTIAL here and programs could read or change {shown} in the workspace; move it away, or add "
        "--allow-exposed-workspace"
    )


def read_files(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Names and contents of the files given with the goal; "-" is standard input. Raises `UsageError`."""
    return [_read(path) for path in paths]


def read_schema(path: Path | None) -> JSON | None:
    """The JSON schema that the answer must have, if there is one. Raises `UsageError`."""
    if path is None:
        return None
    import json

    from jsonschema import Draft202012Validator, SchemaError

    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
    except (OSError, ValueError, SchemaError) as error:
        why = getattr(error, "message", None) or getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--output-schema {str(path)!r} is not usable: {why}", "give a JSON schema file") from None
    return schema


def copy_files(files: Sequence[tuple[str, bytes]], workspace: Path) -> tuple[str, ...]:
    """Put the files into the workspace and return their names there.

    A file of that name with other content is kept, and the copy gets a number: "table-2.csv".
    """
    root = Root(workspace)
    return tuple(_copy(root, name, data) for name, data in files)


def _read(path: str) -> tuple[str, bytes]:
    if path == "-":
        return "stdin.txt", sys.stdin.buffer.read(MAX_FILE_BYTES)
    file = Path(path)
    try:
        path.encode()
        if not file.is_file():
            why = "is not a file" if file.exists() else "does not exist"
            raise UsageError(f"--file {path!r} {why}", "give the path of a file that can be read")
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"--file {path!r} has {file.stat().st_size:,} bytes", f"at most {MAX_FILE_BYTES:,}")
        return file.name, file.read_bytes()
    except UnicodeEncodeError:
        raise UsageError(f"the name of --file {path!r} is not text", "give it another name first") from None
    except OSError as error:
        raise UsageError(f"--file {path!r} cannot be read: {error.strerror}", "check the path and its rights") from None


def _copy(root: Root, name: str, data: bytes) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    digest = hashlib.sha256(data).digest()
    for number in range(1, 1000):
        candidate = name if number == 1 else f"{stem}-{number}{suffix}"
        try:
            if not root.exists(candidate):
                root.write(candidate, data)
                return candidate
            if hashlib.sha256(root.read(candidate, 0, MAX_FILE_BYTES)).digest() == digest:
                return candidate
        except PathError:
            continue
        except OSError as error:
            raise UsageError(
                f"{candidate!r} cannot be written to the workspace: {error.strerror}",
                "make room there, or give --workspace another folder",
            ) from None
    raise UsageError(f"the workspace holds too many files named like {name!r}", "tidy it up, or give another one")
