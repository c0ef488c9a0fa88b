"""The strategy of an assistant's runs, sent Steps by hand."""

from __future__ import annotations

from typing import Any

import pytest

from agentrunner.strategies.assistant import BYTES_PER_TOKEN, assistant, truncated
from agentrunner.strategies.compact import size_bytes
from agentrunner.strategies.prompts import fill_in, load_prompts
from agentrunner.types import Answer, Ask, Completion, Message, Session, Step, StepError, ToolCall, ToolResult, ToolSpec
from agentrunner.types import Usage as Tokens

TOOL = ToolSpec("price", "", {"type": "object", "properties": {}}, thoughts=False)
PROMPTS = load_prompts()


def session(*messages: Message, tools: tuple[ToolSpec, ...] = (TOOL,), **request: Any) -> Session:
    return Session("s", "", prompts=PROMPTS, template=fill_in, tools=tools, messages=messages, request=request)


def said(text: str, used: int = 10, written: int = 5) -> Step:
    message = {"role": "assistant", "content": text}
    return Step("/llm:1", 1, Completion(message, text, usage=Tokens(used, 0, written)))


def called(used: int = 10, written: int = 5) -> Step:
    call = ToolCall("c", "price", {})
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]}
    completion = Completion(message, calls=(call,), usage=Tokens(used, 0, written))
    return Step("/llm:1", 1, completion, (ToolResult("c", "price", "ok", "7"),))


def first(made: Session) -> tuple[Any, Ask]:
    strategy = assistant(made)
    return strategy, next(strategy)  # pyright: ignore[reportReturnType]


def end(strategy: Any, step: Step) -> Answer:
    with pytest.raises(StopIteration) as ended:
        strategy.send(step)
    return ended.value.value


def test_the_instructions_are_the_system_message_and_nothing_else_is() -> None:
    _, ask = first(session(Message("user", "hi"), instructions="Be brief.", additional_instructions="In French."))

    assert [(m.role, m.content) for m in ask.conversation.messages] == [
        ("system", "Be brief.\n\nIn French."),
        ("user", "hi"),
    ]


def test_without_instructions_there_is_no_system_message() -> None:
    _, ask = first(session(Message("user", "hi")))

    assert [m.role for m in ask.conversation.messages] == ["user"]


def test_it_ends_with_the_first_answer_that_calls_nothing() -> None:
    strategy, _ = first(session(Message("user", "hi")))
    again = strategy.send(called())

    assert [m.role for m in again.conversation.messages] == ["user", "assistant", "tool"]
    assert end(strategy, said("seven")) == Answer("seven")


def test_a_tool_that_must_be_called_is_forced_only_once() -> None:
    strategy, ask = first(session(Message("user", "hi"), tool_choice="required", temperature=0.5))
    again = strategy.send(called())

    assert ask.options == {"tool_choice": "required", "temperature": 0.5}
    assert again.options == {"temperature": 0.5}


def test_none_stays_none() -> None:
    strategy, _ = first(session(Message("user", "hi"), tool_choice="none"))

    assert strategy.send(called()).options == {"tool_choice": "none"}


def test_choices_among_tools_are_left_out_where_there_are_none() -> None:
    form = {"type": "json_object"}
    made = session(Message("user", "hi"), tools=(), tool_choice="none", parallel_tool_calls=False, response_format=form)
    _, ask = first(made)

    assert ask.options == {"response_format": form}


def test_the_limit_on_answers_holds_for_the_whole_run() -> None:
    strategy, ask = first(session(Message("user", "hi"), max_completion_tokens=300))
    again = strategy.send(called(written=100))

    assert (ask.max_output_tokens, again.max_output_tokens) == (300, 200)
    cut = Step("/llm:2", 2, said("half", written=200).completion, error=StepError("length", "shorter"))
    assert end(strategy, cut) == Answer("half", outcome="gave_up", reason="max_completion_tokens")


def test_it_makes_no_request_that_the_limit_on_prompts_forbids() -> None:
    strategy, _ = first(session(Message("user", "hi"), max_prompt_tokens=256))

    assert end(strategy, called(used=256)) == Answer("", outcome="gave_up", reason="max_prompt_tokens")


def test_the_last_token_of_a_limit_may_be_used_and_not_one_more() -> None:
    def prompted(left: int) -> Any:
        strategy, _ = first(session(Message("user", "hi"), max_prompt_tokens=256))
        return strategy, called(used=256 - left)

    strategy, step = prompted(200)
    needed = size_bytes(strategy.send(step).conversation) // BYTES_PER_TOKEN
    strategy, step = prompted(needed)
    assert strategy.send(step).conversation.messages
    assert end(*prompted(needed - 1)).reason == "max_prompt_tokens"

    strategy, _ = first(session(Message("user", "hi"), max_completion_tokens=256))
    assert strategy.send(called(written=255)).max_output_tokens == 1
    assert end(strategy, called(written=1)).reason == "max_completion_tokens"


def test_empty_answers_are_repaired_a_few_times() -> None:
    strategy, _ = first(session(Message("user", "hi")))
    empty = Step("/llm:1", 1, said("").completion, error=StepError("malformed", "Your answer was empty."))
    strategy.send(empty)
    strategy.send(empty)

    assert end(strategy, empty).outcome == "gave_up"


def test_an_overflow_that_cannot_be_shortened_ends_it() -> None:
    strategy, _ = first(session(Message("user", "hi")))

    answer = end(strategy, Step("/llm:1", 1, error=StepError("overflow", "too long")))
    assert answer.reason == "the thread does not fit the model's context window"


def talk(*texts: str) -> list[Message]:
    return [Message("user" if place % 2 == 0 else "assistant", text) for place, text in enumerate(texts)]


def test_the_middle_of_a_long_thread_is_left_out() -> None:
    kept = truncated(talk("first", "b" * 50, "c" * 50, "d" * 50, "last"), "auto", 80)

    assert [message.content for message in kept] == ["first", "d" * 50, "last"]


def test_the_last_messages_are_kept_whole_with_their_tool_calls() -> None:
    calls = Message("assistant", "", raw={"tool_calls": [{"id": "c"}]})
    result = Message("tool", "7", call_id="c")
    thread = [
        Message("user", "a"),
        Message("user", "b"),
        calls,
        result,
        Message("assistant", "c"),
        Message("user", "d"),
    ]

    assert truncated(thread, 2, 1000) == thread[2:]
    assert truncated(thread, 1, 1000) == thread[5:]


def test_what_tools_said_goes_before_what_people_said_and_the_oldest_first() -> None:
    def searched(text: str) -> list[Message]:
        raw = {"tool_calls": [{"id": "c"}]}
        return [Message("assistant", "", raw=raw), Message("tool", text, call_id="c")]

    thread = [*searched("x" * 100), Message("assistant", "one"), *searched("y" * 100), Message("assistant", "two")]
    whole = sum(len(message.content) + len(str(message.raw or "")) for message in thread)

    assert truncated(thread, "auto", whole) == thread
    assert truncated(thread, "auto", whole - 1) == thread[2:]
    assert [message.content for message in truncated(thread, "auto", 100)] == ["one", "two"]


def test_calls_that_led_to_no_message_are_left_out() -> None:
    calls = Message("assistant", "", raw={"tool_calls": [{"id": "c"}]})

    assert truncated([Message("user", "a"), calls], "auto", 1000) == [Message("user", "a")]
