"""What a stream says when all is not well: silence, a client that comes late, a server that stops."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from openai import APIError, OpenAI

from agentrunner.journal import SessionLock
from agentrunner.server import feed as feeds
from agentrunner.server.feed import Feed, server_sent
from tests.runs.conftest import PRICES, Server, assistant, events_of, obey, server_in, texts, thread, wait_until
from tests.support.endpoint import Answer, Endpoint

LONG = "stall these are the words of a long answer that never comes to its end, whatever is done about it"


def test_silence_is_kept_alive_by_comments_that_no_client_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEEP_ALIVE_S", 0.05)

    async def check() -> bytes:
        feed, came = Feed(), list[bytes]()
        async for piece in server_sent(feed, feed.follow()):
            came.append(piece)
            if len(came) == 3:
                feed.tell([("thread.run.completed", {"id": "run_a"})])
                feed.end()
        return b"".join(came)

    told = b'event: thread.run.completed\ndata: {"id":"run_a"}\n\nevent: done\ndata: [DONE]\n\n'
    assert asyncio.run(check()) == b": keep-alive\n\n" * 3 + told


def test_what_was_told_in_a_stream_can_be_asked_for_at_once(client: OpenAI) -> None:
    talk = thread(client, LONG)
    asked: list[tuple[str, str]] = []
    threads = client.beta.threads
    for event in threads.runs.create(talk, assistant_id=assistant(client), stream=True):
        about = cast(Any, event.data)
        if event.event == "thread.run.step.created":
            found = threads.runs.steps.retrieve(about.id, thread_id=talk, run_id=about.run_id)
            asked.append((found.id, found.status))
        elif event.event == "thread.message.created":
            asked.append((about.id, threads.messages.retrieve(about.id, thread_id=talk).status))
            assert threads.messages.list(talk).data[0].id == about.id
            threads.runs.cancel(about.run_id, thread_id=talk)

    assert [status for _, status in asked] == ["in_progress", "in_progress"]


def test_who_comes_in_the_middle_of_a_message_has_all_of_it_in_the_end(client: OpenAI, server: Server) -> None:
    talk = thread(client, LONG)
    stream = client.beta.threads.runs.create(talk, assistant_id=assistant(client), stream=True)
    run_id = next(cast(Any, event.data).run_id for event in stream if event.event == "thread.message.created")
    stream.close()  # A client that goes away in the middle.
    late: list[httpx2.Response] = []

    def follow() -> None:
        late.append(httpx2.get(f"{server.url}/threads/{talk}/runs/{run_id}?stream=true", timeout=30))

    follower = threading.Thread(target=follow)
    follower.start()
    time.sleep(0.5)
    client.beta.threads.runs.cancel(run_id, thread_id=talk)
    follower.join(20)

    assert late[0].headers["content-type"].startswith("text/event-stream")
    events = events_of(late[0].text)
    assert [name for name, _ in events[:3]] == [
        "thread.run.in_progress",
        "thread.run.step.created",
        "thread.message.created",
    ]
    assert [name for name, _ in events[-2:]] == ["thread.run.cancelled", "done"]
    begun = next(data for name, data in events if name == "thread.message.created")
    pieces = [data["delta"]["content"][0]["text"]["value"] for name, data in events if name == "thread.message.delta"]
    assert begun["content"][0]["text"]["value"] + "".join(pieces) == texts(client, talk)[-1]


def stalling() -> tuple[list[bool], Callable[[Any], Answer]]:
    """A script that obeys while the first of these is true, and gives a whole answer after that."""
    stalls = [True]
    return stalls, lambda request: obey(request) if stalls[0] else Answer("the whole answer")


def test_a_server_that_stops_says_so_in_its_streams_and_its_runs_go_on_later(tmp_path: Path) -> None:
    stalls, answer = stalling()
    with Endpoint(answer) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        talk, run_id = thread(client, LONG), ""
        made = assistant(client)
        with (  # noqa: PT012
            pytest.raises(APIError, match="the server is being stopped; the run goes on when it is started again"),
            client.beta.threads.runs.stream(thread_id=talk, assistant_id=made) as stream,
        ):
            for event in stream:
                if event.event == "thread.message.created":
                    run_id = cast(Any, event.data).run_id
                    assert server.process is not None
                    server.process.send_signal(signal.SIGTERM)
        assert server.process is not None
        _, said = server.process.communicate(timeout=20)
        assert b"Traceback" not in said, said.decode()
        stalls[0] = False
        server.start()
        again = server.client()
        run = again.beta.threads.runs.poll(run_id, thread_id=talk)
        assert (run.status, texts(again, talk)) == ("completed", [LONG, "the whole answer"])


def test_a_server_that_is_killed_in_the_middle_of_a_message_finishes_that_message_later(tmp_path: Path) -> None:
    stalls, answer = stalling()
    with Endpoint(answer) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        talk = thread(client, LONG)
        about: Any = None
        with pytest.raises((APIError, httpx2.TransportError)):  # noqa: PT012
            for event in client.beta.threads.runs.create(talk, assistant_id=assistant(client), stream=True):
                if event.event == "thread.message.created":
                    about = event.data
                    server.kill()
        stalls[0] = False
        server.start()
        again = server.client()
        wait_until(lambda: again.beta.threads.runs.retrieve(about.run_id, thread_id=talk).status == "completed")
        question, message = again.beta.threads.messages.list(talk, order="asc")

        assert (question.role, message.id, message.status) == ("user", about.id, "completed")
        assert texts(again, talk)[-1] == "the whole answer"
        [step] = again.beta.threads.runs.steps.list(about.run_id, thread_id=talk)
        assert step.status == "completed"


def test_a_stream_of_a_run_that_another_server_holds_says_so_and_the_run_goes_on(
    client: OpenAI, server: Server
) -> None:
    made, talk = assistant(client, *PRICES), thread(client, "call price")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=made)
    [call] = cast(Any, run.required_action).submit_tool_outputs.tool_calls
    given: Any = {"tool_call_id": call.id, "output": "7"}
    submit = client.beta.threads.runs.submit_tool_outputs
    with SessionLock(server.agent.home, run.id):
        with pytest.raises(APIError, match="another server works on this run"):
            list(submit(run.id, thread_id=talk, tool_outputs=[given], stream=True))
        assert client.beta.threads.runs.retrieve(run.id, thread_id=talk).status == "queued"
    wait_until(lambda: client.beta.threads.runs.retrieve(run.id, thread_id=talk).status == "completed", 30)
    assert texts(client, talk)[-1] == "the results: 7"
