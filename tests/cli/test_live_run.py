"""A real run against an endpoint, in all the ways that endpoints have."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.support.endpoint import Answer, Endpoint, Received, call, calls, error, text
from tests.support.program import Agent

JSON = dict[str, Any]


def thirty_steps() -> list[Answer]:
    answers: list[Answer] = []
    for n in range(9):
        thoughts = {"text": f"round {n}", "plan": [f"part {n}", "finish"], "criticism": "none", "revise": False}
        answers.append(call("write_file", thoughts, path=f"notes/{n}.md", content=f"note {n}\n"))
        answers.append(call("python", thoughts, code=f"total = globals().get('total', 0) + {n}\ntotal"))
        answers.append(call("shell", thoughts, command=f"cat notes/{n}.md | tr a-z A-Z"))
    answers.append(calls(call("read_file", path="notes/0.md"), call("list_files", path="notes")))
    answers.append(call("python", code="open('total.txt', 'w').write(str(total)); total"))
    answers.append(call("finish", answer="the total is 36", artifacts=["total.txt"]))
    return answers


def run(agent: Agent, endpoint: Endpoint, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> Any:
    done = agent(
        "run", "add up the notes", "--base-url", endpoint.base_url, "--model", "local", "--json", *arguments, env=env
    )
    assert done.code == code, done.err + done.out[-3000:]
    return done


def prefix(request: Received) -> bytes:
    """The body up to the trailing line: what a provider's prompt cache can keep."""
    messages = request.json["messages"]
    last = json.dumps(messages[-1]["content"], ensure_ascii=False).encode()
    assert messages[-1]["content"].startswith("[Left of the budget")
    return request.body[: request.body.rindex(last)].rsplit(b',{"role"', 1)[0]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, ()),
        ({}, ("--stream",)),
        ({"usage": False}, ("--stream",)),
        ({"tools": False}, ()),
        ({"tools": False}, ("--stream",)),
        ({"ids": "missing"}, ()),
        ({"ids": "repeated"}, ("--stream",)),
        ({"usage": False, "ids": "repeated"}, ()),
        ({"azure": True}, ()),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else " ".join(value),
)
def test_a_goal_of_thirty_steps_is_met(
    agent: Agent, sandboxed: None, options: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    env = {"OPENAI_API_VERSION": "2024-10-21", "OPENAI_API_KEY": "key"} if "azure" in options else {}
    with Endpoint(thirty_steps(), **options) as endpoint:
        done = run(agent, endpoint, *arguments, env=env)
        requests = [request for request in endpoint.requests if request.status == 200]
    assert done.finished["answer"] == "the total is 36"
    assert done.finished["steps"] == 30
    assert (agent.workspace / "total.txt").read_text() == "36"
    assert len(requests) == 30
    for earlier, later in pairwise(requests):
        assert later.body.startswith(prefix(earlier))
    last = requests[-1].json
    said = json.dumps(last["messages"])
    assert "add up the notes" in said
    assert "NOTE 8" in said
    assert "36" in said
    if "tools" not in options:
        names = {tool["function"]["name"] for tool in last["tools"]}
        assert {"python", "shell", "write_file", "finish"} <= names
        first = last["tools"][0]["function"]["parameters"]
        assert next(iter(first["properties"])) == "thoughts"
    else:
        assert "tools" not in last
        assert "Commands" in last["messages"][0]["content"]


def test_parallel_calls_are_run_in_order_and_answered_one_by_one(agent: Agent) -> None:
    several = calls(
        call("write_file", {"text": "go"}, path="a.txt", content="1"),
        call("append_file", path="a.txt", content="2"),
        call("read_file", path="a.txt"),
    )
    with Endpoint([several, call("finish", answer="12")]) as endpoint:
        done = run(agent, endpoint)
        second = endpoint.requests[1].json["messages"]
    assert [m["role"] for m in second[3:6]] == ["tool"] * 3
    assert "12" in second[5]["content"]
    assert [e["name"] for e in done.of_type("tool.finished")] == ["write_file", "append_file", "read_file", "finish"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(calls=(("python", '{"code": 1'),)), "not valid JSON"),
        (Answer(calls=(("write_fil", {"path": "a"}),)), "write_file"),
        (Answer(calls=(("write_file", {"path": 3}),)), "content"),
        (Answer(calls=(("read_file", {"path": "a", "limit": "ten"}),)), "limit"),
        (Answer(calls=(("finish", {"answer": "x", "artifacts": ["missing.png"]}),)), "missing.png"),
    ],
)
def test_what_cannot_be_run_is_an_instruction_to_the_model(agent: Agent, answer: Answer, expected: str) -> None:
    with Endpoint([answer, call("finish", answer="mended")]) as endpoint:
        done = run(agent, endpoint)
        told = endpoint.requests[1].json["messages"][3]
    assert done.finished["answer"] == "mended"
    assert told["role"] == "tool"
    assert expected in told["content"]
    assert done.of_type("tool.finished")[0]["outcome"] == "error"


def test_an_unreadable_command_is_mended_at_most_three_times(agent: Agent) -> None:
    with Endpoint(lambda _: text('{"thoughts": {"text": "hm"}}'), tools=False) as endpoint:
        done = run(agent, endpoint, "--protocol", "json", code=4)
        answered = [e["label"] for e in done.of_type("completion.received")]
    assert answered[:4] == ["step", "repair", "repair", "repair"]
    assert done.finished["reason"] == "gave_up"


