"""The scripted model: which entry answers which request, what placeholders become, what a broken script says."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agentrunner.errors import ModelError, ScriptError, UsageError
from agentrunner.llm.scripted import ScriptedModel, load_script
from agentrunner.types import Completion, Event, Message, Request, Thoughts, Usage
from tests.llm.parts import TOOLS, Talk, request, tool

Answer = Completion


def model(*entries: dict[str, Any], goal: str = "count", file: str = "") -> ScriptedModel:
    from pydantic import TypeAdapter

    from agentrunner.llm.script_format import Entry

    return ScriptedModel(
        TypeAdapter(list[Entry]).validate_python(list(entries)), goal=goal, file=file, source="a script"
    )


def ask(one: ScriptedModel, label: str = "step", **changes: Any) -> Completion:
    return asyncio.run(one.complete(request(label=label, **changes), None))


def event(type_: str, **data: Any) -> Event:
    return Event("s", 1, "", type_, "", data)


def told(one: ScriptedModel, step: int, content: str) -> ScriptedModel:
    one.remember(event("tool.finished", step=step, content=content))
    return one


# --- which entry -------------------------------------------------------------------------------------------------


def test_a_request_takes_the_first_unused_entry_of_its_label_else_the_first_without_one() -> None:
    one = model({"text": "a"}, {"text": "v", "label": "verify"}, {"text": "b"}, {"text": "s", "label": "step"})
    assert [ask(one, label).text for label in ("step", "step", "verify", "step")] == ["s", "a", "v", "b"]


def test_an_entry_of_a_branch_fits_only_its_requests_and_comes_before_those_of_any() -> None:
    one = model({"text": "any"}, {"text": "t2", "branch": "t2"}, {"text": "t2 l", "branch": "/t2", "label": "execute"})
    keys = ("/t2/llm:1", "/t1/llm:1", "/t2/llm:2")
    assert [ask(one, "execute", key=key).text for key in keys] == ["t2 l", "any", "t2"]
    with pytest.raises(ScriptError, match="execute"):
        ask(one, "execute", key="/t3/llm:1")


def test_a_saved_session_uses_up_the_entries_of_its_branches() -> None:
    one = model({"text": "a"}, {"text": "b", "branch": "t2"}, {"text": "c"})
    one.replay([event("completion.received", step=1, label="execute", branch="/t2")])
    assert [ask(one, "execute", key=key).text for key in ("/t2/llm:2", "/llm:1")] == ["a", "c"]


def test_a_result_is_the_last_one_of_the_branch() -> None:
    one = model({"text": "{{result}}"}, {"text": "{{result}}"}, {"text": "{{result}}"})
    for branch in ("/t1", "/t2"):
        one.remember(event("tool.finished", step=1, branch=branch, content=f"of {branch}"))
    keys = ("/t1/llm:2", "/t3/llm:1", "/llm:9")
    assert [ask(one, key=key).text for key in keys] == ["of /t1", "of /t2", "of /t2"]


def test_the_wrap_up_takes_only_an_entry_of_its_own() -> None:
    one = model({"text": "a"}, {"text": "bye", "label": "wrap_up"})
    assert ask(one, "wrap_up").text == "bye"
    with pytest.raises(ScriptError, match="wrap_up"):
        ask(one, "wrap_up")
    assert ask(one).text == "a"


def test_a_script_that_ran_out_says_how_far_it_came() -> None:
    one = model({"text": "a"}, {"text": "b", "label": "verify"})
    ask(one)
    one.remember(event("request.sent", step=2, label="step"))
    with pytest.raises(ScriptError, match=r"ran out at step 2: 1 of its 2 entries are used .* labelled 'step'"):
        ask(one)


def test_a_resumed_session_goes_on_behind_its_answers_and_failures_and_knows_its_results() -> None:
    entries = [{"error": {"status": 500}}, {"text": "a"}, {"text": "v", "label": "verify"}, {"text": "{{result.1}}"}]
    past = [
        event("request.sent", step=1, label="step"),
        event("request.failed", step=1, label="step", kind="unknown"),
        event("completion.received", step=1, label="step"),
        event("tool.finished", step=1, content="the result"),
        event("completion.received", step=2, label="verify"),
    ]
    one = model(*entries)
    one.replay(past)
    assert ask(one).text == "the result"


def test_live_events_do_not_use_up_entries() -> None:
    one = model({"text": "a"}, {"text": "b"})
    assert ask(one).text == "a"
    one.remember(event("completion.received", step=1, label="step"))
    assert ask(one).text == "b"


# --- expect ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expected",
    ["Count the rows", "3 steps left", "read_file", 'said "so"\nand more', 'said \\"so\\"\\nand more', "print(1)\nx"],
)
def test_expect_is_found_in_messages_arguments_trailing_line_and_tool_names(expected: str) -> None:
    one = model(
        {"calls": [{"name": "python", "arguments": {"code": "print(1)\nx"}}]}, {"expect": expected, "text": "yes"}
    )
    talk = Talk(Message("user", "Count the rows."))
    talk.add(ask(one, conversation=talk), 'it said "so"\nand more')
    assert ask(one, conversation=talk).text == "yes"


def test_an_expect_that_does_not_match_is_said_and_uses_nothing_up() -> None:
    one = model({"expect": "{{goal}} backwards", "text": "a"})
    for _ in range(2):
        with pytest.raises(ScriptError, match=r"entry 1 .* does not contain 'count backwards'"):
            ask(one)


# --- placeholders ------------------------------------------------------------------------------------------------

RESULT = (
    'ok\n{"old": 1}\n{"a": {"b": [10, 2.5, "x"]}, "t": true, "n": null, "f": 0.30000000000000004, "/~": "odd"}\nend'
)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("{{goal}} of {{file}}", "count of t.csv"),
        ("{{result.1}}!", "first!"),
        ("{{result#/a/b/0}} {{result#/a/b/1}} {{ result.2#/a/b/2 }}", "10 2.5 x"),
        ("{{result#/t}} {{result#/n}} {{result#/f}} {{result#/~1~0}}", "true null 0.3 odd"),
        ("{{result#/a}}", '{"b":[10,2.5,"x"]}'),
        ('{{"a": 1}} {% x %} {{1 + 1}} {{}}', '{{"a": 1}} {% x %} {{1 + 1}} {{}}'),
    ],
)
def test_placeholders_become_plain_text(text: str, becomes: str) -> None:
    one = told(told(model({"text": text}, file="t.csv"), 1, "first"), 2, RESULT)
    assert ask(one).text == becomes


def test_a_bare_result_is_the_last_one_and_arguments_are_filled_to_any_depth() -> None:
    nested = {"path": "{{file}}", "list": [{"deep": "<{{result}}>"}], "n": 3}
    one = told(
        model({"calls": [{"name": "x", "arguments": nested}], "thoughts": {"plan": ["{{goal}}"]}}, file="f"), 1, "r"
    )
    answer = ask(one)
    assert answer.calls[0].arguments == {"path": "f", "list": [{"deep": "<r>"}], "n": 3}
    assert answer.thoughts == Thoughts(plan=("count",))


def test_text_that_was_put_in_is_not_looked_at_again() -> None:
    one = told(model({"text": "{{goal}} {{result}}"}, goal="{{result}}"), 1, "{{goal}} {{nothing}}")
    assert ask(one).text == "{{result}} {{goal}} {{nothing}}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{word}}", "is not a placeholder"),
        ("{{result.last}}", "is not a placeholder"),
        ("{{goal#/a}}", "is not a placeholder"),
        ("{{result.7}}", "step 7 has no tool result"),
        ("{{result#/a/c}}", "'c' does not exist"),
        ("{{result#/a/b/9}}", "'9' does not exist"),
        ("{{result#a}}", "starts with '/'"),
        ("{{result.1#/a}}", "no line of that result is a JSON object or array"),
    ],
)
def test_a_placeholder_that_names_nothing_ends_with_a_sentence(text: str, says: str) -> None:
    one = told(told(model({"text": text}), 1, "first"), 2, RESULT)
    with pytest.raises(ScriptError, match="entry 1") as caught:
        ask(one)
    assert says in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_literal_entry_is_left_as_it_is() -> None:
    assert ask(model({"text": "{{word}}", "literal": True})).text == "{{word}}"


def test_without_events_the_last_tool_message_is_the_result() -> None:
    one = model(
        {"calls": [{"name": "python"}]}, {"text": "{{result}}", "calls": [{"name": "python"}]}, {"text": "{{result}}"}
    )
    talk = Talk(Message("user", "go"))
    for result in ("first", "second"):
        talk.add(ask(one, conversation=talk), result)
    assert ask(one, conversation=talk).text == "second"


# --- the completion ----------------------------------------------------------------------------------------------


def test_thoughts_are_the_first_argument_of_the_first_call_in_the_history_and_apart_elsewhere() -> None:
    thoughts = {"text": "t", "reasoning": "r", "plan": ["p"], "criticism": "c", "revise": True}
    calls = [{"name": "python", "arguments": {"code": "1"}}, {"name": "read_file", "arguments": {"path": "a"}}]
    answer = ask(model({"text": "hm", "thoughts": thoughts, "calls": calls}))
    assert answer.thoughts == Thoughts("t", "r", ("p",), "c", True)
    assert [dict(call.arguments) for call in answer.calls] == [{"code": "1"}, {"path": "a"}]
    assert [call.id for call in answer.calls] == ["call_0_0", "call_0_1"]
    written = [json.loads(call["function"]["arguments"]) for call in answer.message["tool_calls"]]
    assert written == [{"thoughts": thoughts, "code": "1"}, {"path": "a"}]
    assert (answer.message["role"], answer.message["content"], answer.finish) == ("assistant", "hm", "tool_calls")


def test_a_function_that_takes_no_thoughts_is_not_given_any() -> None:
    one = model({"thoughts": {"text": "t"}, "calls": [{"name": "lookup", "arguments": {"q": "x"}}]})
    answer = ask(one, tools=(tool("lookup", thoughts=False),))
    assert json.loads(answer.message["tool_calls"][0]["function"]["arguments"]) == {"q": "x"}
    assert answer.thoughts == Thoughts("t")


def test_call_ids_differ_from_answer_to_answer() -> None:
    one = model(*({"calls": [{"name": "python"}]} for _ in range(3)))
    assert [ask(one).calls[0].id for _ in range(3)] == ["call_0_0", "call_1_0", "call_2_0"]


def test_usage_is_as_the_script_says_else_bytes_by_four_and_never_above_the_cap() -> None:
    one = model(
        {"text": "x", "usage": {"input_tokens": 900, "cached_tokens": 5, "output_tokens": 40}},
        *[{"text": "x" * 400}] * 2,
    )
    assert ask(one).usage == Usage(900, 5, 40)
    asked = request()
    counted = asyncio.run(one.complete(asked, None)).usage
    assert counted is not None
    assert counted.input_tokens == -(-one.input_bytes(asked) // 4)
    assert 100 <= counted.output_tokens < 120
    assert ask(one, max_output_tokens=50).usage == Usage(counted.input_tokens, 0, 50)


def test_input_bytes_counts_utf8_and_follows_a_growing_and_a_folded_conversation() -> None:
    one, talk = model(), Talk(Message("user", "ä" * 10))
    empty = one.input_bytes(Request("", "step", Talk(), "", (), None, 1, 1.0))
    bare = {"conversation": talk, "trailing": "", "tools": ()}
    assert one.input_bytes(request(**bare)) - empty == 20
    talk.messages.append(Message("tool", "b" * 5))
    assert one.input_bytes(request(**bare)) - empty == 25
    assert one.input_bytes(request(**{**bare, "tools": TOOLS})) > 100
    talk.epoch, talk.messages = 1, [Message("user", "c")]
    assert one.input_bytes(request(**bare)) - empty == 1


def test_visible_text_is_streamed() -> None:
    pieces: list[str] = []
    asyncio.run(model({"text": "hello"}).complete(request(), pieces.append))
    assert "".join(pieces) == "hello"


# --- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (429, "", "busy"),
        (500, "", "unknown"),
        (503, "down", "unknown"),
        (408, "", "unknown"),
        (0, "", "unknown"),
        (400, "maximum context length exceeded", "overflow"),
        (400, "bad tools", "refused"),
        (401, "wrong key", "refused"),
    ],
)
def test_an_error_fails_the_request_as_an_endpoint_would(status: int, message: str, kind: str) -> None:
    one = model({"error": {"status": status, "message": message, "retry_after_s": 0.05}}, {"text": "then"})
    with pytest.raises(ModelError) as caught:
        ask(one)
    assert (caught.value.kind, caught.value.status, caught.value.retry_after_s) == (kind, status, 0.05)
    assert caught.value.message
    assert ask(one).text == "then"


def test_an_answer_later_than_the_time_limit_is_a_failure() -> None:
    with pytest.raises(ModelError, match=r"no answer within 0\.01 s"):
        ask(model({"text": "late", "delay_s": 5}), timeout_s=0.01)


# --- files -------------------------------------------------------------------------------------------------------


def script(folder: Path, text: str, name: str = "s.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_yaml_and_json_lines_say_the_same(tmp_path: Path) -> None:
    yaml = '- text: "2024-01-01 ä"\n  calls: [{name: x, arguments: {day: 2024-01-01}}]\n- {text: ""}\n'
    lines = '\n{"text": "2024-01-01 ä", "calls": [{"name": "x", "arguments": {"day": "2024-01-01"}}]}\n{"text": ""}\n'
    assert load_script(script(tmp_path, yaml)) == load_script(script(tmp_path, lines, "t.txt"))


def test_a_line_separator_inside_of_a_json_string_does_not_end_the_line(tmp_path: Path) -> None:
    assert load_script(script(tmp_path, '{"text": "a\u2028b"}\n'))[0].text == "a\u2028b"


def test_a_value_may_be_the_text_of_a_file_beside_the_script(tmp_path: Path) -> None:
    script(tmp_path, "print(1)\n", "cell.py")
    [entry] = load_script(script(tmp_path, "- calls: [{name: python, arguments: {code: !file cell.py}}]"))
    assert entry.calls[0].arguments == {"code": "print(1)\n"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- {text: a}\n- {txet: b}", "entry 2: unknown key 'txet'; known here: label, expect, text"),
        ("- calls: [{name: x, arguments: [1]}]", "entry 1: calls.0.arguments is [1], expected a valid dictionary"),
        ("- calls: [{nmae: x}]", "entry 1: calls.0.name is missing"),
        ("- thoughts: {plan: go}", "entry 1: thoughts.plan is 'go', expected a valid list"),
        ("- thoughts: {idea: go}", "unknown key 'thoughts.idea'; known here: text, reasoning, plan"),
        ("- text: 5", "entry 1: text is 5, expected a valid string"),
        ("- just words", "entry 1: it is 'just words', expected a mapping"),
        ("- label: step", "entry 1: it says nothing"),
        ("- {text: a, error: {status: 500}}", "entry 1: error cannot stand together"),
        ("- error: {status: 200}", "error.status is 200, expected 0 or 400 to 599"),
        ("text: a", "is not a list of answers"),
        ("", "is not a list of answers"),
        ("- [", "is not YAML"),
        ("- text: !file nothing.txt", "'nothing.txt' beside it cannot be read"),
        ('{"text": "a"}\n{"text": ', "line 2: not a JSON object"),
        ("{", "line 1: not a JSON object"),
    ],
)
def test_a_broken_script_is_one_line_that_names_the_place(tmp_path: Path, text: str, says: str) -> None:
    path = script(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_script(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_script_that_is_not_there_or_not_text_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.yaml", "b", "."):
        with pytest.raises(UsageError, match="cannot be read"):
            load_script(tmp_path / name)
