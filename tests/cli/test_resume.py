"""Going on: after questions, budgets, interruptions and kills, and with one more thing after the end."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from tests.support.endpoint import Answer, Endpoint, call, text
from tests.support.program import Agent, Done, finish, says, writes


def test_an_answered_question_goes_on(agent: Agent) -> None:
    script = agent.script(says("ask_user", question="Which colour?"), finish("{{result}}"))
    asked = agent("run", "paint", "--script", script, "--json")
    assert asked.code == 10
    [pending] = asked.finished["pending"]
    assert pending["question"] == "Which colour?"
    answered = agent("resume", asked.finished["session_id"], "--answer", "blue", "--json")
    assert answered.code == 0, answered.err
    assert "blue" in answered.finished["answer"]


def test_an_approved_command_runs_once(agent: Agent) -> None:
    script = agent.script(says("append_file", path="log.txt", content="x"), finish())
    asked = agent("run", "log", "--script", script, "--approve", "each", "--json")
    assert asked.code == 10
    session = asked.finished["session_id"]
    assert agent("resume", session, "--answer", "y").code == 0
    assert (agent.workspace / "log.txt").read_text() == "x"


def test_a_refused_command_is_told_to_the_model(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish() | {"expect": "use b.txt"})
    asked = agent("run", "write", "--script", script, "--approve", "each", "--json")
    done = agent("resume", asked.finished["session_id"], "--answer", "use b.txt instead", "--json")
    assert done.code == 0, done.err
    assert done.of_type("tool.finished")[0]["outcome"] == "denied"
    assert not (agent.workspace / "a.txt").exists()


def test_a_yes_for_three_covers_three(agent: Agent) -> None:
    script = agent.script(*(writes(f"{n}.txt") for n in range(4)), finish())
    asked = agent("run", "write", "--script", script, "--approve", "each", "--json")
    again = agent("resume", asked.finished["session_id"], "--answer", "y -3", "--json")
    assert again.code == 10
    assert sorted(p.name for p in agent.workspace.iterdir()) == ["0.txt", "1.txt", "2.txt"]


def test_more_steps_go_on_where_it_stopped(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"), finish("all", "a.txt", "b.txt"))
    first = agent("run", "write", "--script", script, "--max-steps", "1", "--json")
    assert first.code == 5
    second = agent("resume", first.finished["session_id"], "--add-steps", "5", "--json")
    assert second.code == 0, second.err
    assert second.finished["steps"] == 3
    assert second.events[0]["type"] == "session.claimed"


def test_a_stopped_session_stays_stopped_without_more(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), finish())
    first = agent("run", "write", "--script", script, "--max-steps", "1", "--json")
    assert agent("resume", first.finished["session_id"]).code == 5


def test_a_completed_session_is_shown_again_and_nothing_is_sent(agent: Agent) -> None:
    with Endpoint([text("the answer")]) as endpoint:
        first = agent("run", "ask", "--base-url", endpoint.base_url, "--model", "local", "--json")
        again = agent("resume", first.finished["session_id"], "--json")
        plain = agent("resume", "--last")
        assert len(endpoint.requests) == 1
    assert again.events == [first.finished]
    assert plain.out == "the answer\n"
    assert again.code == plain.code == 0


def test_one_more_thing_after_the_end(agent: Agent) -> None:
    with Endpoint([text("first answer"), text("second answer")]) as endpoint:
        base = ("--base-url", endpoint.base_url, "--model", "local", "--json")
        agent("run", "ask", *base)
        done = agent("resume", "--last", "one more thing", "--json")
        sent = endpoint.requests[1].json["messages"]
    assert done.code == 0, done.err
    assert done.finished["answer"] == "second answer"
    assert any(m["content"] == "one more thing" for m in sent)
    assert any(m["content"] == "first answer" for m in sent)


def slow_effects(data: dict[str, object]) -> Answer:
    """Appends one line per request, and finishes at the eighth."""
    messages = data["messages"]
    assert isinstance(messages, list)
    count = sum(m["role"] == "tool" for m in messages)
    return (
        call("finish", answer="all there") if count >= 8 else call("append_file", path="log.txt", content=f"{count}\n")
    )


@pytest.mark.parametrize("delay_s", [0.8, 1.1, 1.5, 1.9])
def test_a_killed_session_goes_on_and_buys_nothing_twice(agent: Agent, delay_s: float) -> None:
    with Endpoint(slow_effects, latency_s=0.15) as endpoint:
        process = agent.start("run", "log", "--base-url", endpoint.base_url, "--model", "local", "--json")
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        answered_before = len(endpoint.requests)
        rows = agent("sessions", "list", "--json").out.splitlines()
        if not rows:
            return  # killed before there was a session
        done = agent("resume", json.loads(rows[0])["id"], "--json")
        assert done.code == 0, done.err
    # One request may have been on its way when the process died: its answer never reached the journal.
    assert len(endpoint.requests) in (9, 10)
    assert answered_before <= 10
    told = [m["content"] for m in endpoint.requests[-1].json["messages"] if m["role"] == "tool"]
    # What ran when the process died may have had its effect or not: the model is told so, and nothing runs twice.
    unknown = {f"{n}" for n, result in enumerate(told) if "outcome of this append_file command is unknown" in result}
    written = (agent.workspace / "log.txt").read_text().split()
    assert len(unknown) <= 1
    assert sorted({*written, *unknown}) == [f"{n}" for n in range(8)]
    assert len(set(written)) == len(written)


def test_an_unsafe_command_in_flight_is_not_run_again(agent: Agent, sandboxed: None) -> None:
    script = [call("shell", command="echo once >> log.txt; sleep 3"), text("looked")]
    with Endpoint(script) as endpoint:
        process = agent.start("run", "log", "--base-url", endpoint.base_url, "--model", "local", "--json")
        wait_for(lambda: (agent.workspace / "log.txt").exists())
        process.kill()
        process.communicate()
        done = agent("resume", "--last", "--json")
        told = endpoint.requests[1].json["messages"]
    assert done.code == 0, done.err
    assert (agent.workspace / "log.txt").read_text() == "once\n"
    assert any("outcome of this shell command is unknown" in (m["content"] or "") for m in told)


def test_a_command_in_doubt_waits_for_a_person_when_that_is_wanted(agent: Agent, sandboxed: None) -> None:
    with Endpoint([call("shell", command="echo once >> log.txt; sleep 3"), text("looked")]) as endpoint:
        base = ("--base-url", endpoint.base_url, "--in-doubt", "ask", "--json")
        process = agent.start("run", "log", *base, "--model", "local")
        wait_for(lambda: (agent.workspace / "log.txt").exists())
        process.kill()
        process.communicate()
        paused = agent("resume", "--last", *base)
        assert (paused.code, paused.finished["reason"]) == (10, "needs_attention"), paused.err
        [pending] = paused.finished["pending"]
        assert pending["kind"] == "attention"
        assert "echo once" in pending["question"]
        assert len(endpoint.requests) == 1
        done = agent("resume", "--last", "--answer", "it ran to its end", *base)
        told = [m["content"] for m in endpoint.requests[1].json["messages"] if m["role"] == "tool"]
    assert done.code == 0, done.err
    assert (agent.workspace / "log.txt").read_text() == "once\n"
    assert "outcome of this shell command is unknown" in told[0]
    assert told[0].endswith("The user looked and says: it ran to its end")


def test_the_first_interrupt_finishes_the_step_and_saves(agent: Agent) -> None:
    done = interrupted(agent, signals=[signal.SIGINT])
    assert done.code == 130
    assert done.finished["reason"] == "interrupted"
    assert done.of_type("tool.finished")


def test_the_second_interrupt_stops_at_once(agent: Agent, sandboxed: None) -> None:
    with Endpoint([call("shell", command="sleep 20"), text("done")]) as endpoint:
        process = agent.start("run", "sleep", "--base-url", endpoint.base_url, "--model", "local", "--json")
        wait_for(lambda: endpoint.requests)
        time.sleep(0.7)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert process.returncode == 130, err
        assert time.monotonic() - start < 8
        assert json.loads(out.splitlines()[-1])["reason"] == "interrupted"


def test_a_termination_is_saved_as_cancelled(agent: Agent) -> None:
    done = interrupted(agent, signals=[signal.SIGTERM])
    assert done.code == 143
    assert (done.finished["status"], done.finished["reason"]) == ("cancelled", "cancelled")


def interrupted(agent: Agent, signals: list[signal.Signals]) -> Done:
    def answer(data: dict[str, object]) -> Answer:
        messages = data["messages"]
        assert isinstance(messages, list)
        return text("done") if len(messages) > 3 else call("list_files")

    with Endpoint(answer, latency_s=0.5) as endpoint:
        process = agent.start("run", "x", "--base-url", endpoint.base_url, "--model", "local", "--json")
        wait_for(lambda: endpoint.requests)
        for each in signals:
            process.send_signal(each)
        out, err = process.communicate(timeout=20)
        done = Done(process.returncode, out.decode(), err.decode())
        if signal.SIGINT in signals:
            # While the endpoint is still there, so that the session can go on.
            resumed = agent("resume", "--last", "--json")
            assert resumed.code == 0, resumed.err
    return done


def wait_for(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_two_resumes_of_one_session_do_not_meet(agent: Agent) -> None:
    with Endpoint(lambda _: text("done"), latency_s=1.0) as endpoint:
        first = agent("run", "x", "--base-url", endpoint.base_url, "--model", "local", "--max-steps", "0", "--json")
        session = first.finished["session_id"]
        results: list[Done] = []

        def go_on() -> None:
            results.append(agent("resume", session, "--add-steps", "3"))

        threads = [threading.Thread(target=go_on) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(endpoint.requests) == 1
    assert sorted(done.code for done in results) == [0, 2]
    loser = next(done for done in results if done.code == 2)
    assert "process" in loser.err
    assert len(loser.err.splitlines()) == 1


def test_a_scripted_session_goes_on_with_its_script(agent: Agent) -> None:
    script = agent.script(writes("a.txt"), writes("b.txt"), writes("c.txt"), finish("c: {{result}}"))
    first = agent("run", "write", "--script", script, "--max-steps", "2", "--json")
    done = agent("resume", first.finished["session_id"], "--add-steps", "9", "--json")
    assert done.code == 0, done.err
    assert "c.txt" in done.finished["answer"]


def test_the_python_state_is_said_to_be_lost(agent: Agent, sandboxed: None) -> None:
    script = agent.script(says("python", code="x = 41"), says("python", code="x + 1"), finish("{{result}}"))
    first = agent("run", "compute", "--script", script, "--max-steps", "1", "--json")
    done = agent("resume", first.finished["session_id"], "--add-steps", "9", "--json")
    assert done.code == 0, done.err
    assert "NameError" in done.finished["answer"]
    assert "The interpreter was restarted" in done.finished["answer"]


def test_kill_leaves_nothing_running(agent: Agent, sandboxed: None) -> None:
    mark = f"4{os.getpid()}.5"
    with Endpoint([call("shell", command=f"sleep {mark}")]) as endpoint:
        process = agent.start("run", "x", "--base-url", endpoint.base_url, "--model", "local")
        wait_for(lambda: running(f"sleep {mark}"))
        process.kill()
        process.communicate()
        wait_for(lambda: not running(f"sleep {mark}"), 4)


def running(what: str) -> bool:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return any(line.strip() == what for line in listing.splitlines())


def test_an_instruction_goes_on_after_a_failed_verification(agent: Agent, sandboxed: None) -> None:
    script = agent.script(finish(), finish(), finish(), writes("ok"), finish())
    first = agent("run", "x", "--script", script, "--verify", "test -f ok", "--json")
    assert first.code == 4
    assert agent("resume", "--last").code == 4
    done = agent("resume", "--last", "write the file ok", "--json")
    assert done.code == 0, done.err


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM] * 3])
def test_a_signal_during_the_last_words_still_ends_in_order(agent: Agent, signals: list[signal.Signals]) -> None:
    def answer(data: dict[str, object]) -> Answer:
        return call("list_files") if "tools" in data else text("too late", delay_s=8)

    with Endpoint(answer) as endpoint:
        process = agent.start("run", "x", "--base-url", endpoint.base_url, "--model", "m", "--max-steps", "1", "--json")
        wait_for(lambda: len(endpoint.requests) == 2)
        for each in signals:
            process.send_signal(each)
            time.sleep(0.02)
        out, err = process.communicate(timeout=10)
    finished = json.loads(out.splitlines()[-1])
    assert finished["type"] == "session.finished", err
    assert process.returncode == finished["exit_code"] == 5


def test_a_request_that_was_stopped_stays_booked(agent: Agent) -> None:
    with Endpoint([text("late", delay_s=8)]) as endpoint:
        process = agent.start("run", "x", "--base-url", endpoint.base_url, "--model", "m", "--price", "1,1", "--json")
        wait_for(lambda: endpoint.requests)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    finished = json.loads(out.splitlines()[-1])
    assert (finished["reason"], process.returncode) == ("cancelled", 143)
    assert finished["spent_usd"] > 0.01


def test_a_command_that_never_ran_is_run_after_the_resume(agent: Agent, sandboxed: None) -> None:
    many = {"calls": [{"name": "shell", "arguments": {"command": f"sleep 0.8; echo {n} >> log.txt"}} for n in range(5)]}
    script = agent.script(many, finish())
    first = agent("run", "x", "--script", script, "--max-time", "3s", "--json")
    assert first.code == 8, first.err
    done = agent("resume", "--last", "--add-time", "60s", "--json")
    assert done.code == 0, done.err
    lines = (agent.workspace / "log.txt").read_text().split()
    assert len(lines) == len(set(lines)) >= 4
    unknown = [
        e for e in [*first.of_type("tool.finished"), *done.of_type("tool.finished")] if e["outcome"] == "unknown"
    ]
    assert len(unknown) <= 1


def test_a_session_stays_in_its_workspace(agent: Agent) -> None:
    agent("run", "x", "--script", agent.script(finish()))
    assert agent("resume", agent.session(), "more", "--workspace", "elsewhere").code == 2
