"""The Responses dialect against a real HTTP endpoint: the same values out, its own items in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentrunner.errors import ModelError
from agentrunner.llm.responses import ResponsesModel
from agentrunner.types import Message, Thoughts, Usage
from tests.llm.parts import DEEP, TOOLS, Talk, ask, model, request
from tests.support.endpoint import Answer, Endpoint, call, calls, error, text

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


def responses(url: str, **options: Any) -> Any:
    return model(url, ResponsesModel, **options)


@both_ways
def test_calls_and_thoughts_come_through_and_go_back_as_items(stream: bool) -> None:
    talk = Talk(Message("system", "s"), Message("user", "u"))
    answer = Answer(calls=(("python", {"code": "1"}), ("read_file", '{"path": ')), thoughts=DEEP)
    answer = Answer(**{**vars(answer), "extra": {"output": [REASONING, {"type": "reasoning", "id": "rs_2"}]}})
    with Endpoint([answer, text("done")]) as endpoint:
        (completion,) = ask(responses(endpoint.base_url, stream=stream), request(talk))
        talk.add(completion, "ok: 1", "no")
        (last,) = ask(responses(endpoint.base_url, stream=stream), request(talk))
        first, second = (received.json for received in endpoint.requests)
    assert completion.thoughts == Thoughts("look", "to see", ("a", "b"), "slow", True)
    assert [(one.name, one.arguments) for one in completion.calls] == [("python", {"code": "1"}), ("read_file", {})]
    assert "not valid JSON" in completion.calls[1].problem
    assert last.text == "done"
    assert completion.usage == Usage(
        len(json.dumps(first)) and completion.usage.input_tokens, 0, completion.usage.output_tokens
    )
    assert (first["store"], first["max_output_tokens"]) == (False, 1000)
    assert first["tools"][0]["name"] == "python"
    assert first["tools"][0]["parameters"]["required"][0] == "thoughts"
    kinds = [item.get("type", item.get("role")) for item in second["input"]]
    assert kinds == [
        *("system", "user", "reasoning", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "user"),
    ]
    assert second["input"][2] == REASONING
    assert second["input"][4]["arguments"] == "{}"
    assert [item["call_id"] for item in second["input"][3:5]] == [item["call_id"] for item in second["input"][5:7]]


@both_ways
def test_text_streams_and_a_cut_answer_says_so(stream: bool) -> None:
    pieces: list[str] = []
    with Endpoint([text("word " * 20, finish="length")]) as endpoint:
        (completion,) = ask(responses(endpoint.base_url, stream=stream), request(), on_delta=pieces.append)
    assert (completion.text, completion.finish) == ("word " * 20, "length")
    assert "".join(pieces) == ("word " * 20 if stream else "")


def test_history_of_a_chat_session_can_be_continued() -> None:
    talk = Talk(Message("system", "s"), Message("user", "u"))
    with Endpoint([calls(call("python", DEEP, code="1")), text("done")]) as endpoint:
        talk.add(ask(model(endpoint.base_url), request(talk))[0], "ok")
        ask(responses(endpoint.base_url), request(talk))
        sent = endpoint.requests[-1].json["input"]
    assert [item.get("type", item.get("role")) for item in sent[2:4]] == ["function_call", "function_call_output"]


def test_an_answer_of_this_api_goes_back_to_chat_completions_without_its_items() -> None:
    talk = Talk(Message("system", "s"), Message("user", "u"))
    with Endpoint([call("python", DEEP, code="1"), text("done")]) as endpoint:
        talk.add(ask(responses(endpoint.base_url), request(talk))[0], "ok")
        ask(model(endpoint.base_url), request(talk))
        assert set(endpoint.requests[-1].json["messages"][2]) == {"role", "content", "tool_calls"}


def test_a_model_without_encrypted_reasoning_is_asked_without_it() -> None:
    refusal = error(400, "Encrypted content is not supported with this model.")
    with Endpoint([refusal, text("a"), text("b")]) as endpoint:
        ask(responses(endpoint.base_url), request(), request())
        assert ["include" in received.json for received in endpoint.requests] == [True, False, False]


def test_a_schema_travels_as_the_format_of_the_text() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    with Endpoint([text("{}")]) as endpoint:
        ask(responses(endpoint.base_url), request(tools=(), schema=schema))
        assert endpoint.requests[0].json["text"]["format"]["schema"] == schema


@both_ways
def test_a_response_that_failed_is_a_failure(stream: bool) -> None:
    failed = {"status": "failed", "output": [], "error": {"code": "context_length_exceeded", "message": "too long"}}
    event = {"type": "response.failed", "response": failed}
    body = b"data: %s\n\n" % json.dumps(event).encode() if stream else json.dumps(failed).encode()
    kind = "text/event-stream" if stream else "application/json"
    with Endpoint([Answer(body=body, headers={"Content-Type": kind})]) as endpoint, pytest.raises(ModelError) as raised:
        ask(responses(endpoint.base_url, stream=stream), request())
    assert raised.value.kind == "overflow"


def test_a_stream_that_ends_early_is_no_answer() -> None:
    with Endpoint([text("x" * 500, fault="cut_stream")]) as endpoint, pytest.raises(ModelError, match="ended before"):
        ask(responses(endpoint.base_url, stream=True), request())


def test_text_only_endpoints_and_azure() -> None:
    with Endpoint([call("python", DEEP, code="1")], azure=True, tools=False, key="k") as endpoint:
        (completion,) = ask(responses(endpoint.base_url, azure=True, api_key="k"), request(tools=TOOLS))
        assert endpoint.requests[0].path == "/openai/responses?api-version=2025-04-01-preview"
    assert completion.calls[0].arguments == {"code": "1"}
