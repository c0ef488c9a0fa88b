"""Streams as endpoints really send them: lines cut anywhere, ids and indices missing, repeated or all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.llm.streams import Accumulator, events


def collected(*chunks: bytes) -> list[Any]:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def gather() -> list[Any]:
        return [event async for event in events(source())]

    return asyncio.run(gather())


def assembled(*deltas: dict[str, Any]) -> dict[str, Any]:
    accumulator = Accumulator()
    for delta in deltas:
        accumulator.add({"choices": [{"delta": delta}]})
    return accumulator.result()["choices"][0]["message"]


def piece(arguments: str = "", name: str | None = None, call_id: str | None = None, index: int | None = None) -> Any:
    function = {"arguments": arguments} | ({"name": name} if name is not None else {})
    entry: dict[str, Any] = {"function": function}
    return {"tool_calls": [entry | ({"id": call_id} if call_id else {}) | ({} if index is None else {"index": index})]}


def told(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]


STREAM = (
    'data: {"a": "\u2028é"}\r\n\r\n: comment\n\nevent: x\ndata:{"b":1}\n\ndata: {"c":\ndata: 2}\n\ndata: [DONE]\n\n'
).encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_lines_may_be_cut_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[start:end] for start, end in pairwise(edges)]
    assert collected(*parts) == [{"a": "\u2028é"}, {"b": 1}, {"c": 2}, None]


def test_a_last_line_without_a_line_break_counts() -> None:
    assert collected(b'data: {"a": 1}') == [{"a": 1}]


@pytest.mark.parametrize(
    "deltas",
    [
        # as OpenAI does it
        [
            piece("", "f", "a", 0),
            piece('{"x"', index=0),
            piece(":1}", index=0),
            piece("", "g", "b", 1),
            piece("{}", index=1),
        ],
        # id and name in every chunk
        [piece('{"x"', "f", "a", 0), piece(":1}", "f", "a", 0), piece("{}", "g", "b", 1)],
        # no index
        [piece('{"x"', "f", "a"), piece(":1}"), piece("{}", "g", "b")],
        # the index is always 0
        [piece('{"x":1}', "f", "a", 0), piece("{}", "g", "b", 0)],
        # neither index nor id
        [piece('{"x":1}', "f"), piece("{}", "g")],
        # a name in pieces
        [piece("", "", "a", 0), piece('{"x":1}', "f", index=0), piece("{}", "g", "b", 1)],
        # interleaved
        [
            piece("", "f", "a", 0),
            piece("", "g", "b", 1),
            piece('{"x"', index=0),
            piece("{}", index=1),
            piece(":1}", index=0),
        ],
    ],
)
def test_calls_are_put_together(deltas: list[Any]) -> None:
    assert told(assembled(*deltas)) == [("f", '{"x":1}'), ("g", "{}")]


def test_the_same_tool_twice_without_ids_is_two_calls() -> None:
    assert told(assembled(piece('{"x":1}', "f"), piece('{"x":2}', "f"))) == [("f", '{"x":1}'), ("f", '{"x":2}')]


def test_fields_of_a_call_that_are_not_known_are_kept() -> None:
    entry = {"index": 0, "id": "a", "extra_content": {"signature": "s"}, "function": {"name": "f", "arguments": "{}"}}
    (call,) = assembled({"tool_calls": [entry]})["tool_calls"]
    assert call["extra_content"] == {"signature": "s"}
    assert "index" not in call


def test_text_is_joined_and_the_role_is_not() -> None:
    message = assembled({"role": "assistant", "content": ""}, {"role": "assistant", "content": "a"}, {"content": "b"})
    assert message == {"role": "assistant", "content": "ab"}


def test_parts_and_reasoning_details_are_appended() -> None:
    message = assembled({"content": [{"text": "a"}], "details": [1]}, {"content": [{"text": "b"}], "details": [2]})
    assert message == {"content": [{"text": "a"}, {"text": "b"}], "details": [1, 2]}


def test_usage_may_come_in_any_chunk_and_null_does_not_take_it_back() -> None:
    accumulator = Accumulator()
    accumulator.add({"model": "m", "choices": [{"delta": {"content": "a"}}], "usage": None})
    accumulator.add({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
    accumulator.add({"choices": [], "usage": None})
    assert accumulator.result()["usage"] == {"prompt_tokens": 1}
    assert accumulator.finished


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "tool_calls", "function", "id", "index", "name", "arguments"]), inner
        )
    ),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "error"]), values), max_size=4))
def test_no_chunk_makes_it_fall_over(chunks: list[Any]) -> None:
    accumulator = Accumulator()
    for chunk in chunks:
        accumulator.add(chunk)
    json.dumps(accumulator.result())
