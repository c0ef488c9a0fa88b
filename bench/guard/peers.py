"""The loop rules of other agents, written again from their documented behaviour, for the comparison. None of it is used
by the program.

Each function gives the step (from 0) at which the rule would first interfere in a recorded trajectory, else None.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Steps = Sequence[Mapping[str, Any]]


def call_of(step: Mapping[str, Any]) -> str:
    """Tool and arguments; a recorded hash stands for arguments that were cut in the recording."""
    return json.dumps([step["tool"], step.get("args_sha") or step["args"]], sort_keys=True)


def triple_of(step: Mapping[str, Any]) -> str:
    return hashlib.sha1((call_of(step) + str(step.get("obs_sha") or step["observation"])).encode()).hexdigest()


def openhands(steps: Steps) -> int | None:
    """Four times the same action with the same observation, or six steps A-B-A-B-A-B; thoughts are not compared.

    As shipped it compares thoughts too, which can only make it fire later; its other patterns need event kinds that
    recorded tool calls do not have."""
    seen = [triple_of(step) for step in steps]
    for i in range(len(seen)):
        if i >= 3 and len(set(seen[i - 3 : i + 1])) == 1:
            return i
        last = seen[i - 5 : i + 1] if i >= 5 else []
        if last and last[0::2] == [last[0]] * 3 and last[1::2] == [last[1]] * 3:
            return i
    return None


def gemini_cli(steps: Steps) -> int | None:
    """A pattern of one to five calls, five times in a row, whatever the results; the layer that looks at tool calls."""
    calls = [call_of(step) for step in steps]
    for i in range(len(calls)):
        for period in range(1, 6):
            block = calls[max(0, i + 1 - 5 * period) : i + 1]
            if len(block) == 5 * period and block[period:] == block[:-period]:
                return i
    return None


def opencode(steps: Steps) -> int | None:
    """Three times the same tool with the same input in a row, whatever the results."""
    calls = [call_of(step) for step in steps]
    return next((i for i in range(2, len(calls)) if calls[i] == calls[i - 1] == calls[i - 2]), None)


def crewai(steps: Steps) -> int | None:
    """The fifth time of the same tool, arguments and result anywhere in the run."""
    tally: Counter[str] = Counter()
    for i, step in enumerate(steps):
        tally[key := triple_of(step)] += 1
        if tally[key] == 5:
            return i
    return None


PEERS: Mapping[str, Callable[[Steps], int | None]] = {
    "OpenHands": openhands,
    "gemini-cli": gemini_cli,
    "opencode": opencode,
    "crewAI": crewai,
}
