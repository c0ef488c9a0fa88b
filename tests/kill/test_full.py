"""A disk that is full or breaks under the journal: no effect, and no request, without its intent."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.kill.attempt import Order
from tests.kill.broken_disk import FAULTS, missing
from tests.kill.scene import Scene, differences, open_scene

JOURNAL_FULL = 5
LENGTH = 14
LIMITED = [{"file_bytes": 4096 * n} for n in range(9, 90, 11)]
"""No file grows beyond this: the system refuses the write, and SQLite calls it an I/O error."""
FULL = [{"pages": n} for n in range(8, 20, 2)]
"""The database has no page left."""


def order_for(scene: Scene, number: int, **how: Any) -> Order:
    return scene.order(kind="mixed", length=LENGTH, home=f"{'-'.join(how)}-{number}", **how)


def harm(scene: Scene, order: Order, mended: Callable[[], None] = lambda: None) -> tuple[bool, int]:
    """Whether the journal refused, and how many effects had begun by then."""
    [code] = scene.run(order)
    assert code in (0, JOURNAL_FULL)
    events = scene.events(order)
    sent = {event.data["step"] for event in events if event.type == "request.sent"}
    started = {event.data["arguments"].get("n") for event in events if event.type == "tool.started"}
    begun = {int(line.split()[1]) for line in scene.effects(order) if line.startswith("begun")}
    assert set(scene.asked(order)) <= sent, "a request without its intent"
    assert begun <= started, "an effect without its intent"
    mended()
    assert scene.resume(order) == 0
    events = scene.events(order)
    differences(order, events)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    effects = scene.effects(order)
    assert all(effects[f"begun {step}"] <= 1 for step in range(2, LENGTH + 1, 3)), "an unsafe effect was repeated"
    return code == JOURNAL_FULL, len(begun)


def places(outcomes: list[tuple[bool, int]]) -> int:
    """After how many different effects the disk gave out."""
    return len({begun for refused, begun in outcomes if refused})


@pytest.mark.parametrize("cases", [LIMITED, FULL], ids=["limited", "full"])
def test_nothing_is_done_that_the_journal_could_not_take_down_before(scene: Scene, cases: list[dict[str, Any]]) -> None:
    outcomes = [harm(scene, order_for(scene, number, **how)) for number, how in enumerate(cases)]
    assert places(outcomes) >= 4, f"the disk gave out at too few different places: {outcomes}"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ats", [(2, 3, 6), pytest.param(range(1, 31), marks=pytest.mark.slow)], ids=["few", "all"])
def test_a_disk_that_breaks_at_any_commit_stops_the_session_before_its_next_effect(
    scene: Scene, fault: str, ats: Sequence[int]
) -> None:
    if why := missing():
        pytest.skip(f"no disk can be broken here: {why}")
    outcomes = [harm(scene, order_for(scene, at, fault=fault, fault_at=at)) for at in ats]
    assert all(refused for refused, _ in outcomes), f"a commit succeeded on a broken disk: {outcomes}"
    assert places(outcomes) >= len(ats) // 3


class SmallDisk:
    """A file system of a few hundred kilobytes, in a namespace of its own."""

    def __init__(self, scene: Scene, place: Path) -> None:
        self._scene, self._place = scene, place

    def mount(self, kilobytes: int) -> None:
        self._inside("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(self._place))

    def grow(self) -> None:
        self._inside("mount", "-o", "remount,size=64m", str(self._place))

    def copy(self, target: Path) -> None:
        self._inside("cp", "-r", f"{self._place}/.", str(target))

    def _inside(self, *command: str) -> None:
        enter = ["nsenter", "-t", str(self._scene.nursery), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*enter, *command], check=True, capture_output=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Scene, SmallDisk, Path]]:
    namespace = ("unshare", "--user", "--map-root-user", "--mount")
    try:
        tried = subprocess.run([*namespace, "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True)
    except FileNotFoundError as error:
        pytest.skip(f"no small disk here: {error.filename} is not installed")
    if tried.returncode:
        pytest.skip(f"no small disk here: {tried.stderr.decode(errors='replace').strip()}")
    place = tmp_path / "disk"
    place.mkdir()
    with open_scene(tmp_path, within=namespace) as scene:
        scene.run()  # Who answers has moved into its namespace.
        yield scene, SmallDisk(scene, place), place


@pytest.mark.parametrize(
    "sizes", [(90, 150, 230), pytest.param(range(80, 420, 10), marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_a_file_system_that_is_full_is_told_and_what_it_holds_is_whole(
    small: tuple[Scene, SmallDisk, Path], sizes: Sequence[int]
) -> None:
    scene, disk, place = small
    outcomes: list[tuple[bool, int]] = []
    for size, number in zip(sizes, itertools.count()):
        disk.mount(size)
        order = replace(order_for(scene, number), home=place.name)
        outcomes.append(harm(Copied(scene, disk, number), order, disk.grow))
    assert places(outcomes) >= min(3, len(sizes)), f"the disk gave out at too few different places: {outcomes}"


class Copied(Scene):
    """The scene of which the journal lies on a disk that cannot be seen from here."""

    def __init__(self, scene: Scene, disk: SmallDisk, number: int) -> None:
        self.__dict__.update(scene.__dict__)
        self._disk, self._copies = disk, (f"copy-{number}-{n}" for n in itertools.count())

    def events(self, order: Order) -> list[Any]:
        copy = self.folder / next(self._copies)
        self._disk.copy(copy)
        return super().events(replace(order, home=copy.name))
