"""What the words of real endpoints teach, and what they must not be mistaken for."""

from __future__ import annotations

from typing import Any

import pytest

from agentrunner.errors import ModelError
from agentrunner.llm.failures import from_answer
from agentrunner.llm.lessons import lesson, room
from tests.llm.parts import ask, model, request
from tests.support.endpoint import Endpoint, error, text

SENT = {"cap": "max_tokens", "stream": "options", "schema": "schema", "protocol": "auto"}


def learned_from(status: int, said: str, **known: str) -> Any:
    return lesson(from_answer(status, {}, said), SENT, known)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (404, "No endpoints found that support tool use."),
        (400, "Unrecognized request argument supplied: tools"),
        (422, "tools: Extra inputs are not permitted"),
        (400, "Function calling is not enabled for this model"),
        (500, "tools param requires --jinja flag"),
    ],
)
def test_these_words_mean_no_tools(status: int, said: str) -> None:
    assert learned_from(status, said) == {"protocol": "json"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported here. Use 'max_completion_tokens' instead.",
            {"cap": "max_completion_tokens"},
        ),
        ("max_tokens is too large: 9000. This model supports at most 4096 completion tokens.", {"cap_max": "4096"}),
        ("Unknown parameter: 'stream_options'.", {"stream": "plain"}),
        ("Conversation roles must alternate user/assistant/user/assistant/...", {"roles": "merged"}),
        ("Unexpected role 'user' after role 'tool'", {"roles": "merged"}),
        ("Streaming is not supported for this model", {"stream": "off"}),
        ("Tools are not supported in streaming mode", {"stream": "off"}),
        ("Invalid schema for response_format 'answer'", {"schema": "object"}),
        ("response_format of type json_schema is not supported", {"schema": "object"}),
    ],
)
def test_these_words_name_a_field(said: str, expected: Any) -> None:
    assert learned_from(400, said) == expected


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"),
        (404, "The model `nope` does not exist or you do not have access to it."),
        (401, "tools are not supported for this key"),
        (400, "max_tokens must be positive"),
        (500, "internal error"),
        (400, "Your request was flagged"),
        (429, "too many tool calls, not supported"),
    ],
)
def test_these_words_teach_nothing(status: int, said: str) -> None:
    assert learned_from(status, said) is None


def test_nothing_is_learned_twice() -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported"
    assert learned_from(400, said, cap="max_tokens") is None


def test_a_prompt_that_leaves_no_room_is_an_overflow() -> None:
    said = "This model's maximum context length is 8192 tokens and your request has 8000 input tokens"
    assert room(from_answer(400, {}, said), 1000) is None
    assert room(from_answer(400, {}, said.replace("8000", "7500")), 1000) == 8192 - 7500 - 32


def test_another_form_after_a_5xx_is_another_attempt() -> None:
    # A 5xx may have been billed: what is learned from it is used with the next reservation.
    refusal = error(500, "tools param requires --jinja flag")
    with Endpoint([refusal, text("hello")]) as endpoint:
        made = model(endpoint.base_url)
        with pytest.raises(ModelError) as raised:
            ask(made, request())
        assert (raised.value.kind, raised.value.may_be_billed, raised.value.retry_after_s) == ("unknown", True, 0.0)
        assert made.learned == {"protocol": "json"}
        assert len(endpoint.requests) == 1
