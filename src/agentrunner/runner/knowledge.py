"""Folders of knowledge that come with a goal: checked, and announced to the model."""

import os
from collections.abc import Sequence
from pathlib import Path

from agentrunner.errors import UsageError

MAX_FOLDERS = 16
"""Each is named in the system prompt, and holds a descriptor."""


def check_knowledge(folders: Sequence[str], workspace: Path, home: Path) -> tuple[str, ...]:
    """The folders' real paths, each once, without those inside of the workspace, which is searched anyway. Raises
    `UsageError` for one that is no folder, cannot be read, or would lay the user's home or ours open to the agent."""
    if len(folders) > MAX_FOLDERS:
        raise UsageError(f"--knowledge was given {len(folders)} times", f"at most {MAX_FOLDERS}; name a folder above")
    kept = {Path("/"), Path.home().resolve(), home.resolve()}
    found: dict[Path, None] = {}
    for folder in folders:
        real = Path(folder).expanduser().resolve()
        if not real.is_dir():
            why = "is not a folder" if real.exists() else "does not exist"
            raise UsageError(f"--knowledge {folder!r} {why}", "give --knowledge the folder as it is now")
        if any(real in (place, *place.parents) for place in kept) or home.resolve() in real.parents:
            raise UsageError(
                f"--knowledge may not be {folder!r}: everything in it could be read by the model",
                "give a folder that holds only what the agent should know",
            )
        if real in workspace.parents:
            raise UsageError(f"--knowledge {folder!r} holds the workspace", "move one of them, or give a folder in it")
        if not os.access(real, os.R_OK | os.X_OK):
            raise UsageError(f"--knowledge {folder!r} cannot be read", "check its rights")
        if not real.is_relative_to(workspace):
            found[real] = None
    return tuple(str(real) for real in found if not any(other in real.parents for other in found))


def notes_of(folders: Sequence[str], workspace: Path) -> list[str]:
    """What the model is told of them."""
    from agentrunner.tools.workspace import shelf_name

    names = [shelf_name(Path(folder), workspace) for folder in folders]
    return [
        f"{name}/ holds knowledge for this goal: file_search finds passages in it, and read_file, list_files and "
        "search_files take paths that begin with it. It is read-only, and code and commands do not see it."
        for name in names
    ]
