"""Requests as bytes: schemas with the deliberation, messages in both protocols, and a prefix that stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentrunner.llm.chat import ChatDialect
from agentrunner.llm.reading import from_wire
from agentrunner.llm.wire import MAX_BUFFERS, Transcripts, encode, encode_message, is_strict
from agentrunner.types import Message, ToolSpec
from tests.llm.parts import TEXTS, TOOLS, Talk, tool

CALL = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "hm",
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "extra_content": {"signature": "s"},
            "function": {"name": "python", "arguments": '{"thoughts":{"text":"t"},"code":"1"}'},
        }
    ],
}


def sent(message: Message, protocol: Any = "tools") -> Any:
    return json.loads(encode_message(message, protocol))


def described(**changes: Any) -> Any:
    return ChatDialect().tools([tool(**changes)], TEXTS)[0]["function"]["parameters"]


def test_thoughts_are_the_first_property_and_the_first_that_is_required() -> None:
    parameters = described()
    assert list(parameters["properties"]) == ["thoughts", "code"]
    assert parameters["required"] == ["thoughts", "code"]
    thoughts = parameters["properties"]["thoughts"]
    assert thoughts["description"] == TEXTS["thoughts"]
    assert {name: field["type"] for name, field in thoughts["properties"].items()} == {
        "text": "string",
        "reasoning": "string",
        "plan": "array",
        "criticism": "string",
        "revise": "boolean",
    }
    assert thoughts["properties"]["revise"]["description"] == TEXTS["thoughts.revise"]


def test_a_clients_own_function_is_described_as_it_is() -> None:
    own = tool(thoughts=False)
    assert ChatDialect().tools([own], TEXTS)[0]["function"]["parameters"] == own.parameters


def test_a_tool_that_has_a_parameter_called_thoughts_keeps_it() -> None:
    own = {"type": "object", "properties": {"thoughts": {"type": "string"}}}
    diary = ToolSpec("diary", "Keeps a diary.", own)
    assert ChatDialect().tools([diary], TEXTS)[0]["function"]["parameters"] == own
    message = {"tool_calls": [{"id": "c", "function": {"name": "diary", "arguments": '{"thoughts": "dear"}'}}]}
    (one,) = from_wire({"choices": [{"message": message}]}, "tools", [diary]).calls
    assert one.arguments == {"thoughts": "dear"}


def test_the_assistants_message_goes_back_verbatim() -> None:
    assert sent(Message("assistant", "", raw=CALL)) == CALL


def test_an_empty_list_of_calls_is_not_sent_back_and_content_is_never_null_alone() -> None:
    said = sent(Message("assistant", "", raw={"role": "assistant", "content": None, "tool_calls": []}))
    assert said == {"role": "assistant", "content": ""}


def test_results_travel_as_tool_messages_or_as_a_line_that_names_the_tool() -> None:
    result = Message("tool", "ok: 2", call_id="c1", name="python")
    assert sent(result) == {"role": "tool", "tool_call_id": "c1", "content": "ok: 2"}
    assert sent(result, "json") == {"role": "user", "content": "Result of python:\nok: 2"}


def test_a_message_with_calls_from_before_the_switch_becomes_the_object() -> None:
    said = sent(Message("assistant", "", raw=CALL), "json")
    assert said["role"] == "assistant"
    assert json.loads(said["content"]) == {
        "thoughts": {"text": "t"},
        "command": {"name": "python", "args": {"code": "1"}},
    }


def test_the_result_of_a_call_that_came_as_text_has_no_tool_message() -> None:
    content = '{"command": {"name": "python", "args": {"code": "1"}}}'
    completion = from_wire({"choices": [{"message": {"content": content}}]}, "tools", TOOLS)
    (one,) = completion.calls
    result = Message("tool", "ok", call_id=one.id, name=one.name)
    assert sent(result)["role"] == "user"


def test_lone_surrogates_become_replacement_characters_and_pairs_are_joined() -> None:
    assert encode({"a": "x\ud800y"}) == '{"a":"x\ufffdy"}'.encode()
    assert encode("\ud83d\ude00") == '"😀"'.encode()
    assert encode({"ü": 1}) == '{"ü":1}'.encode()


def test_each_message_is_encoded_once_and_the_bytes_before_it_stay() -> None:
    encoded: list[Message] = []

    def watched(message: Message, protocol: Any) -> bytes:
        encoded.append(message)
        return encode_message(message, protocol)

    transcripts = Transcripts(watched)
    talk = Talk(Message("system", "s"), Message("user", "u"))
    before = bytes(transcripts.of(talk, "tools"))
    for step in range(50):
        talk.messages.append(Message("user", f"step {step}"))
        after = bytes(transcripts.of(talk, "tools"))
        assert after.startswith(before)
        before = after
    assert len(encoded) == len(talk.messages) == 52
    assert json.loads(b"[" + before + b"]")[-1]["content"] == "step 49"


def test_a_fold_begins_anew() -> None:
    transcripts = Transcripts()
    talk = Talk(Message("system", "s"), Message("user", "long"))
    transcripts.of(talk, "tools")
    talk.messages[1:] = [Message("user", "short"), Message("user", "next")]
    talk.epoch += 1
    assert [one["content"] for one in json.loads(b"[" + transcripts.of(talk, "tools") + b"]")] == ["s", "short", "next"]


def test_more_conversations_than_are_kept_are_still_told_apart() -> None:
    transcripts = Transcripts()
    talks = [Talk(Message("user", f"u{number}")) for number in range(MAX_BUFFERS * 2)]
    for _ in range(2):
        for number, talk in enumerate(talks):
            assert b'"u%d"' % number in transcripts.of(talk, "tools")


@pytest.mark.parametrize("first", ["system", "user"])
def test_instructions_are_added_to_the_system_message_or_make_one(first: Any) -> None:
    talk = Talk(Message(first, "one"), Message("user", "two"))
    transcripts = Transcripts()
    messages = json.loads(b"[" + transcripts.of(talk, "json", "Answer in JSON.") + b"]")
    assert messages[0]["role"] == "system"
    assert messages[0]["content"].endswith("Answer in JSON.")
    talk.messages.append(Message("user", "three"))
    again = json.loads(b"[" + transcripts.of(talk, "json", "Answer in JSON.") + b"]")
    assert again == [*messages, {"role": "user", "content": "three"}]
    assert ("one" in messages[0]["content"]) == (first == "system")


def test_only_closed_schemas_with_all_fields_required_are_strict() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert is_strict(closed)
    assert not is_strict({**closed, "required": []})
    assert not is_strict({"type": "array", "items": {"type": "object"}})
