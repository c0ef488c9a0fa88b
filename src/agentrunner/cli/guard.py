"""`agent guard`: what the loop guard would have said on recorded traces."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentrunner.cli.options import load_settings
from agentrunner.errors import UsageError
from agentrunner.sanitise import clean

if TYPE_CHECKING:
    from agentrunner.guard.limits import Limits

guard_app = typer.Typer(add_completion=False, no_args_is_help=True)
APPS = {"guard": guard_app}


@guard_app.callback()
def guard() -> None:
    """Replay recorded traces through the loop guard."""


@guard_app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="One trajectory per line.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per trajectory.")] = False,
) -> int:
    """Say what the loop guard would have said. Lines without a trajectory are named and left out; then it exits 2."""
    from agentrunner.guard.traces import read_trajectories
    from agentrunner.runner.guarding import limits_of

    limits = limits_of(load_settings().settings)
    counts = {"stop": 0, "warned": 0, "all": 0, "bad": 0}
    try:
        with file.open("rb") as lines:
            for found in read_trajectories(lines):
                if isinstance(found, str):
                    counts["bad"] += 1
                    print(f"agent: {clean(f'{file.name}: {found}')}", file=sys.stderr)
                    continue
                _one(found.id, found.steps, limits, counts, as_json=as_json)
    except OSError as error:
        raise UsageError(f"cannot read {str(file)!r}: {error.strerror}", "give a file of recorded traces") from error
    if not as_json:
        print(f"{counts['all']} trajectories: {counts['stop']} stopped, {counts['warned']} only nudged or re-planned")
    return 2 if counts["bad"] else 0


def _one(
    name: str | int, steps: "list[Mapping[str, Any]]", limits: "Limits", counts: dict[str, int], *, as_json: bool
) -> None:
    from agentrunner.guard.traces import replay as verdicts_on

    verdicts = verdicts_on(steps, limits)
    stopped = verdicts[-1][0] if verdicts and verdicts[-1][1].action == "stop" else None
    counts["all"] += 1
    counts["stop" if stopped is not None else "warned"] += bool(verdicts)
    if as_json:
        said = [{"step": step, "action": verdict.action, "rule": verdict.rule} for step, verdict in verdicts]
        print(json.dumps({"id": name, "verdicts": said, "stopped_at": stopped}))
    elif verdicts:
        print(clean(f"{name}: {len(steps)} steps"))
        for step, verdict in verdicts:
            print(clean(f"  step {step}: {verdict.action} ({verdict.rule}): {verdict.reason}"))
