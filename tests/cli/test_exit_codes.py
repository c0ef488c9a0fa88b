"""Each way that a run can end has its exit code, its status and its reason."""

import pytest

from tests.support.endpoint import Endpoint, call, error, text
from tests.support.program import Agent, finish, says, writes


def reason_of(agent: Agent, *arguments: str, code: int) -> tuple[str, str]:
    done = agent("run", "a goal", "--json", *arguments)
    assert done.code == code, done.err + done.out[-2000:]
    assert done.finished["exit_code"] == code
    return done.finished["status"], done.finished["reason"]


def test_a_met_goal_is_0(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish("done", "a.txt"))
    assert reason_of(agent, "--script", script, code=0) == ("completed", "goal_met")


def test_a_script_that_runs_out_is_1(agent: Agent) -> None:
    assert reason_of(agent, "--script", agent.script(writes("a.txt")), code=1) == ("failed", "internal_error")


def test_an_expectation_that_does_not_hold_is_1(agent: Agent) -> None:
    script = agent.script(finish() | {"expect": "words that are not in the request"})
    assert reason_of(agent, "--script", script, code=1) == ("failed", "internal_error")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_refuses_is_3(agent: Agent, status: int) -> None:
    with Endpoint([error(status, "no such thing")]) as endpoint:
        ended = reason_of(agent, "--base-url", endpoint.base_url, code=3)
        assert ended == ("failed", "provider_error")
        assert len(endpoint.requests) == 1


def test_an_endpoint_that_stays_down_is_3_after_retries(agent: Agent) -> None:
    with Endpoint(lambda _: error(500)) as endpoint:
        done = agent("run", "a goal", "--base-url", endpoint.base_url, env={"AGENT_RETRIES": "2"})
        assert done.code == 3
        assert "3 attempts" in done.err
        assert len(endpoint.requests) == 3


def test_giving_up_is_4(agent: Agent) -> None:
    script = agent.script(finish("there is no data", outcome="gave_up"))
    assert reason_of(agent, "--script", script, code=4) == ("incomplete", "gave_up")


def test_a_failed_verification_is_4(agent: Agent, sandboxed: None) -> None:
    script = agent.script(finish(), finish(), finish())
    ended = reason_of(agent, "--script", script, "--verify", "test -f wanted.txt", code=4)
    assert ended == ("incomplete", "verification_failed")


def test_used_up_steps_are_5(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"), finish())
    assert reason_of(agent, "--script", script, "--max-steps", "2", code=5) == ("incomplete", "budget_steps")


def test_used_up_cost_is_6(agent: Agent) -> None:
    script = agent.script(*(writes(f"{n}.txt") for n in range(50)))
    ended = reason_of(agent, "--script", script, "--price", "1,1", "--max-cost", "0.03", code=6)
    assert ended == ("incomplete", "budget_cost")


def test_used_up_tokens_are_7(agent: Agent) -> None:
    script = agent.script(*(writes(f"{n}.txt") for n in range(50)))
    assert reason_of(agent, "--script", script, "--max-tokens", "30000", code=7) == ("incomplete", "budget_tokens")


def test_used_up_time_is_8(agent: Agent) -> None:
    with Endpoint(lambda _: call("write_file", path="a.txt", content="x")) as endpoint:
        endpoint.latency_s = 0.4
        arguments = ("--base-url", endpoint.base_url, "--model", "local", "--max-time", "1s")
        assert reason_of(agent, *arguments, code=8) == ("incomplete", "budget_time")


def test_going_in_circles_is_9(agent: Agent) -> None:
    script = agent.script(*(says("list_files", path=".") for _ in range(9)))
    assert reason_of(agent, "--script", script, code=9) == ("incomplete", "stuck")


def test_a_question_that_nobody_can_answer_is_10(agent: Agent) -> None:
    script = agent.script(says("ask_user", question="Which table?"))
    assert reason_of(agent, "--script", script, code=10) == ("requires_action", "needs_input")


def test_an_approval_that_nobody_can_give_is_10(agent: Agent) -> None:
    script = agent.script(writes("a.txt"))
    ended = reason_of(agent, "--script", script, "--approve", "each", code=10)
    assert ended == ("requires_action", "needs_approval")
    assert not (agent.workspace / "a.txt").exists()


@pytest.mark.parametrize("limit", ["--max-steps", "--max-cost", "--max-tokens", "--max-time"])
def test_a_limit_of_zero_sends_nothing(agent: Agent, limit: str) -> None:
    with Endpoint([text("hello")]) as endpoint:
        done = agent("run", "a goal", "--base-url", endpoint.base_url, "--model", "local", "--json", limit, "0")
        assert done.code in (5, 6, 7, 8)
        assert endpoint.requests == []


def test_a_stopped_run_ends_with_a_summary(agent: Agent) -> None:
    with Endpoint(lambda data: text("what was reached") if "tools" not in data else call("list_files")) as endpoint:
        done = agent("run", "a goal", "--base-url", endpoint.base_url, "--model", "local", "--json", "--max-steps", "2")
        assert done.code == 5
        assert done.finished["answer"] == "what was reached"
        assert done.of_type("completion.received")[-1]["step"] is None


def test_a_stopped_run_without_a_model_is_summed_up_from_its_journal(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"))
    done = agent("run", "a goal", "--script", script, "--json", "--max-steps", "2")
    assert "2 commands were run" in done.finished["answer"]
