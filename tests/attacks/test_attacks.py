"""Every attack of the tables, behind every wall of this machine: none gets through but where that is announced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from . import kernel, limits, network, output, processes, reading, writing
from .harness import OVER, WALLS, Attack, run_attack
from .scene import Scene

TABLE = [*reading.ATTACKS, *writing.ATTACKS, *kernel.ATTACKS, *output.ATTACKS]
TABLE += [*network.ATTACKS, *processes.ATTACKS, *limits.ATTACKS]
SAMPLED_WALL = "native"
PARTIAL_GAPS = {"r13_dotenv_ws", "w08_git_hooks"}
"""What PARTIAL says of itself: `.env` can be read and `.git` changed where there is no mount namespace."""


def _rows() -> Iterator[object]:
    for attack in TABLE:
        for wall in WALLS:
            sampled = not attack.slow and wall == SAMPLED_WALL
            yield pytest.param(attack, wall, id=f"{attack.id}-{wall}", marks=[] if sampled else pytest.mark.slow)


@pytest.mark.parametrize(("attack", "wall"), list(_rows()))
def test_an_attack_does_not_get_through(
    make_scene: Callable[..., Scene],
    need_wall: Callable[[str], None],
    attack: Attack,
    wall: str,
) -> None:
    need_wall(wall)
    scene = make_scene(exposed=attack.exposed)
    options: tuple[str, ...] = ()
    if wall == "partial" and attack.exposed:
        assert run_attack(scene, wall, attack).refused, "what this level exposes needs somebody's word"
        options = ("--allow-exposed-workspace",)
    ran = run_attack(scene, wall, attack, options)
    assert not ran.refused, ran.err
    assert OVER in ran.out or not attack.ends, f"the attack itself failed: {ran}"
    escaped = attack.judge(scene, ran)
    if wall == "partial" and attack.id in PARTIAL_GAPS:
        assert escaped, "this gap is closed now: it is to be taken from PARTIAL_GAPS, and from what the level says"
    else:
        assert not escaped, f"{escaped}\n{ran}"


@pytest.mark.slow
@pytest.mark.parametrize("attack", [pytest.param(a, id=a.id) for a in TABLE if a.bites])
def test_an_attack_bites_where_there_is_no_wall(make_scene: Callable[..., Scene], attack: Attack) -> None:
    """Within this test's own things; a judge that never finds anything would prove nothing."""
    scene = make_scene(exposed=attack.exposed)
    ran = run_attack(scene, "", attack)
    assert attack.judge(scene, ran), f"nothing was found, as user {os.geteuid()}\n{ran}"
