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
