"""Filters by attributes mean what they say, whatever is compared with whatever."""

import operator
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.errors import UsageError
from agentrunner.retrieval.filters import MAX_DEPTH
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.search import search
from tests.retrieval.parts import chunk, names

ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
NAMES = st.sampled_from(["year", "author", "done", "'; DROP TABLE sources; --", ""])
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1e308, 2**70, float("inf"), -float("inf")]))
VALUES = st.one_of(st.booleans(), NUMBERS, st.sampled_from(["", "0", "1", "ann", "ännä", "\ud800", "\0", "2026-01-02"]))
COMPARISONS = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne", *ORDER]), "key": NAMES, "value": VALUES}),
    st.fixed_dictionaries({"type": st.sampled_from(["in", "nin"]), "key": NAMES, "value": st.lists(VALUES)}),
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def kind(value: object) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def holds(filter_: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    """What a filter means, said again without SQL."""
    type_ = filter_["type"]
    if type_ in ("and", "or"):
        return (all if type_ == "and" else any)(holds(each, attributes) for each in filter_["filters"])
    here = attributes.get(filter_["key"])
    wanted = filter_["value"] if type_ in ("in", "nin") else [filter_["value"]]
    fitting = [value for value in wanted if kind(value) == kind(here)]
    if type_ in ORDER:
        return any(ORDER[type_](here, value) for value in fitting)
    return (here in fitting) == (type_ in ("eq", "in"))


@given(st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=5), FILTERS)
def test_a_filter_lets_through_exactly_what_it_means(sources: list[dict[str, Any]], filter_: dict[str, Any]) -> None:
    index = Index()
    for number, attributes in enumerate(sources):
        index.put("notes", str(number), [chunk("apples")], version="1", attributes=attributes)
    found = search(index, "apples", stores=["notes"], filters=filter_)
    meant = {str(number): attributes for number, attributes in enumerate(sources) if holds(filter_, attributes)}
    assert {hit.source: hit.attributes for hit in found} == meant


def test_dates_as_text_are_compared_in_order() -> None:
    index = Index()
    for day in ("2026-01-31", "2026-02-01", "2026-11-23"):
        index.put("notes", day, [chunk("apples")], version="1", attributes={"day": day})
    since = {"type": "gte", "key": "day", "value": "2026-02-01"}
    assert sorted(names(search(index, "apples", stores=["notes"], filters=since))) == ["2026-02-01", "2026-11-23"]


def test_nothing_is_equal_to_what_is_no_number() -> None:
    index = Index()
    index.put("notes", "a", [chunk("apples")], version="1", attributes={"n": 1})
    for type_, found in (("eq", []), ("lt", []), ("ne", ["a"])):
        filter_ = {"type": type_, "key": "n", "value": float("nan")}
        assert names(search(index, "apples", stores=["notes"], filters=filter_)) == found


def nested(depth: int) -> dict[str, Any]:
    filter_: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(depth - 1):
        filter_ = {"type": "and", "filters": [filter_]}
    return filter_


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ("a = 1", "a filter has 'a = 1'; expected an object with 'type'"),
        ({}, "a filter has None; expected a type of eq, ne"),
        (
            {"type": "like", "key": "a", "value": "b"},
            "'like'; expected a type of eq, ne, gt, gte, lt, lte, in, nin, and, or",
        ),
        ({"type": ["eq"], "key": "a", "value": "b"}, "expected a type of"),
        ({"type": "eq", "value": "b"}, "expected the name of an attribute in 'key'"),
        ({"type": "eq", "key": "a", "value": None}, "expected text, a number, true or false in 'value'"),
        ({"type": "eq", "key": "a", "value": ["b"]}, "expected text, a number, true or false in 'value'"),
        ({"type": "in", "key": "a", "value": "b"}, "expected a list in 'value' of 'in'"),
        ({"type": "and", "filters": []}, "expected a list of filters in 'filters' of 'and'"),
        ({"type": "or", "filters": {}}, "expected a list of filters in 'filters' of 'or'"),
        (nested(MAX_DEPTH + 1), "a filter is too large"),
        ({"type": nested(10_000)}, "expected a type of"),
        (nested(10_000), "a filter is too large"),
        ({"type": "or", "filters": [nested(1)] * 1000}, "a filter is too large"),
        ({"type": "in", "key": "a", "value": list(range(10_000))}, "a filter has 10002 values"),
    ],
    ids=lambda value: reprlib.repr(value),
)
def test_what_is_no_filter_is_refused_with_a_sentence(filter_: object, said: str) -> None:
    with pytest.raises(UsageError) as error:
        search(Index(), "apples", stores=["notes"], filters=filter_)
    assert said in str(error.value)


def test_the_largest_filter_works() -> None:
    index = Index()
    index.put("notes", "a", [chunk("apples")], version="1", attributes={"a": 1})
    wide = {"type": "or", "filters": [nested(MAX_DEPTH - 1)] * 28}
    long = {"type": "in", "key": "a", "value": list(range(4_900))}
    for filter_ in (wide, long, nested(MAX_DEPTH)):
        assert names(search(index, "apples", stores=["notes"], filters=filter_)) == ["a"]
