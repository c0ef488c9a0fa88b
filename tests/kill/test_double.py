"""Two resumes of one session at the same moment: one goes on with it, the other one does nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kill.scene import Scene, differences

BUSY, FENCED = 2, 4


def tries(few: int, many: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("times", [few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@tries(4, 100)
def test_on_one_machine_the_second_is_turned_away(scene: Scene, url: str, database: str, times: int) -> None:
    turned_away = 0
    for n in range(times):
        order = scene.order(url=url, kind="unsafe", length=40, point="after intent", step=1 + n % 3)
        assert scene.run(order) == [-9]
        again = replace(order, point="", step=0)
        codes = scene.run(again, again)
        # One that is late by the whole session finds it over, and says how it ended.
        assert sorted(codes) in ([0, BUSY], [0, 0])
        turned_away += BUSY in codes
        events = scene.events(order)
        assert sum(event.type == "session.claimed" for event in events) == 2
        assert set(scene.asked(order).values()) == {1}
        assert differences(order, events) == [f"/tool:{order.step}:0"]
    assert turned_away > times * 0.7


@pytest.mark.parametrize("database", ["postgres"])
@tries(5, 100)
def test_on_two_machines_the_one_that_claimed_first_is_fenced_off(
    scene: Scene, url: str, database: str, times: int
) -> None:
    fenced = 0
    for _ in range(times):
        order = scene.order(url=url, kind="unsafe", length=40, point="after result", step=2)
        assert scene.run(order) == [-9]
        journalled = {e.data["step"] for e in scene.events(order) if e.type == "completion.received"}
        here, there = replace(order, point="", step=0), replace(order, point="", step=0, home="elsewhere")
        codes = scene.run(here, there)
        assert sorted(codes) in ([0, FENCED], [0, 0])
        fenced += FENCED in codes
        events, asked, effects = scene.events(order), scene.asked(order), scene.effects(order)
        assert all(asked[step] == 1 for step in journalled), "an answer that stood in the journal was asked for again"
        assert sum(asked.values()) - len(asked) <= 1, "being fenced off costs at most the answer that was on its way"
        assert max(effects.values()) == 1, "an unsafe effect was repeated"
        assert len(differences(order, events)) <= 1
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert fenced > times // 2
