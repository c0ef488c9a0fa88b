"""A disk that is full or breaks under the journal: no effect, and no request, without its intent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kill.scene import Scene, differences

JOURNAL_FULL = 5
LENGTH = 14
BROKEN = [{"file_bytes": 4096 * n} for n in range(9, 90, 11)]
"""No file grows beyond this: the system refuses the write, and SQLite calls it an I/O error."""
FULL = [{"pages": n} for n in range(8, 20, 2)]
"""The database has no page left."""


def harm(scene: Scene, how: dict[str, Any], number: int) -> tuple[bool, int]:
    """Whether the journal refused, and how many effects had begun by then."""
    order = scene.order(kind="mixed", length=LENGTH, home=f"{'-'.join(how)}-{number}", **how)
    [code] = scene.run(order)
    assert code in (0, JOURNAL_FULL)
    events = scene.events(order)
    sent = {event.data["step"] for event in events if event.type == "request.sent"}
    started = {event.data["arguments"].get("n") for event in events if event.type == "tool.started"}
    begun = {int(line.split()[1]) for line in scene.effects(order) if line.startswith("begun")}
    assert set(scene.asked(order)) <= sent, "a request without its intent"
    assert begun <= started, "an effect without its intent"
    assert scene.resume(order) == 0
    differences(order, scene.events(order))
    effects = scene.effects(order)
    assert all(effects[f"begun {step}"] <= 1 for step in range(2, LENGTH + 1, 3)), "an unsafe effect was repeated"
    return code == JOURNAL_FULL, len(begun)


@pytest.mark.parametrize("cases", [BROKEN, FULL], ids=["broken", "full"])
def test_nothing_is_done_that_the_journal_could_not_take_down_before(scene: Scene, cases: list[dict[str, Any]]) -> None:
    outcomes = [harm(scene, how, number) for number, how in enumerate(cases)]
    refused = [begun for refused, begun in outcomes if refused]
    assert len(set(refused)) >= 4, f"the disk gave out at too few different places: {outcomes}"
