"""Answers to completions: calls, deliberation, objects in text, slips that are mended and those that are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.llm.lenient import loads, loads_lenient
from agentrunner.llm.reading import from_wire, malformed
from agentrunner.llm.wire import encode, encode_message
from agentrunner.types import Completion, Message, Thoughts, Usage
from tests.llm.parts import DEEP, TOOLS, tool

THOUGHTS = Thoughts("look", "to see", ("a", "b"), "slow", True)


def read(message: Any, protocol: Any = "tools", tools: Any = TOOLS, **rest: Any) -> Completion:
    return from_wire(
        {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}], **rest}, protocol, tools
    )


def called(*calls: tuple[str, Any], ids: bool = True) -> dict[str, Any]:
    entries = []
    for number, (name, arguments) in enumerate(calls):
        sent = arguments if isinstance(arguments, str) else json.dumps(arguments)
        entry: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": sent}}
        entries.append({"id": f"c{number}", **entry} if ids else entry)
    return {"role": "assistant", "content": None, "tool_calls": entries}


def verbatim(completion: Completion) -> list[str]:
    return [call["function"]["arguments"] for call in completion.message["tool_calls"]]


def test_thoughts_come_from_the_first_call_that_has_them_and_no_call_keeps_them() -> None:
    message = called(("python", {"code": "1"}), ("python", {"thoughts": DEEP, "code": "2"}))
    completion = read(message)
    assert completion.thoughts == THOUGHTS
    assert [call.arguments for call in completion.calls] == [{"code": "1"}, {"code": "2"}]
    assert completion.message == message


def test_a_model_that_leaves_thoughts_out_is_not_failed() -> None:
    completion = read(called(("python", {"code": "1"})))
    assert completion.thoughts is None
    assert completion.calls[0].problem == ""


def test_a_clients_function_may_have_an_argument_called_thoughts() -> None:
    own = tool("poem", thoughts=False)
    completion = read(called(("poem", {"thoughts": {"text": "mine"}})), tools=[own])
    assert completion.thoughts is None
    assert completion.calls[0].arguments == {"thoughts": {"text": "mine"}}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"text": "t", "plan": "- one\n- two\n"}, Thoughts("t", plan=("one", "two"))),
        ({"text": "t", "plan": "just this"}, Thoughts("t", plan=("just this",))),
        ({"text": "t", "plan": [1, {"step": "two"}, None, "3. three"]}, Thoughts("t", plan=("1", "two", "three"))),
        ({"text": 5, "revise": "true"}, Thoughts("5", revise=True)),
        ({"text": "t", "revise": "no"}, Thoughts("t")),
        ({"text": "t", "revise": 1, "criticism": None}, Thoughts("t", revise=True)),
        ("a thought", Thoughts("a thought")),
        ('{"text": "t"}', Thoughts("t")),
        ({}, None),
        (None, None),
        ([], None),
        (7, None),
    ],
)
def test_thoughts_of_other_types_are_understood(given_: Any, expected: Thoughts | None) -> None:
    assert read(called(("python", {"thoughts": given_, "code": "1"}))).thoughts == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"code": "1",}', {"code": "1"}),
        ('```json\n{"code": "1"}\n```', {"code": "1"}),
        ('{"code": "a\nb"}', {"code": "a\nb"}),
        ('{"code": "1", "fast": True, "more": None}', {"code": "1", "fast": True, "more": None}),
        ('{"code": "True, }"}', {"code": "True, }"}),
        (r'{"code": "re.match(\"\d+\", x)"}', {"code": r're.match("\d+", x)'}),
        (r'{"code": "it\'s"}', {"code": "it's"}),
    ],
)
def test_slips_are_mended_and_history_gets_the_mended_form(arguments: str, expected: Any) -> None:
    completion = read(called(("python", arguments)))
    assert completion.calls[0].arguments == expected
    assert completion.calls[0].problem == ""
    assert json.loads(verbatim(completion)[0]) == expected


@pytest.mark.parametrize("arguments", ['{"code": "1', '{"code": }', "not json", '{"a": NaN}', "[" * 100_000])
def test_unreadable_arguments_are_an_instruction_and_an_empty_object_in_history(arguments: str) -> None:
    completion = read(called(("python", arguments)))
    (call,) = completion.calls
    assert call.problem.startswith("the arguments of python are not valid JSON: ")
    assert call.problem.endswith("; send the call again with one JSON object")
    assert (call.arguments, verbatim(completion)) == ({}, ["{}"])


def test_arguments_that_are_no_object_say_what_they_are() -> None:
    completion = read(called(("python", "[1]")))
    assert completion.calls[0].problem.startswith("the arguments of python are a list, expected a JSON object")
    assert verbatim(completion) == ["{}"]


@pytest.mark.parametrize("arguments", ["", None])
def test_no_arguments_at_all_are_an_empty_object(arguments: Any) -> None:
    completion = read({"tool_calls": [{"id": "c", "function": {"name": "python", "arguments": arguments}}]})
    assert (completion.calls[0].arguments, completion.calls[0].problem) == ({}, "")
    assert verbatim(completion) == ["{}"]


def test_arguments_that_come_as_an_object_are_taken_as_they_are() -> None:
    message = {"tool_calls": [{"id": "c", "function": {"name": "python", "arguments": {"code": "1"}}}]}
    assert read(message).calls[0].arguments == {"code": "1"}


@pytest.mark.parametrize("change", ["missing", "repeated", "null"])
def test_call_ids_are_unique_within_the_answer_and_the_same_in_the_message(change: str) -> None:
    message = called(("python", {"code": "1"}), ("python", {"code": "1"}), ids=False)
    for entry in message["tool_calls"]:
        if change != "missing":
            entry["id"] = "same" if change == "repeated" else None
    completion = read(message)
    ids = [call.id for call in completion.calls]
    assert len(set(ids)) == 2
    assert all(ids)
    assert ids == [entry["id"] for entry in completion.message["tool_calls"]]
    assert ids == [call.id for call in read(message).calls]


def test_unknown_fields_stay_in_the_message() -> None:
    message = {"role": "assistant", "content": "hi", "reasoning_content": "r", "annotations": [], "x": {"y": 1}}
    completion = read(message)
    assert completion.message == message
    assert (completion.text, completion.model) == ("hi", "m")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": None, "refusal": "I will not"}, "I will not"),
        ({"content": None}, ""),
        ({"content": "<think>\nlong {\n</think>\n\nshort"}, "short"),
    ],
)
def test_text_is_what_a_person_would_read(message: Any, text: str) -> None:
    assert read(message).text == text


OBJECT = {"thoughts": DEEP, "command": {"name": "python", "args": {"code": "1"}}}


@pytest.mark.parametrize("protocol", ["tools", "json"])
@pytest.mark.parametrize(
    "content",
    [
        json.dumps(OBJECT),
        f"```json\n{json.dumps(OBJECT, indent=1)}\n```",
        f"Here it is: {{}} and so {json.dumps(OBJECT)}\nDone.",
        json.dumps({"thoughts": DEEP, "command": {"name": "python", "arguments": {"code": "1"}}}),
        json.dumps({"thoughts": DEEP, "commands": [{"name": "python", "args": {"code": "1"}}]}),
        json.dumps({"thoughts": DEEP, "command": "python", "args": {"code": "1"}}),
        json.dumps({"thoughts": DEEP, "command": {"name": "python", "args": '{"code": "1"}'}}),
        json.dumps(OBJECT)[:-1] + ",}",
        json.dumps(OBJECT).replace("true", "True"),
    ],
)
def test_a_command_in_the_text_is_a_call(content: str, protocol: Any) -> None:
    completion = read({"content": content}, protocol)
    assert completion.problem == ""
    assert [(call.name, call.arguments) for call in completion.calls] == [("python", {"code": "1"})]
    assert completion.thoughts == THOUGHTS
    assert completion.message["content"] == content


def test_several_commands_in_one_object_are_several_calls() -> None:
    command = OBJECT["command"]
    completion = read({"content": json.dumps({"commands": [command, command]})}, "json")
    assert len({call.id for call in completion.calls}) == 2


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"thoughts": DEEP}, '"command" is missing: expected an object'),
        ({"command": {"args": {}}}, '"command.name" is missing: expected a string, one of python, read_file'),
        ({"command": {"name": 5}}, '"command.name" is a number: expected a string, one of'),
        ({"command": {"name": "python", "args": [1]}}, '"command.args" is a list: expected an object'),
        ({"command": {"name": "python", "args": "{"}}, '"command.args" is a string that is not JSON'),
        ({"command": 5}, '"command" is a number: expected an object'),
        ({"commands": [{"name": "python"}, {}]}, '"commands[1].name" is missing'),
    ],
)
def test_an_object_that_is_not_a_command_names_the_field_and_what_it_should_be(said: Any, problem: str) -> None:
    completion = read({"content": json.dumps(said)}, "json")
    assert completion.problem.startswith(problem)
    assert completion.calls == ()


def test_an_object_that_was_meant_as_a_command_but_is_cut_is_a_problem() -> None:
    completion = read({"content": '{"thoughts": {"text": "t"}, "command": {"name": "write_fi'}, "json")
    assert completion.problem.startswith("the JSON object in your message could not be read")


@pytest.mark.parametrize("content", ["The answer is 5.", 'A dict: {"rows": 5}', "f(x) = {x}", ""])
def test_text_without_a_command_is_text(content: str) -> None:
    completion = read({"content": content}, "json")
    assert (completion.text, completion.calls, completion.problem) == (content, (), "")


def test_text_is_only_text_when_no_tools_were_offered() -> None:
    content = json.dumps(OBJECT)
    assert read({"content": content}, "json", ()).text == content
    assert read({"content": content}, "json", ()).calls == ()


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2}, Usage(10, 0, 2, 0)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(10, 8, 5, 3),
        ),
        (
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(10, 4, 5, 1),
        ),
        # Reasoning left out of the output, as the total or its own size shows: it is billed all the same.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 22,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            Usage(10, 0, 12, 7),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 0, "prompt_cache_hit_tokens": 99}, Usage(10, 10, 0, 0)),
        ({"prompt_tokens": 10.0, "completion_tokens": 2.0, "prompt_tokens_details": None}, Usage(10, 0, 2, 0)),
        ({"prompt_tokens": 10}, None),
        ({"completion_tokens": 10}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1}, None),
        ({"prompt_tokens": "10", "completion_tokens": True}, None),
        (None, None),
        ([], None),
        ({}, None),
    ],
)
def test_usage_in_the_shapes_that_endpoints_use(given_: Any, expected: Usage | None) -> None:
    assert read({"content": "x"}, usage=given_).usage == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(
    ["choices", "message", "content", "tool_calls", "function", "name", "arguments", "id", "usage", "command", "args"]
)
likely = st.recursive(
    json_values | st.sampled_from(["{", '{"command": {"name": "python"}}', '{"a": 1,}', "\ud800", '"\\ud800"']),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(keys, likely, max_size=4), st.sampled_from(["tools", "json"]))
def test_reading_never_raises_whatever_the_endpoint_sends(data: Any, protocol: Any) -> None:
    malformed(data)
    completion = from_wire(data, protocol, TOOLS)
    for direction in ("tools", "json"):
        json.loads(encode_message(Message("assistant", completion.text, raw=completion.message), direction))
    assert len({call.id for call in completion.calls}) == len(completion.calls)


@given(st.dictionaries(keys, likely, max_size=4), st.sampled_from(["tools", "json"]))
def test_reading_never_raises_whatever_the_message_holds(message: Any, protocol: Any) -> None:
    completion = read(message, protocol)
    again = from_wire({"choices": [{"message": completion.message}]}, protocol, TOOLS)
    assert [call.id for call in again.calls] == [call.id for call in completion.calls] or not message.get("tool_calls")
    encode(completion.message)


@given(json_values)
def test_mending_leaves_alone_what_is_well(value: Any) -> None:
    text = json.dumps(value)
    try:
        expected = loads(text)
    except ValueError:
        return
    assert loads_lenient(text) == expected
    assert loads_lenient(f"```json\n{text}\n```") == expected


@given(st.text(alphabet='{}[]",:\\ aT\nru1'))
def test_mending_raises_nothing_but_value_errors(text: str) -> None:
    try:
        loads_lenient(text)
    except ValueError:
        return


@pytest.mark.parametrize("text", ['"' + '\\"' * 500_000, "{" * 500_000, '{"a":' * 50_000, ", " * 500_000 + "}"])
def test_reading_is_quick_on_text_made_to_be_slow(text: str) -> None:
    with pytest.raises(ValueError):
        loads_lenient(text)
    read({"content": text}, "json")
