"""The host's side of attacks on the network, on processes and on limits, put together for one scene."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from .host import Caller, Listeners, Peaks, Sampler, ended, own_addresses, state_of, still_there
from .scene import Scene

LIMITS = (
    *("wall=8", "cpu=6", "memory=1G", "memory_total=2G", "tasks=64"),
    *("file=256M", "growth=512M", "entries=10000", "output=1M"),
)
AT_MOST_S = 12.0
"""The wall clock of these limits, and what it takes to start and to end everything on a busy machine."""


@dataclass(frozen=True)
class Seen:
    """What the host saw of one run."""

    reached: dict[str, int]
    """Listeners that something arrived at, and how often."""
    harm: str
    """What was done to the victim."""
    survivors: int
    peaks: Peaks
    largest_bytes: int
    """Of the files at the top of the workspace, by the size that they pretend to have."""


_seen: WeakKeyDictionary[Scene, Seen] = WeakKeyDictionary()


def seen(scene: Scene) -> Seen:
    """For a judge, after the run."""
    return _seen[scene]


@contextlib.contextmanager
def beside(scene: Scene, *, socket_in_workspace: bool = False) -> Iterator[dict[str, Any]]:
    """Stands there during the run; the workspace is emptied afterwards, since what is in it may be huge."""
    with contextlib.ExitStack() as around:
        folders = [scene.place]
        if socket_in_workspace:
            folders.append(scene.workspace / "deep")
            folders[-1].mkdir(exist_ok=True)
        listeners = Listeners(folders, scene.token)
        around.callback(listeners.close)
        caller = Caller()
        around.callback(caller.close)
        before = state_of(scene.victim.pid)
        with Sampler(scene.workspace) as sampler:
            yield {
                "tcp_port": listeners.tcp_port,
                "udp_port": listeners.udp_port,
                "addresses": own_addresses(),
                "unix_path": str(scene.place / listeners.NAME),
                "datagram_path": str(scene.place / listeners.DATAGRAM_NAME),
                "abstract": listeners.abstract,
                "inbound_port": caller.port,
            }
        after = state_of(scene.victim.pid)
        counts = {**listeners.reached, "inbound": caller.answered}
        _seen[scene] = Seen(
            reached={kind: count for kind, count in counts.items() if count},
            harm="" if after == before else f"the victim was changed from {before} to {after}",
            survivors=len(ended(still_there(scene.token, 1.0))),
            peaks=sampler.peaks,
            largest_bytes=max((path.lstat().st_size for path in scene.workspace.iterdir()), default=0),
        )
        print(sampler.peaks)  # pytest -rP shows it
        _empty(scene.workspace)


def _empty(folder: Path) -> None:
    """By a program that goes as deep as a tree does."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    subprocess.run(["rm", "-rf", "--", *(str(path) for path in folder.iterdir())], check=True, timeout=60)
