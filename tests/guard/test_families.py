"""The detector on generated traces, and what it costs: the promises that `python -m bench.guard` measures in full."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrunner.guard.looks import look_of_trace
from agentrunner.guard.memory import KEPT, Memory
from agentrunner.guard.stuck import StuckDetector
from agentrunner.guard.traces import replay
from tests.guard.families import traces
from tests.guard.steps import made

TRACES = list(traces())


def test_there_are_enough_traces_and_half_of_them_are_near_misses() -> None:
    labels = Counter(trace.label for trace in TRACES)
    assert len(TRACES) >= 200
    assert labels["fine"] * 2 >= len(TRACES)
    assert list(traces()) == TRACES, "they are the same each time"


def test_loops_are_stopped_and_work_is_not() -> None:
    stopped = {trace.id for trace in TRACES if any(verdict.action == "stop" for _, verdict in replay(trace.steps))}
    loops = {trace.id for trace in TRACES if trace.label == "loop"}
    assert len(stopped & loops) >= 0.95 * len(loops), sorted(loops - stopped)
    assert len(stopped & loops) >= 0.98 * len(stopped), sorted(stopped - loops)


@pytest.mark.parametrize("trace", [trace for trace in TRACES if trace.label == "loop"], ids=lambda trace: trace.id)
def test_who_is_stopped_was_nudged_and_asked_for_another_plan_before(trace: Any) -> None:
    actions = [verdict.action for _, verdict in replay(trace.steps)]
    assert actions[-1] != "stop" or actions.index("nudge") < actions.index("replan") < actions.index("stop")


STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "tool": st.sampled_from(["shell", "read_file", ""]),
            "args": st.one_of(
                st.text(max_size=2), st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2)
            ),
            "observation": st.one_of(st.text(max_size=3), st.sampled_from(["", "error: no", "exit code 1"])),
        },
        optional={
            "error": st.booleans(),
            "workspace_sha": st.sampled_from(["a", "b", "c"]),
            "class": st.sampled_from(["poll", "read"]),
            "thought": st.text(max_size=3),
        },
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_steps_climb_one_rung_at_a_time(steps: list[dict[str, Any]]) -> None:
    rung = 0
    for _, verdict in replay(steps):
        now = ["nudge", "replan", "stop"].index(verdict.action) + 1
        assert now <= rung + 1
        rung = max(rung, now)
        assert verdict.evidence == tuple(sorted(set(verdict.evidence)))


@settings(max_examples=40, deadline=None)
@given(STEPS, st.data())
def test_a_detector_that_is_told_of_the_past_again_goes_on_as_if_it_had_not_stopped(steps: Any, data: Any) -> None:
    cut = data.draw(st.integers(0, len(steps)))

    def judge(detector: StuckDetector, first: int, last: int) -> list[Any]:
        return [detector.judge([look_of_trace(n, steps[n])]) for n in range(first, last)]

    whole = judge(StuckDetector(), 0, len(steps))
    again = StuckDetector()
    judge(again, 0, cut)
    assert judge(again, cut, len(steps)) == whole[cut:]


def size_of(thing: Any, seen: set[int]) -> int:
    """How many values hang on an object."""
    if isinstance(thing, Memory):
        return len(thing)
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type):
        return 1
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        return sum(size_of(each, seen) for each in thing.values())
    if isinstance(thing, Iterable):
        return sum(size_of(each, seen) for each in thing)
    parts = [getattr(thing, name) for name in getattr(thing, "__slots__", ()) if hasattr(thing, name)]
    return 1 + sum(size_of(each, seen) for each in [*parts, *getattr(thing, "__dict__", {}).values()])


def test_what_is_remembered_does_not_grow_for_ever() -> None:
    detector = StuckDetector()
    sizes: list[int] = []
    for n in range(3 * KEPT):
        detector.after(made(n, f"text {n} of item-{n}.txt", path=f"{n}.txt", workspace=f"w{n}", plan=f"{n}"))
        if n % KEPT == KEPT - 1:
            sizes.append(size_of(detector, set()))
    assert sizes[0] > KEPT
    assert sizes[2] <= sizes[1] * 1.01


def test_a_step_costs_no_more_at_its_thousandth_than_at_its_hundredth() -> None:
    detector = StuckDetector()
    seconds: list[float] = []
    for n in range(1_100):
        step = made(n, f"{n}: " + "a line of a result, src/module.py\n" * 100, path=f"{n}.txt")
        before = time.perf_counter()
        detector.after(step)
        seconds.append(time.perf_counter() - before)
    early, late = (sorted(seconds[at : at + 100])[20] for at in (100, 1_000))
    assert late < 0.003, "ten times what `bench.guard` promises: this machine may be busy"
    assert late < early * 3
