"""What the packaged scripts of `--dry-run` need and cannot do: said before the run rather than in the middle of it."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.errors import UsageError
from agentrunner.runner.tools import table_in
from agentrunner.sandbox.paths import PathError, Root

if TYPE_CHECKING:
    from agentrunner.config import Settings

_PACKAGE = Path(__file__).parent.parent
SCRIPTS = {"autogpt": "analyse.yaml", "babyagi": "research.yaml"}
REPORT = "report.md"
"""What the research writes: when nothing but this lies in the workspace, there is nothing to search."""
FIRST_TASK = "Look through the files for what bears on the goal"


def rehearses(settings: "Settings") -> bool:
    """Whether a packaged script answers."""
    return settings.dry_run and settings.script is None


def runs_code(settings: "Settings") -> bool:
    """Whether it is a packaged script that needs a sandbox; the research only reads, and writes its report."""
    return rehearses(settings) and settings.strategy == "autogpt"


def packaged_script(strategy: str) -> Path:
    return _PACKAGE / "scripts" / SCRIPTS[strategy]


def packaged_notes() -> Path:
    """The example notes, in a wheel or in a checkout."""
    inside = _PACKAGE / "notes"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "examples" / "notes"


def check_rehearsal(settings: "Settings", files: Sequence[str]) -> None:
    """Raise `UsageError` for what the packaged script cannot do."""
    if not rehearses(settings):
        return
    if settings.output_schema is not None:
        raise UsageError("--dry-run knows nothing of --output-schema", "give --script an answer of that schema")
    if not runs_code(settings) or importlib.util.find_spec("pandas") is not None:
        return
    table = next(iter(files), "") or table_in(settings.workspace)
    if table:
        hint = "pip install 'agentrunner[data]'"
        raise UsageError(f"--dry-run would analyse the table {table!r}, and pandas is not installed", hint)


def first_task(settings: "Settings") -> str:
    """What a list of tasks begins with: what the user said, else what the packaged research was written for."""
    begins = FIRST_TASK if rehearses(settings) and settings.strategy == "babyagi" else ""
    return settings.first_task or begins


def something_to_search(settings: "Settings", workspace: Path) -> tuple[str, ...]:
    """The packaged notes, when the packaged research would find nothing else to search in; else nothing."""
    if not rehearses(settings) or settings.strategy != "babyagi" or settings.knowledge or settings.file:
        return ()
    root = Root(workspace)
    try:
        names = [entry.path for entry in root.entries(".") if entry.kind == "file" and entry.path != REPORT]
        return () if any(_is_text(root, name) for name in names) else (str(packaged_notes()),)
    finally:
        root.close()


def _is_text(root: Root, name: str) -> bool:
    try:
        head = root.read(name, max_bytes=8_192)
    except PathError:  # kept from models
        return False
    return bool(head.strip()) and b"\0" not in head