def test_thoughts_reach_the_events_and_not_the_tools(agent: Agent) -> None:
    thoughts = {"text": "t", "reasoning": "r", "plan": ["a", "b"], "criticism": "c", "revise": True}
    after = thoughts | {"plan": ["c"], "revise": False}
    script = [call("list_files", thoughts, path="."), call("finish", after, answer="x")]
    with Endpoint(script) as endpoint:
        done = run(agent, endpoint)
        second = endpoint.requests[1].json["messages"]
    first = done.of_type("completion.received")[0]
    assert first["thoughts"] == thoughts
    assert first["tool_calls"][0]["arguments"] == {"path": "."}
    assert "plan has to change" in second[-2]["content"]
    assert [e["plan_changed"] for e in done.of_type("completion.received")] == [None, True]


def test_a_model_without_thoughts_is_not_failed(agent: Agent) -> None:
    with Endpoint([call("finish", answer="x")]) as endpoint:
        assert run(agent, endpoint).of_type("completion.received")[0]["thoughts"] is None


def test_the_assistants_message_goes_back_verbatim(agent: Agent) -> None:
    odd = Answer(calls=(("list_files", {}),), extra={"reasoning_content": "kept", "vendor": {"x": [1]}})
    with Endpoint([odd, text("done")]) as endpoint:
        run(agent, endpoint)
        sent = endpoint.requests[1].json["messages"][2]
    assert sent["reasoning_content"] == "kept"
    assert sent["vendor"] == {"x": [1]}


def test_busy_and_failing_endpoints_are_tried_again(agent: Agent) -> None:
    script = [error(429, retry_after=0.05), error(503), Answer(fault="drop"), text("done")]
    with Endpoint(script) as endpoint:
        done = run(agent, endpoint)
        assert len(endpoint.requests) == 4
    assert [e["status"] for e in done.of_type("request.failed")][:2] == [429, 503]
    assert done.finished["steps"] == 1


def test_an_overflow_is_compacted_and_goes_on(agent: Agent) -> None:
    def answer(data: JSON) -> Answer:
        size = len(json.dumps(data["messages"]))
        if size > 60_000:
            return error(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded")
        if "tools" not in data:
            return text("summary of what was read")
        if "summary of what was read" in json.dumps(data["messages"]):
            return call("finish", answer="still here")
        return call("read_file", path="big.txt", offset=len(data["messages"]))

    agent.workspace.mkdir(parents=True)
    (agent.workspace / "big.txt").write_text("".join(f"line {n} of many words here\n" for n in range(9000)))
    with Endpoint(answer) as endpoint:
        done = run(agent, endpoint)
    assert done.finished["answer"] == "still here"


def test_a_result_that_is_too_long_is_cut_and_can_be_read(agent: Agent, sandboxed: None) -> None:
    script = [
        call("python", code="print('\\n'.join(f'row {n}' for n in range(20000)))"),
        call("read_file", path="@output/1-0.txt", offset=15000, limit=2),
        text("done"),
    ]
    with Endpoint(script) as endpoint:
        done = run(agent, endpoint)
    first, second = done.of_type("tool.finished")[:2]
    assert len(first["content"].encode()) < 20_000
    assert first["truncated_chars"] > 50_000
    assert "@output/1-0.txt" in first["content"]
    assert "row 14" in second["content"] or "row 15" in second["content"]


def test_an_answer_must_fit_the_output_schema(agent: Agent) -> None:
    schema = agent.folder / "schema.json"
    schema.write_text(json.dumps({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}))
    with Endpoint(
        [text("no json"), call("finish", answer='{"n": "1"}'), call("finish", answer='{"n": 1}')]
    ) as endpoint:
        done = run(agent, endpoint, "--output-schema", str(schema))
    assert json.loads(done.finished["answer"]) == {"n": 1}


def test_the_key_goes_to_the_endpoint_and_nowhere_else(agent: Agent, sandboxed: None) -> None:
    canary = "sk-canary-0123456789"
    script = [call("shell", command="env; cat /proc/*/environ | tr '\\0' '\\n'"), text("done")]
    with Endpoint(script, key=canary) as endpoint:
        done = run(agent, endpoint, env={"OPENAI_API_KEY": canary, "AWS_SECRET_ACCESS_KEY": canary})
        bodies = b"".join(request.body for request in endpoint.requests)
        assert endpoint.requests[0].headers["authorization"] == f"Bearer {canary}"
    stored = b"".join(path.read_bytes() for path in agent.home.rglob("*") if path.is_file())
    for place in (bodies, stored, done.out.encode(), done.err.encode()):
        assert canary.encode() not in place


def test_a_recorded_run_can_be_rehearsed(agent: Agent) -> None:
    record = agent.folder / "recorded.jsonl"
    with Endpoint([call("write_file", {"text": "t"}, path="a.txt", content="{{x}}"), text("done {{x}}")]) as endpoint:
        run(agent, endpoint, "--record", str(record))
    again = agent("run", "add up the notes", "--script", str(record), "--json", "--workspace", "again")
    assert again.code == 0, again.err
    assert again.finished["answer"] == "done {{x}}"
    assert (agent.folder / "again" / "a.txt").read_text() == "{{x}}"
