"""Clients, models and files that mean harm, or are merely in each other's way."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.runs.conftest import PRICES, Server, assistant, let_go, server_in, texts, thread, wait_until
from tests.support.endpoint import Answer, Endpoint

HOSTILE = 'a\n\nevent: done\ndata: [DONE]\n\n\r\n\r\nevent: error\rdata: {}\u2028\u0085\x00\x1b[31m","x":"'


def _waiting(client: OpenAI) -> tuple[str, Any]:
    """A run that waits for two functions."""
    talk = thread(client, "call price weight")
    run = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=assistant(client, *PRICES))
    assert run.status == "requires_action"
    return talk, run


def _outputs(run: Any, text: str) -> list[Any]:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": text} for call in calls]


def _status(work: Callable[[], object]) -> int:
    try:
        work()
    except (BadRequestError, NotFoundError) as error:
        return error.status_code
    return 200


def test_of_outputs_that_are_submitted_at_the_same_time_only_the_first_count(client: OpenAI) -> None:
    for _ in range(5):
        talk, run = _waiting(client)

        def submit(number: int, talk: str = talk, run: Any = run) -> int:
            outputs = _outputs(run, f"output {number}")
            return _status(
                lambda: client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=talk, tool_outputs=outputs)
            )

        with ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(submit, range(4)))
        assert sorted(codes) == [200, 400, 400, 400]
        end = client.beta.threads.runs.poll(run.id, thread_id=talk)
        winner = codes.index(200)
        assert end.status == "completed"
        assert texts(client, talk)[-1] == f"the results: output {winner}, output {winner}"


def test_a_run_that_is_cancelled_while_outputs_are_submitted_comes_to_one_end(client: OpenAI) -> None:
    for _ in range(8):
        talk, run = _waiting(client)
        outputs = _outputs(run, "late")
        runs = client.beta.threads.runs
        works: list[Callable[[], object]] = [
            partial(runs.cancel, run.id, thread_id=talk),
            partial(runs.submit_tool_outputs, run.id, thread_id=talk, tool_outputs=outputs),
        ]
        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(_status, works))
        assert 200 in codes
        end = client.beta.threads.runs.poll(run.id, thread_id=talk)
        assert end.status in ("cancelled", "completed")
        assert end.status == "cancelled" or codes[1] == 200
        client.beta.threads.messages.create(talk, role="user", content="say still open")  # the thread is not locked
        again = client.beta.threads.runs.create_and_poll(thread_id=talk, assistant_id=run.assistant_id)
        assert (again.status, texts(client, talk)[-1]) == ("completed", "still open")


def test_of_runs_that_are_made_at_the_same_time_one_is_made(client: OpenAI) -> None:
    talk, who = thread(client, "hold the one"), assistant(client)
    made: list[str] = []

    def create(_: int) -> int:
        return _status(lambda: made.append(client.beta.threads.runs.create(thread_id=talk, assistant_id=who).id))

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(create, range(6)))
    assert sorted(codes) == [200, 400, 400, 400, 400, 400]
    let_go("the one")
    assert client.beta.threads.runs.poll(made[0], thread_id=talk).status == "completed"


def test_a_model_cannot_break_the_stream_by_what_it_says(tmp_path: Path) -> None:
    with Endpoint(lambda request: Answer(HOSTILE)) as endpoint, server_in(tmp_path, endpoint) as server:
        client = server.client()
        talk = thread(client, "anything")
        with client.beta.threads.runs.stream(thread_id=talk, assistant_id=assistant(client)) as stream:
            events = [event.event for event in stream]
            [message] = stream.get_final_messages()
        assert events[-1] == "thread.run.completed"
        [part] = message.content
        assert part.type == "text"
        assert part.text.value == texts(client, talk)[-1]
        body = {"assistant_id": assistant(client), "stream": True}
        client.beta.threads.messages.create(talk, role="user", content="again")
        raw = httpx2.post(f"{server.url}/threads/{talk}/runs", json=body, timeout=30).content
        blocks = [block.split(b"\n") for block in raw.split(b"\n\n") if block and not block.startswith(b":")]
        assert all(len(block) == 2 and block[0].startswith(b"event: ") for block in blocks)
        assert blocks[-1][1] == b"data: [DONE]"
        assert all(json.loads(block[1][6:]) for block in blocks[:-1])
        assert len(blocks) > 2
        assert b"\r" not in raw


@pytest.mark.parametrize(
    "name", ['a"\r\nX-Evil: 1\r\n\r\nbody.txt', "a\nSet-Cookie: x", "ä\u2028\u202e.txt", '";x="', "%0d%0a"]
)
def test_no_file_name_gets_into_the_headers(server: Server, name: str) -> None:
    made = httpx2.post(
        f"{server.url}/uploads", json={"filename": name, "bytes": 1, "mime_type": "text/plain", "purpose": "assistants"}
    )
    assert made.status_code in (200, 400)
    if made.status_code == 400:
        return
    id_ = made.json()["id"]
    part = httpx2.post(f"{server.url}/uploads/{id_}/parts", files={"data": b"x"}).json()["id"]
    done = httpx2.post(f"{server.url}/uploads/{id_}/complete", json={"part_ids": [part]}).json()
    answer = httpx2.get(f"{server.url}/files/{done['file']['id']}/content")
    assert answer.content == b"x"
    assert not {"x-evil", "set-cookie"} & set(answer.headers)
    shown = answer.headers["content-disposition"]
    assert shown.startswith("attachment;")
    assert shown.count('"') in (0, 2)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_requests_that_are_broken_are_refused_and_harm_nobody(server: Server, sent: bytes) -> None:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert not answer or answer.split(b" ", 2)[1].startswith(b"4"), answer[:200]
    assert httpx2.get(f"{server.url}/models").status_code == 200


def test_a_thread_that_is_deleted_ends_the_streams_of_its_run(
    client: OpenAI, endpoint: Endpoint, server: Server
) -> None:
    talk, before = thread(client, "wait 20"), len(endpoint.requests)
    stream = client.beta.threads.runs.create(thread_id=talk, assistant_id=assistant(client), stream=True)
    events = iter(stream)
    next(events)
    wait_until(lambda: len(endpoint.requests) > before)
    client.beta.threads.delete(talk)
    rest = [event.event for event in events]  # it ends, and not only after 20 s
    assert "thread.run.completed" not in rest
    assert httpx2.get(f"{server.url}/threads/{talk}").status_code == 404
