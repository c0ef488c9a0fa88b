"""kill -9 of the server in the middle of its runs: all of them end as they would have, and nothing is bought twice."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

from agentrunner.journal import open_journal
from tests.runs.conftest import JSON, PRICES, Server, assistant, server_in, texts, thread
from tests.support.endpoint import Answer, Endpoint

RUNS = 50
ROUNDS = 3


def count_to_three(request: JSON) -> Answer:
    """Calls a tool that is not there, so that the run goes on by itself, then says how often that was."""
    rounds = sum(message["role"] == "tool" for message in request["messages"])
    if rounds < ROUNDS:
        return Answer(calls=(("count", {"to": rounds}),), delay_s=0.15)
    return Answer(f"counted {rounds} for {request['messages'][0]['content']}", delay_s=0.15)


def kill_after(server: Server, seconds: float) -> None:
    time.sleep(seconds)
    server.kill()


def test_fifty_runs_survive_two_kills(tmp_path: Path) -> None:
    with Endpoint(count_to_three) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        made = assistant(client, *PRICES)
        talks = [thread(client, f"run {number}") for number in range(RUNS)]
        runs = [client.beta.threads.runs.create(thread_id=talk, assistant_id=made) for talk in talks]
        for seconds in (0.4, 1.0):
            killer = threading.Thread(target=kill_after, args=(server, seconds))
            killer.start()
            killer.join()
            server.start()
        again = server.client()
        ended = [again.beta.threads.runs.poll(run.id, thread_id=run.thread_id) for run in runs]

        assert Counter(run.status for run in ended) == {"completed": RUNS}, [run.last_error for run in ended]
        for number, talk in enumerate(talks):
            assert texts(again, talk) == [f"run {number}", f"counted {ROUNDS} for run {number}"]
            again.beta.threads.messages.create(talk, role="user", content="not locked")
        for run in ended:
            steps = list(again.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, order="asc"))
            assert [step.status for step in steps] == ["completed"] * (ROUNDS + 1)
            calls = [call.id for step in steps[:-1] for call in cast(Any, step.step_details).tool_calls]
            assert len(calls) == ROUNDS
    with contextlib.closing(open_journal(server.agent.home)) as journal:
        for run in runs:
            events = journal.load(run.id)
            bought = Counter(event.key for event in events if event.type == "completion.received")
            assert bought == {f"/llm:{number}": 1 for number in range(1, ROUNDS + 2)}


def one_step_and_then_nothing(request: JSON) -> Answer:
    done = any(message["role"] == "tool" for message in request["messages"])
    return Answer(delay_s=30) if done else Answer(calls=(("count", {"to": 1}),))


def test_what_was_told_before_a_kill_is_there_when_the_server_is_again(tmp_path: Path) -> None:
    with Endpoint(one_step_and_then_nothing) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        made, talk = assistant(client, *PRICES), thread(client, "count")
        told: list[Any] = []
        with contextlib.suppress(Exception), client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as said:
            for event in said:
                told.append(event)
                if event.event == "thread.run.step.completed":
                    server.kill()
        server.start()
        again = server.client()

        run, step = told[0].data, told[-1].data
        assert again.beta.threads.runs.retrieve(run.id, thread_id=talk).status == "in_progress"
        [found] = again.beta.threads.runs.steps.list(run.id, thread_id=talk).data
        assert (found.id, found.status) == (step.id, "completed")
        again.beta.threads.runs.cancel(run.id, thread_id=talk)


def test_what_is_told_of_a_run_can_be_asked_for(tmp_path: Path) -> None:
    with Endpoint(one_step_and_then_nothing) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        made, talk = assistant(client, *PRICES), thread(client, "count")
        seen: list[tuple[str, list[str]]] = []
        with client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as said:
            for event in said:
                if event.event.startswith("thread.run.step") and not event.event.endswith("delta"):
                    step = cast(Any, event.data)
                    listed = client.beta.threads.runs.steps.list(step.run_id, thread_id=talk)
                    seen.append((event.event, [one.status for one in listed if one.id == step.id]))
                if event.event == "thread.run.step.completed":
                    client.beta.threads.runs.cancel(cast(Any, event.data).run_id, thread_id=talk)

        assert [len(statuses) for _, statuses in seen] == [1, 1, 1]
        assert seen[-1] == ("thread.run.step.completed", ["completed"])
