"""The model against a real HTTP endpoint on the loopback: answers, streams, failures, what is learned from refusals."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agentrunner.errors import ModelError, UsageError
from agentrunner.llm.client import Pool
from agentrunner.llm.target import address, headers, target_of
from agentrunner.types import Message, Thoughts, Usage
from tests.llm.parts import DEEP, TOOLS, Talk, ask, model, request
from tests.support.endpoint import Answer, Endpoint, call, calls, error, text

THOUGHTS = Thoughts("look", "to see", ("a", "b"), "slow", True)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def failure(endpoint: Endpoint, **options: Any) -> ModelError:
    changes = options.pop("changes", {})
    with pytest.raises(ModelError) as raised:
        ask(model(endpoint.base_url, **options), request(**changes))
    return raised.value


@both_ways
def test_a_call_with_its_thoughts_comes_through(stream: bool) -> None:
    with Endpoint([calls(call("python", DEEP, code="é\n" * 40), call("read_file", path="a"))]) as endpoint:
        (completion,) = ask(model(endpoint.base_url, stream=stream), request())
    assert completion.thoughts == THOUGHTS
    assert [(one.name, dict(one.arguments)) for one in completion.calls] == [
        ("python", {"code": "é\n" * 40}),
        ("read_file", {"path": "a"}),
    ]
    assert completion.finish == "tool_calls"
    assert completion.usage == Usage(endpoint.bill.input_tokens, 0, endpoint.bill.output_tokens, 0)


@both_ways
def test_unknown_fields_of_a_message_are_kept(stream: bool) -> None:
    answer = Answer(
        "hello there, this is more than one piece", extra={"reasoning_content": "r" * 60, "odd": [{"a": 1}]}
    )
    with Endpoint([answer]) as endpoint:
        (completion,) = ask(model(endpoint.base_url, stream=stream), request())
    assert completion.message["reasoning_content"] == "r" * 60
    assert completion.message["odd"] == [{"a": 1}]
    assert completion.text == answer.text


@both_ways
@pytest.mark.parametrize("ids", ["missing", "repeated"])
def test_endpoints_that_omit_or_repeat_call_ids(stream: bool, ids: Any) -> None:
    with Endpoint([calls(call("python", code="1"), call("python", code="2"))], ids=ids) as endpoint:
        (completion,) = ask(model(endpoint.base_url, stream=stream), request())
    assert [one.arguments["code"] for one in completion.calls] == ["1", "2"]
    assert len({one.id for one in completion.calls}) == 2


@both_ways
def test_an_endpoint_that_reports_no_usage(stream: bool) -> None:
    with Endpoint([text("hi")], usage=False) as endpoint:
        (completion,) = ask(model(endpoint.base_url, stream=stream), request())
    assert completion.usage is None


def test_visible_text_is_delivered_while_it_streams() -> None:
    pieces: list[str] = []
    with Endpoint([text("word " * 30)]) as endpoint:
        ask(model(endpoint.base_url, stream=True), request(), on_delta=pieces.append)
        assert endpoint.requests[0].json["stream_options"] == {"include_usage": True}
    assert len(pieces) > 3
    assert "".join(pieces) == "word " * 30


def test_the_prefix_of_a_conversation_is_the_same_bytes_in_every_request() -> None:
    talk = Talk(Message("system", "s"), Message("user", "goal ü"))
    with Endpoint([call("python", DEEP, code=str(step)) for step in range(5)] + [text("done")]) as endpoint:
        one = model(endpoint.base_url)

        async def run() -> None:
            for step in range(6):
                completion = await one.complete(request(talk, trailing=f"{6 - step} left"), None)
                talk.add(completion, *("ok" for _ in completion.calls))
            await one.aclose()

        asyncio.run(run())
        bodies = [received.body for received in endpoint.requests]
    prefixes = [
        body[: body.index(b',{"role":"user","content":"%d left"}]' % (6 - step))] for step, body in enumerate(bodies)
    ]
    for prefix, after in zip(prefixes, bodies[1:], strict=False):
        assert after.startswith(prefix)
    final = json.loads(bodies[-1])
    assert final["messages"][-1] == {"role": "user", "content": "1 left"}
    assert [message["role"] for message in final["messages"][2:4]] == ["assistant", "tool"]
    assert json.loads(final["messages"][2]["tool_calls"][0]["function"]["arguments"])["thoughts"] == DEEP


@both_ways
def test_an_endpoint_without_tools_gets_the_json_protocol_for_the_rest_of_the_session(stream: bool) -> None:
    pieces: list[str] = []
    with Endpoint([call("python", DEEP, code="1"), text("done")], tools=False) as endpoint:
        one = model(endpoint.base_url, stream=stream)
        completion, last = ask(one, request(), request(), on_delta=pieces.append)
        assert [received.status for received in endpoint.requests] == [400, 200, 200]
        sent = endpoint.requests[1].json
    assert (completion.thoughts, completion.calls[0].arguments) == (THOUGHTS, {"code": "1"})
    assert (last.text, last.calls) == ("done", ())
    assert "tools" not in sent
    assert sent["messages"][0]["content"].endswith("Answer with one JSON object.")
    assert one.learned == {"protocol": "json"}
    assert "".join(pieces) == ("done" if stream else "")


def test_history_with_tool_calls_is_readable_after_a_switch() -> None:
    talk = Talk(Message("system", "s"), Message("user", "u"))
    with Endpoint([call("python", DEEP, code="1")]) as first:
        talk.add(ask(model(first.base_url), request(talk))[0], "ok: 1")
    with Endpoint([text("done")], tools=False) as second:
        ask(model(second.base_url), request(talk))
        messages = second.requests[-1].json["messages"]
    assert json.loads(messages[2]["content"])["command"] == {"name": "python", "args": {"code": "1"}}
    assert messages[3] == {"role": "user", "content": "Result of python:\nok: 1"}


def test_the_tools_protocol_is_not_given_up_when_it_was_asked_for() -> None:
    with Endpoint([text("x")], tools=False) as endpoint:
        problem = failure(endpoint, protocol="tools")
        assert (problem.kind, problem.status, len(endpoint.requests)) == ("refused", 400, 1)


def test_what_was_learned_spares_the_next_session_the_refusals() -> None:
    with Endpoint([text("a"), text("b")], tools=False, cap_field="max_completion_tokens") as endpoint:
        one = model(endpoint.base_url)
        ask(one, request())
        assert one.learned == {"protocol": "json", "cap": "max_completion_tokens"}
        before = len(endpoint.requests)
        ask(model(endpoint.base_url, learned=one.learned), request())
        assert len(endpoint.requests) == before + 1


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_output_cap_is_sent_in_the_field_that_is_understood(field: str) -> None:
    with Endpoint([text("a"), text("b")], cap_field=field) as endpoint:
        ask(model(endpoint.base_url), request(), request())
        statuses = [received.status for received in endpoint.requests]
        assert endpoint.answered[-1].json[field] == 1000
    assert statuses == ([200, 200] if field == "max_tokens" else [400, 200, 200])


def test_a_cap_above_the_models_largest_is_lowered() -> None:
    refusal = "max_tokens is too large: 9000. This model supports at most 4096 completion tokens."
    with Endpoint([error(400, refusal), text("a"), text("b")]) as endpoint:
        ask(model(endpoint.base_url), *[request(max_output_tokens=9000)] * 2)
        assert [received.json["max_tokens"] for received in endpoint.requests] == [9000, 4096, 4096]


@pytest.mark.parametrize(
    "refusal",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8192 "
        "tokens and your request has 1000 input tokens (9000 > 8192 - 1000).",
        "This model's maximum context length is 8192 tokens. However, you requested 10000 tokens (1000 in the "
        "messages, 9000 in the completion). Please reduce the length of the messages or completion.",
    ],
)
def test_prompt_and_cap_that_are_together_too_long_get_a_smaller_cap(refusal: str) -> None:
    with Endpoint([error(400, refusal), text("a")]) as endpoint:
        ask(model(endpoint.base_url), request(max_output_tokens=9000))
        assert endpoint.requests[-1].json["max_tokens"] == 8192 - 1000 - 32


def test_stream_options_are_left_out_where_they_are_refused() -> None:
    with Endpoint([text("a"), text("b")], stream_options=False) as endpoint:
        completions = ask(model(endpoint.base_url, stream=True), request(), request())
        assert [received.status for received in endpoint.requests] == [400, 200, 200]
    assert [completion.usage for completion in completions] == [None, None]


@pytest.mark.parametrize("protocol", ["tools", "json"])
def test_where_roles_must_alternate_the_users_messages_are_joined_to_what_is_before_them(protocol: Any) -> None:
    refusal = error(400, "After the optional system message, conversation roles must alternate user/assistant")
    talk = Talk(Message("system", "s"), Message("user", "one"), Message("user", "two"))
    with Endpoint([refusal, call("python", DEEP, code="1"), text("done")]) as endpoint:
        one = model(endpoint.base_url, protocol=protocol)

        async def run() -> None:
            talk.add(await one.complete(request(talk, trailing="left: 2"), None), "ok")
            await one.complete(request(talk, trailing="left: 1"), None)
            await one.aclose()

        asyncio.run(run())
        messages = endpoint.requests[-1].json["messages"]
    roles = ["system", "user", "assistant", "tool" if protocol == "tools" else "user"]
    assert [message["role"] for message in messages] == roles
    assert messages[1]["content"] == "one\n\ntwo"
    assert messages[3]["content"].endswith("ok\n\nleft: 1")


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("understood", "sent"),
    [(("json_schema",), ["json_schema"]), (("json_object",), ["json_schema", "json_object"])],
)
def test_a_schema_goes_along_as_far_as_the_endpoint_understands_it(understood: Any, sent: list[str]) -> None:
    with Endpoint([text('{"a": "b"}')], schema=understood) as endpoint:
        (completion,) = ask(model(endpoint.base_url), request(tools=(), schema=SCHEMA))
        assert [received.json["response_format"]["type"] for received in endpoint.requests] == sent
        if sent == ["json_schema"]:
            assert endpoint.requests[0].json["response_format"]["json_schema"]["strict"] is True
    assert completion.text == '{"a": "b"}'


def test_without_any_response_format_the_schema_is_left_out() -> None:
    with Endpoint([text("{}")], schema=False) as endpoint:
        ask(model(endpoint.base_url), request(tools=(), schema=SCHEMA))
        assert "response_format" not in endpoint.requests[-1].json


# --- failures ----------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(429, "slow down"), "busy"),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), "refused"),
        (error(408), "unknown"),
        (error(409), "unknown"),
        (error(500), "unknown"),
        (error(503), "unknown"),
        (error(401, "bad key"), "refused"),
        (error(403), "refused"),
        (error(404, "no such model"), "refused"),
        (error(400, "odd", code="context_length_exceeded"), "overflow"),
        (error(400, "This model's maximum context length is 8192 tokens."), "overflow"),
        (error(400, "the request exceeds the available context size (4096 tokens)"), "overflow"),
        (error(400, "prompt is too long: 250000 tokens > 200000 maximum"), "overflow"),
        (error(400, "Input contains too many tokens for the context window"), "overflow"),
        (error(500, "the request exceeds the available context size"), "overflow"),
        (error(400, "no"), "refused"),
    ],
)
def test_statuses_are_sorted_by_what_can_be_done(answer: Answer, kind: str, stream: bool) -> None:
    with Endpoint([answer]) as endpoint:
        problem = failure(endpoint, stream=stream)
        assert len(endpoint.requests) == 1
    assert (problem.kind, problem.status) == (kind, answer.status)
    assert problem.message.startswith(f"the endpoint answered {answer.status}: ")


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "0.25"}, 0.25, 0.25),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, 1.5),
        ({"Retry-After": "999999999"}, 86_400, 86_400),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: Any, low: float, high: float) -> None:
    with Endpoint([error(429, headers=headers)]) as endpoint:
        asked = failure(endpoint).retry_after_s
    assert asked is not None
    assert low <= asked <= high


def test_retry_after_may_be_a_date() -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    with Endpoint([error(429, headers={"Retry-After": in_an_hour})]) as endpoint:
        asked = failure(endpoint).retry_after_s
    assert asked is not None
    assert 3000 <= asked <= 3600


@pytest.mark.parametrize("value", ["soon", "-5", "nan", ""])
def test_a_retry_after_that_makes_no_sense_is_none(value: str) -> None:
    with Endpoint([error(429, headers={"Retry-After": value})]) as endpoint:
        assert failure(endpoint).retry_after_s is None


def test_a_refusal_is_one_line_without_the_key_and_not_long() -> None:
    key = "sk-verysecret0123456789"
    said = f"Incorrect key: {key}\x1b[31m\nsk-proj-another0123456789 " + "x" * 5000
    with Endpoint([error(401, said)]) as endpoint:
        message = failure(endpoint, api_key=key).message
    assert "verysecret" not in message
    assert "another" not in message
    assert message.isprintable()
    assert len(message) < 600


@both_ways
def test_a_web_page_asks_whether_the_base_url_is_right(stream: bool) -> None:
    page = Answer(body=b"<!DOCTYPE html><html>Welcome</html>", headers={"Content-Type": "text/html"})
    with Endpoint([page]) as endpoint:
        problem = failure(endpoint, stream=stream)
    assert problem.kind == "refused"
    assert "a web page" in problem.message
    assert "is the base URL right?" in problem.message


@both_ways
@pytest.mark.parametrize("body", [b"{}", b'{"choices": []}', b"[]", b"ok", b"", b'{"choices": [{"message": 5}]}'])
def test_json_that_is_no_answer_is_refused(body: bytes, stream: bool) -> None:
    with Endpoint([Answer(body=body, headers={"Content-Type": "application/json"})]) as endpoint:
        assert failure(endpoint, stream=stream).kind == "refused"


@both_ways
@pytest.mark.parametrize(("code", "kind"), [(429, "busy"), (502, "unknown"), (400, "refused"), ("x", "unknown")])
def test_an_error_inside_of_a_success_is_the_error_it_names(code: Any, kind: str, stream: bool) -> None:
    said = {"error": {"message": "upstream", "code": code}}
    body = b"data: %s\n\n" % json.dumps(said).encode() if stream else json.dumps(said).encode()
    kind_of_body = "text/event-stream" if stream else "application/json"
    with Endpoint([Answer(body=body, headers={"Content-Type": kind_of_body})]) as endpoint:
        problem = failure(endpoint, stream=stream)
    assert problem.kind == kind
    assert "upstream" in problem.message


@both_ways
@pytest.mark.parametrize("fault", ["drop", "cut_body"])
def test_a_connection_that_breaks_may_have_been_billed(fault: Any, stream: bool) -> None:
    with Endpoint([text("hello " * 100, fault=fault)]) as endpoint:
        assert failure(endpoint, stream=stream).kind == "unknown"


@both_ways
def test_a_kept_connection_that_breaks_is_not_asked_again_behind_the_engines_back(stream: bool) -> None:
    """The request may have been billed: whether it is sent again, and what that may cost, the engine decides."""
    with Endpoint([text("fine"), text("lost", fault="drop"), text("bought twice")]) as endpoint:
        with pytest.raises(ModelError) as raised:
            ask(model(endpoint.base_url, stream=stream), request(), request())
        assert raised.value.kind == "unknown"
        assert (len(endpoint.requests), endpoint.connections) == (2, 1)


def test_a_stream_that_ends_early_is_no_answer() -> None:
    with Endpoint([text("hello " * 100, fault="cut_stream")]) as endpoint:
        problem = failure(endpoint, stream=True)
    assert (problem.kind, problem.message) == ("unknown", "the stream ended before the answer did")


def test_a_stream_that_stalls_is_given_up_in_time() -> None:
    with Endpoint([text("hello " * 100, fault="stall")]) as endpoint:
        problem = failure(endpoint, stream=True, changes={"timeout_s": 0.5})
    assert problem.kind == "unknown"
    assert "no answer from" in problem.message


@both_ways
def test_an_endpoint_that_never_answers_is_given_up_in_time(stream: bool) -> None:
    with Endpoint([text("x", fault="hang")]) as endpoint:
        started = time.monotonic()
        problem = failure(endpoint, stream=stream, changes={"timeout_s": 0.3})
    assert problem.kind == "unknown"
    assert "no answer from" in problem.message
    assert time.monotonic() - started < 5


def test_an_endpoint_that_is_down_was_sent_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ModelError) as raised:
            ask(model(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"), request())
    assert (raised.value.kind, raised.value.status) == ("busy", 0)
    assert "no connection to http://127.0.0.1" in raised.value.message


def test_a_host_that_does_not_exist_was_sent_nothing() -> None:
    with pytest.raises(ModelError) as raised:
        ask(model("http://nowhere.invalid/v1"), request(timeout_s=5.0))
    assert (raised.value.kind, raised.value.status) == ("busy", 0)


def test_a_redirect_is_not_followed_but_named() -> None:
    moved = Answer(status=308, body=b"", headers={"Location": "https://elsewhere.example/v1"})
    with Endpoint([moved]) as endpoint:
        problem = failure(endpoint)
    assert problem.kind == "refused"
    assert "https://elsewhere.example/v1" in problem.message


def test_a_stream_far_beyond_its_cap_is_stopped() -> None:
    with Endpoint([text("x" * 200_000)]) as endpoint:
        problem = failure(endpoint, stream=True, changes={"max_output_tokens": 300})
    assert (problem.kind, problem.may_be_billed) == ("over_cap", True)
    assert problem.output_bytes > 65_536
    assert "capped at 300 tokens; it was stopped" in problem.message


def test_an_endpoint_that_answers_in_one_piece_though_asked_to_stream() -> None:
    body = {"model": "m", "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    with Endpoint([Answer(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})]) as endpoint:
        (completion,) = ask(model(endpoint.base_url, stream=True), request())
    assert completion.text == "hi"


def test_an_answer_cut_at_its_cap_says_so() -> None:
    with Endpoint([text("half an ans", finish="length")]) as endpoint:
        (completion,) = ask(model(endpoint.base_url), request())
    assert completion.finish == "length"


# --- where requests go -------------------------------------------------------------------------------------------


def test_azure_gets_its_path_its_version_and_its_header() -> None:
    with Endpoint([text("hi")], azure=True, key="k3y") as endpoint:
        one = model(endpoint.base_url, name="my gpt", azure=True, api_key="k3y")
        assert ask(one, request())[0].text == "hi"
        (received,) = endpoint.requests
    assert received.path == "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    assert received.headers["api-key"] == "k3y"
    assert "authorization" not in received.headers
    assert received.json["max_completion_tokens"] == 1000


@pytest.mark.parametrize(
    ("url", "options", "base", "is_azure"),
    [
        ("https://me.openai.azure.com", {}, "https://me.openai.azure.com/openai/deployments/m", True),
        ("https://me.openai.azure.com/openai/", {}, "https://me.openai.azure.com/openai/deployments/m", True),
        ("https://me.openai.azure.com/openai/v1/", {}, "https://me.openai.azure.com/openai/v1", False),
        (
            "https://me.cognitiveservices.azure.com",
            {},
            "https://me.cognitiveservices.azure.com/openai/deployments/m",
            True,
        ),
        (
            "https://me.openai.azure.com/openai/deployments/x",
            {},
            "https://me.openai.azure.com/openai/deployments/x",
            True,
        ),
        ("https://proxy.example", {"api_version": "2025-01-01"}, "https://proxy.example/openai/deployments/m", True),
        ("https://evil.example/.openai.azure.com", {}, "https://evil.example/.openai.azure.com", False),
        (None, {}, "https://api.openai.com/v1", False),
    ],
)
def test_azure_is_known_by_its_host(url: str | None, options: Any, base: str, is_azure: bool) -> None:
    target = target_of(url, None, options.get("api_version"), "m", "2024-10-21")
    assert (target.base_url, target.azure) == (base, is_azure)
    assert target.openai == (is_azure or "azure.com/openai" in base or url is None)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host", "http://", "nonsense"])
def test_a_base_url_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(UsageError, match="is not one"):
        model(url)


def test_a_key_with_odd_characters_is_said_at_once() -> None:
    with pytest.raises(UsageError) as raised:
        model(None, api_key="sk-\u200bsecret")
    assert "secret" not in str(raised.value)


def test_without_a_key_none_is_sent_not_even_one_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with Endpoint([text("hi")]) as endpoint:
        ask(model(endpoint.base_url), request())
        assert "authorization" not in endpoint.requests[0].headers


@both_ways
def test_the_connection_is_kept_between_requests(stream: bool) -> None:
    with Endpoint([text("a"), text("b"), text("c")]) as endpoint:
        ask(model(endpoint.base_url, stream=stream), request(), request(), request())
        assert endpoint.connections == 1


def test_models_with_one_pool_share_its_connections_and_leave_them_open() -> None:
    async def run(url: str) -> list[str]:
        pool = Pool()
        said: list[str] = []
        for _ in range(3):
            one = model(url, pool=pool)
            said.append((await one.complete(request(), None)).text)
            await one.aclose()
        await pool.aclose()
        return said

    with Endpoint([text("a"), text("b"), text("c")]) as endpoint:
        assert asyncio.run(run(endpoint.base_url)) == ["a", "b", "c"]
        assert endpoint.connections == 1


@both_ways
def test_a_proxy_of_the_environment_is_used_unless_the_address_is_excepted(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is its own proxy here: requests to a name that does not exist arrive nowhere else."""
    with Endpoint([text("through the proxy"), text("directly")]) as endpoint:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{endpoint.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        (answer,) = ask(model("http://model.invalid/v1", stream=stream), request())
        assert answer.text == "through the proxy"
        assert endpoint.requests[0].headers["host"] == "model.invalid"
        (answer,) = ask(model(endpoint.base_url, stream=stream), request())
        assert answer.text == "directly"


def test_requests_side_by_side_each_get_their_own_answer() -> None:
    def echo(data: dict[str, Any]) -> Answer:
        return text(data["messages"][1]["content"], delay_s=0.02)

    with Endpoint(echo) as endpoint:
        one = model(endpoint.base_url, stream=True)

        async def run() -> list[str]:
            talks = [Talk(Message("system", "s"), Message("user", f"branch {number}")) for number in range(8)]
            completions = await asyncio.gather(*(one.complete(request(talk), None) for talk in talks))
            await one.aclose()
            return [completion.text for completion in completions]

        assert asyncio.run(run()) == [f"branch {number}" for number in range(8)]


def test_what_one_branch_learns_holds_for_those_that_were_refused_at_the_same_time() -> None:
    with Endpoint(lambda _: text("fine"), tools=False, cap_field="max_completion_tokens", latency_s=0.02) as endpoint:
        one = model(endpoint.base_url)

        async def run() -> list[str]:
            completions = await asyncio.gather(*(one.complete(request(), None) for _ in range(6)))
            await one.aclose()
            return [completion.text for completion in completions]

        assert asyncio.run(run()) == ["fine"] * 6


@both_ways
def test_a_request_can_be_cancelled_and_the_next_one_works(stream: bool) -> None:
    with Endpoint([text("x" * 500, fault="stall" if stream else "hang"), text("fine")]) as endpoint:
        one = model(endpoint.base_url, stream=stream)

        async def run() -> str:
            await asyncio.to_thread(lambda: None)
            task = asyncio.create_task(one.complete(request(), None))
            while not endpoint.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            answer = await one.complete(request(), None)
            await one.aclose()
            return answer.text

        assert asyncio.run(run()) == "fine"


def test_the_http_client_is_not_imported_before_the_first_request() -> None:
    code = """
import sys
from agentrunner.llm import ChatModel
heavy = {"openai", "aiohttp", "pydantic"}
model = ChatModel("m", base_url="http://127.0.0.1:9/v1", api_key=None)
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_address_keeps_a_query_of_the_base_url_behind_the_path() -> None:
    plain = target_of("http://host/v1?tenant=a", None, None, "m", "2024-10-21")
    assert address(plain, "/chat/completions") == "http://host/v1/chat/completions?tenant=a"
    azure = target_of("https://x.openai.azure.com", None, None, "m", "2024-10-21")
    assert address(azure, "/chat/completions").endswith("/deployments/m/chat/completions?api-version=2024-10-21")


def test_the_key_and_who_is_billed_travel_in_headers() -> None:
    environ = {"OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj-1"}
    openai = dict(headers(target_of(None, None, None, "m", ""), "sk-1", environ))
    assert (openai["Authorization"], openai["OpenAI-Organization"], openai["OpenAI-Project"]) == (
        "Bearer sk-1",
        "org-1",
        "proj-1",
    )
    other = dict(headers(target_of("http://host/v1", None, None, "m", ""), None, environ))
    assert not {"Authorization", "OpenAI-Organization", "OpenAI-Project", "api-key"} & set(other)
    azure = dict(headers(target_of("https://x.openai.azure.com", None, None, "m", ""), "k", environ))
    assert azure["api-key"] == "k"
    assert "Authorization" not in azure
    named = dict(headers(target_of("http://me:p%40ss@host/v1", None, None, "m", ""), None, {}))
    assert named["Authorization"] == "Basic bWU6cEBzcw=="


# --- size --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["auto", "tools", "json"])
@pytest.mark.parametrize("tools", [TOOLS, ()])
def test_input_bytes_are_at_least_what_any_form_of_the_request_carries(protocol: Any, tools: Any) -> None:
    talk = Talk(Message("system", "s" * 300), Message("user", "ü" * 500))
    asked = request(talk, tools=tools, schema=SCHEMA if not tools else None)
    with Endpoint([text("a")], tools=protocol != "auto") as endpoint:
        one = model(endpoint.base_url, protocol=protocol)
        bound = one.input_bytes(asked)
        ask(one, asked)
        for received in endpoint.requests:
            carried = [received.json["messages"], received.json.get("tools"), received.json.get("response_format")]
            assert bound >= sum(len(json.dumps(one, ensure_ascii=False).encode()) for one in carried if one) * 0.97
            assert bound >= sum(len(message["content"].encode()) for message in received.json["messages"])


def test_input_bytes_and_body_cost_little_however_long_the_conversation() -> None:
    talk = Talk(Message("system", "s"), *(Message("user", "x" * 2000) for _ in range(2000)))
    one = model("http://127.0.0.1:9/v1")
    asked = request(talk)
    one.input_bytes(asked)
    started = time.perf_counter()
    for _ in range(100):
        talk.messages.append(Message("user", "more"))
        one.input_bytes(asked)
    assert time.perf_counter() - started < 1.0
