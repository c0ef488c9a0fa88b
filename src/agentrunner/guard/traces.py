"""What the guard would have said on recorded trajectories: one JSON object per line, each with an id and its steps."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from agentrunner.guard.limits import Limits
from agentrunner.guard.looks import look_of_trace
from agentrunner.guard.stuck import StuckDetector
from agentrunner.types import Verdict


@dataclass(frozen=True, slots=True)
class Trajectory:
    id: str | int
    steps: list[Mapping[str, Any]]


def read_trajectories(lines: Iterable[bytes]) -> Iterator[Trajectory | str]:
    """One per line that is not empty; for a line that holds none, a sentence with its number that says why."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _trajectory(json.loads(line))
        except UnicodeDecodeError:
            yield f"line {number}: not UTF-8 text"
        except json.JSONDecodeError as error:
            yield f"line {number}: not JSON: {error.msg} (column {error.colno})"
        except RecursionError:
            yield f"line {number}: not a trajectory: nested too deeply"
        except ValueError as error:
            yield f"line {number}: not a trajectory: {error}"


def replay(steps: Iterable[Mapping[str, Any]], limits: Limits | None = None) -> list[tuple[int, Verdict]]:
    """The verdicts up to the first stop, each with its command, counted from 0. The commands of one answer, which have
    the same `turn`, are judged together; the verdict then stands at the last of them."""
    detector = StuckDetector(limits)
    verdicts: list[tuple[int, Verdict]] = []
    for _, commands in groupby(enumerate(steps), _answer):
        answer = list(commands)
        number, last = answer[-1]
        verdict = detector.judge([look_of_trace(*each) for each in answer])
        if verdict is not None:
            verdicts.append((number, verdict))
            if verdict.action == "stop":
                break
        if last.get("spoken"):
            detector.spoken()
    return verdicts


def _answer(command: tuple[int, Mapping[str, Any]]) -> object:
    number, step = command
    turn = step.get("turn")
    return ("alone", number) if turn is None else turn


def _trajectory(found: object) -> Trajectory:
    """Raises `ValueError`."""
    if not isinstance(found, dict):
        raise ValueError("expected an object")
    data = cast(dict[str, Any], found)
    if not isinstance(data.get("id"), str | int):
        raise ValueError(f"'id' must be text or a number, not {data.get('id')!r:.40}")
    if not isinstance(data.get("steps"), list):
        raise ValueError("'steps' must be a list")
    for number, step in enumerate(data["steps"]):
        _check_step(number, step)
    return Trajectory(data["id"], data["steps"])


_WORDS: Mapping[type, str] = {
    str: "text",
    dict: "an object",
    int: "a number",
    bool: "true or false",
    list: "a list",
}


def _check_step(number: int, step: object) -> None:
    if not isinstance(step, dict):
        raise ValueError(f"step {number} must be an object")
    data = cast(dict[str, Any], step)
    wanted: dict[str, tuple[type, ...]] = {"tool": (str,), "args": (str, dict), "observation": (str,)}
    optional: dict[str, tuple[type, ...]] = {
        "obs_sha": (str,),
        "obs_len": (int,),
        "error": (bool,),
        "exit_code": (int,),
        "workspace_sha": (str,),
        "thought": (str,),
        "class": (str,),
        "args_sha": (str,),
        "error_sha": (str,),
        "ran": (bool,),
        "listed": (list,),
        "turn": (int,),
        "spoken": (bool,),
    }
    for key, types in (wanted | optional).items():
        if key in wanted and key not in data:
            raise ValueError(f"step {number} has no {key!r}")
        if data.get(key) is not None and not isinstance(data[key], types):
            kinds = " or ".join(_WORDS[each] for each in types)
            raise ValueError(f"step {number}: {key!r} must be {kinds}, not {data[key]!r:.40}")
        if key in wanted and data[key] is None:
            raise ValueError(f"step {number}: {key!r} is null")
