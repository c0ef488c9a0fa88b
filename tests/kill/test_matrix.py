"""SIGKILL at every point of every step, of every kind of effect, on both databases; then a resume. The judges are what
the endpoint and the tools wrote down themselves."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import NamedTuple

import pytest

from tests.kill.attempt import POINTS, Order
from tests.kill.scene import Scene, expected_transcript, transcript

KINDS = ("model", "pure", "idempotent", "unsafe")
DATABASES = ("sqlite", "postgres")
STEPS = range(1, 11)


class Case(NamedTuple):
    point: str
    step: int
    kind: str
    database: str


ALL = [Case(*case) for case in itertools.product(POINTS, STEPS, KINDS, DATABASES)]


def sample() -> set[Case]:
    """Cases in which every two values of different columns meet: chosen greedily, always the same."""
    open_pairs = {pair for case in ALL for pair in itertools.combinations(enumerate(case), 2)}
    chosen: set[Case] = set()
    while open_pairs:
        best = max(ALL, key=lambda case: len(open_pairs & set(itertools.combinations(enumerate(case), 2))))
        chosen.add(best)
        open_pairs -= set(itertools.combinations(enumerate(best), 2))
    return chosen


SAMPLE = sample()


def test_the_sample_is_pairwise_and_the_whole_has_480_cases() -> None:
    assert len(ALL) == len(set(ALL)) == 480
    assert len(SAMPLE) < 80


@pytest.mark.parametrize(
    ("point", "step", "kind", "database"),
    [
        pytest.param(
            *case, id="-".join(map(str, case)).replace(" ", "_"), marks=() if case in SAMPLE else pytest.mark.slow
        )
        for case in ALL
    ],
)
def test_a_session_killed_anywhere_goes_on_as_if_nothing_had_happened(
    scene: Scene, url: str, point: str, step: int, kind: str, database: str
) -> None:
    length = step if point == "after finish" else step + 1
    order = scene.order(url=url, kind=kind, length=length, point=point, step=step)
    assert scene.run(order) == [-9]
    journalled = {e.data["step"] for e in scene.events(order) if e.type == "completion.received"}
    asked_before = scene.asked(order)
    assert scene.resume(order) == 0
    events = scene.events(order)
    for type_ in ("completion.received", "tool.finished"):
        keys = [event.key for event in events if event.type == type_]
        assert len(keys) == len(set(keys)), f"{type_} twice for one place"
    asked = scene.asked(order)
    assert {s: asked[s] for s in journalled} == {s: asked_before[s] for s in journalled}, "a journalled answer again"
    assert asked == Counter(range(1, length + 2)) + Counter(asked_again(order))
    assert scene.effects(order) == wanted_effects(order)
    assert transcript(events) == wanted_transcript(order)
    assert events[-1].type == "session.finished"
    assert scene.resume(order) == 0
    assert scene.events(order) == events, "a session that is over goes no further"


def asked_again(order: Order) -> list[int]:
    """The one step whose answer was on its way to the journal: it stands there with the intents of its tools."""
    in_doubt = ("during effect", "after effect") if order.kind == "model" else ("before intent",)
    return [order.step] if order.point in in_doubt else []


def wanted_effects(order: Order) -> Counter[str]:
    wanted = Counter(f"{word} {n}" for word in ("begun", "done") for n in range(1, order.length + 1))
    match order.kind, order.point:
        case "model", "before intent" if order.step > 1:
            # The result of the step before is written together with this intent.
            wanted.update([f"begun {order.step - 1}", f"done {order.step - 1}"])
        case "pure" | "idempotent", "during effect":
            wanted.update([f"begun {order.step}"])
        case "pure" | "idempotent", "after effect":
            wanted.update([f"begun {order.step}", f"done {order.step}"])
        case "unsafe", "after intent":
            wanted.subtract([f"begun {order.step}", f"done {order.step}"])
        case "unsafe", "during effect":
            wanted.subtract([f"done {order.step}"])
        case _:
            pass
    return +wanted


def wanted_transcript(order: Order) -> list[tuple[object, ...]]:
    """That of a session nobody harms; but the model is told where the outcome of an unsafe tool is not known."""
    wanted = expected_transcript(order.kind, order.length)
    if order.kind == "unsafe" and order.point in ("after intent", "during effect", "after effect"):
        told = (
            "The outcome of this unsafe command is unknown: the session was interrupted while it ran. It may or may not"
            " have taken effect. Look at the workspace before you run it again. The variables of python are lost."
        )
        at = 2 * (order.step - 1) + 1
        wanted[at] = (*wanted[at][:2], "unknown", told)
    return wanted
