"""The wall, climbed at from all sides: whatever an endpoint does, its own bill stays within the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrunner.journal import open_journal
from agentrunner.types import Event
from tests.guard.adversary import Adversary, Door, Fate, Tariff, Turn
from tests.guard.wall import Case, Run, Scene

SAMPLE, FUZZ = 200, 2_500
FATES: tuple[Fate, ...] = ("no_usage", "500", "cut", "drop", "429", "408", "empty", "error_in_200", "400")
ANYTHING = st.characters(exclude_categories=())
"""All of Unicode, halves of surrogate pairs among it."""
SHARES = st.fractions(0, 1, max_denominator=8)
DULL = Tariff(2_000_000, 10_000_000, 200_000, 0)


class FastLoop(asyncio.SelectorEventLoop):
    """Waits of the engine pass faster. What is really waited for, sockets, is as slow as ever."""

    SPEED = 200.0
    """A first retry comes after 3 ms; last words still have 100 ms of real time."""

    def __init__(self) -> None:
        super().__init__()
        selector: Any = self._selector  # pyright: ignore[reportAttributeAccessIssue]
        select = selector.select
        selector.select = lambda timeout=None: select(timeout and timeout / self.SPEED)

    def time(self) -> float:
        return super().time() * self.SPEED


class Stage:
    """Plays cases one after the other."""

    def __init__(self, home: Path) -> None:
        self._loop = FastLoop()
        self._journal = open_journal(home)
        self._door = Door()
        self._scene = Scene(self._journal, self._door, self._loop.run_until_complete(self._door.open()))

    def play(self, case: Case) -> Run:
        return self._loop.run_until_complete(self._scene.play(case))

    def close(self) -> None:
        self._loop.run_until_complete(self._scene.close())
        self._loop.run_until_complete(self._door.close())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._journal.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with closing(Stage(tmp_path_factory.mktemp("wall"))) as made:
        yield made


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    fate = draw(st.one_of(st.just("answer"), st.just("answer"), st.sampled_from(FATES)))
    said = draw(st.one_of(st.just(Fraction(1)), SHARES))
    cached = draw(st.one_of(st.just(Fraction(0)), SHARES))
    return Turn(fate, said, cached, draw(st.text(ANYTHING, max_size=20)))


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    given_rate = draw(st.one_of(st.just(0), st.integers(10_000, 20_000_000)))
    return Tariff(
        given_rate,
        draw(st.one_of(st.just(0), st.integers(10_000, 80_000_000))),
        draw(st.integers(0, given_rate)),
        draw(st.sampled_from([0, given_rate, given_rate * 5 // 4])),
        draw(st.sampled_from([None, None, 500, 3_000, 20_000])),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    ratio = draw(st.one_of(st.just(Fraction(1)), st.fractions(Fraction(1, 8), 1, max_denominator=8)))
    alone = draw(st.booleans())
    also = draw(st.sampled_from(["", "", "", "", "", "", "tokens", "steps"]))
    plan = draw(st.lists(turns(), min_size=1, max_size=6))
    if alone:  # One conversation, no report of which is lost: then it may be counted now so, now so.
        plan = [replace(turn, ratio=draw(st.fractions(Fraction(1, 10), 1, max_denominator=10))) for turn in plan]
    adversary = Adversary(draw(tariffs()), tuple(plan), ratio)
    multiple = draw(st.sampled_from([True, True, True, False]))
    limit = st.fractions(Fraction(1, 2), 20, max_denominator=50) if multiple else st.fractions(0, Fraction(1, 20))
    return Case(
        adversary,
        goal=draw(st.text(ANYTHING, max_size=40)) * draw(st.integers(0, 60)),
        finding=draw(st.text(ANYTHING, max_size=30)),
        limit=draw(limit),
        multiple=multiple,
        cap=draw(st.sampled_from([64, 256, 300, 1_000, 16_384])),
        stream=draw(st.booleans()),
        branches=0 if alone else draw(st.sampled_from([0, 2, 5])),
        rounds=draw(st.integers(1, 30)),
        crashes=() if alone else tuple(draw(st.lists(st.tuples(st.integers(1, 16), st.booleans()), max_size=3))),
        cancels=() if alone else tuple(draw(st.lists(st.integers(1, 9), max_size=2))),
        raises=tuple(draw(st.lists(st.fractions(0, 1, max_denominator=4), max_size=1))),
        retries=draw(st.integers(0, 3)),
        tokens=draw(st.integers(0, 100_000)) if also == "tokens" else None,
        steps=draw(st.integers(0, 20)) if also == "steps" else None,
    )


def settle_accounts(case: Case, run: Run) -> None:
    """The endpoint's bill is within the limit at every moment and never above what we say was spent; and a cost stop
    comes only when most of the limit is used."""
    assert not run.adversary.excess, run.adversary.excess
    ends = [event.data for event in run.events if event.type == "session.finished"]
    assert all(end["guaranteed"] for end in ends), ends
    if run.events[-1].type == "session.finished":
        assert ends[-1]["spent_usd"] >= run.adversary.billed / 1e12 * (1 - 1e-9)
    assert case.steps is None or sum(answered(event) for event in run.events) <= case.steps
    first = next((event for event in run.events if event.type == "request.sent" and event.data["step"]), None)
    if first is None or not ends or ends[-1]["reason"] != "budget_cost":
        return
    known, booked = worked_with(run.events)
    assert known <= run.adversary.billed / 1e12 * (1 + 1e-9)
    if float(run.limit) > 3 * first.data["reserved_usd"]:
        assert known + booked >= 0.6 * float(run.limit)


def answered(event: Event) -> bool:
    """Whether it is a step: an answer that is not the last words."""
    return event.type == "completion.received" and event.data["step"] is not None


def worked_with(events: list[Event]) -> tuple[float, float]:
    """Dollars of the answers whose cost is known, and of the attempts of which it is not, up to the last stop: without
    the words that came after it."""
    open_, known, booked = dict[str, float](), 0.0, 0.0
    last = max(event.seq for event in events if event.type == "session.claimed")
    for event in events:
        if event.data.get("label") == "wrap_up" and event.seq > last:
            continue
        if event.type == "request.sent":
            booked += open_.pop(event.key, 0.0)
            open_[event.key] = event.data["reserved_usd"]
        elif event.type == "request.failed":
            booked += open_.pop(event.key) if event.data["booked_usd"] is not None else 0.0 * open_.pop(event.key)
        elif event.type == "completion.received":
            open_.pop(event.key)
            known += event.data["cost_usd"] if event.data["_reported"] else 0.0
            booked += 0.0 if event.data["_reported"] else event.data["cost_usd"]
    return known, booked + sum(open_.values())


def checked(stage: Stage, case: Case) -> Run:
    run = stage.play(case)
    settle_accounts(case, run)
    return run


RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=SAMPLE, suppress_health_check=RELAXED)
@given(case=cases())
def test_the_bill_stays_within_the_limit(stage: Stage, case: Case) -> None:
    checked(stage, case)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=FUZZ, derandomize=False, suppress_health_check=RELAXED)
@given(case=cases())
def test_the_bill_stays_within_the_limit_in_many_more_runs(stage: Stage, case: Case) -> None:
    checked(stage, case)
