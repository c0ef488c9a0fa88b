"""The toolbox of a session, from its settings."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentrunner.types import JSON

if TYPE_CHECKING:
    from agentrunner.config import Settings
    from agentrunner.sandbox import Sandbox
    from agentrunner.tools import LocalToolbox, Tool

TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".parquet")
"""What counts as a table when no file was named."""


def _nobody(_: str) -> None:
    return None


def open_tools(
    settings: "Settings",
    workspace: Path,
    outputs: Path,
    sandbox: "Sandbox | None",
    prompts: Mapping[str, str],
    output_schema: JSON | None,
    remark: Callable[[str], None] = _nobody,
    inner: "Sequence[Tool]" = (),
) -> "LocalToolbox":
    from agentrunner.tools import build_toolbox

    web = "fixtures" if settings.dry_run or settings.script is not None else "live"
    return build_toolbox(
        workspace=workspace,
        outputs=outputs,
        sandbox=sandbox,
        web="off" if settings.no_web else web,
        approve="yes" if settings.yes else settings.approve,
        allow_net=settings.allow_net,
        output_schema=output_schema,
        descriptions={name.removeprefix("tools/"): text for name, text in prompts.items() if name.startswith("tools/")},
        python_timeout_s=settings.python_timeout,
        knowledge=[Path(folder) for folder in settings.knowledge],
        cache=settings.home / "cache",
        remark=remark,
        inner=inner,
    )


def table_in(workspace: Path) -> str:
    """The newest table at the top of the workspace, empty when there is none."""
    if not workspace.is_dir():
        return ""
    tables = [path for path in workspace.iterdir() if path.suffix.lower() in TABLES and path.is_file()]
    return max(tables, key=lambda path: path.stat().st_mtime).name if tables else ""
