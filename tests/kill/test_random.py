"""SIGKILL at random moments, again and again, until each session is over all the same."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.kill.scene import Scene, differences, open_scene

LENGTH = 30
STEPS_AT_MOST = 8
"""A kill comes at most as long after the attempt began as so many steps take."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    # A few milliseconds of latency, so that kills fall into requests as well as between them.
    with open_scene(tmp_path_factory.mktemp("random"), latency_s=0.003) as opened:
        yield opened


@pytest.fixture
def longest_s(scene: Scene, url: str) -> float:
    """How long that is on this machine, as busy as it is."""
    begun = time.monotonic()
    assert scene.run(scene.order(url=url, kind="mixed", length=LENGTH)) == [0]
    return min(0.4, (time.monotonic() - begun) * STEPS_AT_MOST / LENGTH)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("kills", "seed"), [(30, 1), *(pytest.param(50, seed, marks=pytest.mark.slow) for seed in range(2, 12))]
)
def test_sessions_killed_at_random_moments_come_to_their_end(
    scene: Scene, url: str, longest_s: float, database: str, kills: int, seed: int
) -> None:
    dice = random.Random(f"{seed} {database}")
    killed = sessions = in_the_middle = 0
    while killed < kills or sessions < 5:
        now, halfway = one_session(scene, url, dice, longest_s, most=kills // 5)
        killed, sessions, in_the_middle = killed + now, sessions + 1, in_the_middle + halfway
    assert in_the_middle > kills // 3, "the kills came too early or too late to prove anything"


def one_session(scene: Scene, url: str, dice: random.Random, longest_s: float, most: int) -> tuple[int, int]:
    """How often it was killed, and how often of these it had something in its journal and was not over."""
    order = scene.order(url=url, kind="mixed", length=LENGTH)
    killed = halfway = 0
    while killed < most:
        [code] = scene.run(order, kill_after_s=dice.uniform(0.002, longest_s))
        events = scene.events(order)
        if code == 0:
            break
        assert code == -9
        killed += 1
        halfway += bool(events) and events[-1].type != "session.finished"
        journalled = [event.data["step"] for event in events if event.type == "completion.received"]
        before = scene.asked(order)
        # The next attempt ends by itself or by a kill; neither may ask again for what stood in the journal.
        dies = dice.random() < 0.5
        [code] = scene.run(order, kill_after_s=dice.uniform(0.002, longest_s) if dies else longest_s)
        assert code in (0, -9)
        killed += code == -9
        asked = scene.asked(order)
        assert {step: asked[step] for step in journalled} == {step: before[step] for step in journalled}
    assert scene.resume(order) == 0
    asked, effects = scene.asked(order), scene.effects(order)
    assert set(asked) == set(range(1, LENGTH + 2))
    assert sum(asked.values()) - len(asked) <= killed, "one kill costs at most one answer"
    unknown = differences(order, scene.events(order))
    assert len(unknown) <= killed
    for step in range(1, LENGTH + 1):
        begun, done = effects[f"begun {step}"], effects[f"done {step}"]
        if step % 3 == 2:
            assert begun <= 1, "an unsafe effect was repeated"
            assert done == 1 or f"/tool:{step}:0" in unknown
        else:
            assert begun >= done >= 1
    return killed, halfway
