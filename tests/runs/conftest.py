"""A server whose model does what the last message of the user says, and the official client."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from agentrunner.errors import SandboxError
from agentrunner.sandbox import open_sandbox
from tests.support.endpoint import Answer, Endpoint
from tests.support.program import Agent

JSON = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The client warns that what it calls is gone; here it is not."""
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))


_held: dict[str, threading.Event] = {}


def let_go(name: str) -> None:
    _held.setdefault(name, threading.Event()).set()


def obey(request: JSON) -> Answer:
    """`call a b`: calls these, then says what they returned; `chat a b`: says something with each of these calls;
    `run CODE` and `search WORDS` call the server's tools, then link to out.csv or cite what was found first; `link
    NAME|CODE`: runs it, then links to NAME; `wait 2`: answers after so many seconds; `hold NAME`: answers once the
    test has `let_go` of the name; `refuse`: fails; `long`: is cut off; `filter ...`: is cut by a filter; `stall ...`:
    begins to say it; `say ...`: says it; anything else: says how many messages it was given."""
    messages = request["messages"]
    asked = max(index for index, message in enumerate(messages) if message["role"] == "user")
    results = [str(message["content"]) for message in messages[asked:] if message["role"] == "tool"]
    word, _, rest = str(messages[asked]["content"]).partition(" ")
    if results and word == "run":
        return Answer("Here: [the table](sandbox:/mnt/data/out.csv).")
    if results and word == "link":
        return Answer(f"Here: [it](sandbox:/mnt/data/{rest.partition('|')[0]}).")
    if word == "chat" and len(results) < len(rest.split()):
        return Answer(f"Look {len(results)}.", calls=((rest.split()[len(results)], {"of": "pens"}),))
    if results and (marks := re.findall("【.*?】", results[0])):
        return Answer(f"It is blue{marks[0]}, says the file. Not so: 【99:9†source】.")
    if results:
        return Answer("the results: " + ", ".join(results))
    match word:
        case "call":
            return Answer(calls=tuple((name, {"of": "pens"}) for name in rest.split()))
        case "run":
            return Answer(calls=(("python", {"code": rest}),))
        case "link":
            return Answer(calls=(("python", {"code": rest.partition("|")[2]}),))
        case "search":
            return Answer(calls=(("file_search", {"query": rest}),))
        case "wait":
            return Answer("waited", delay_s=float(rest))
        case "hold":
            return Answer("held", after=_held.setdefault(rest, threading.Event()))
        case "refuse":
            return Answer(status=400, body=b'{"error":{"message":"I refuse"}}')
        case "long":
            return Answer("cut", finish="length")
        case "filter":
            return Answer(rest, finish="content_filter")
        case "stall":
            return Answer(rest, fault="stall")
        case "say":
            return Answer(rest)
        case _:
            return Answer(f"{len(messages)} messages")


@dataclass
class Server:
    """`agent serve` before an endpoint. It can be killed and started again."""

    agent: Agent
    endpoint: Endpoint
    arguments: tuple[str, ...] = ()
    url: str = ""
    process: subprocess.Popen[bytes] | None = None
    clients: list[OpenAI] = field(default_factory=list[OpenAI])
    env: dict[str, str] = field(default_factory=dict[str, str])

    def start(self) -> None:
        arguments = ("serve", "--base-url", self.endpoint.base_url, "--port", "0", *self.arguments)
        self.process = self.agent.start(*arguments, env=self.env)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(rb"http://[\w.:\[\]-]+:\d+", line):
                self.url = found[0].decode() + "/v1"
                return
        assert self.process.stderr is not None
        raise AssertionError(self.process.stderr.read().decode())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate(timeout=20)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.communicate(timeout=20)

    def client(self) -> OpenAI:
        client = OpenAI(base_url=self.url, api_key="x", max_retries=0, timeout=30, _strict_response_validation=True)
        self.clients.append(client)
        return client


@contextlib.contextmanager
def server_in(folder: Path, endpoint: Endpoint, *arguments: str, **env: str) -> Iterator[Server]:
    server = Server(Agent(folder), endpoint, arguments, env=env)
    server.start()
    try:
        yield server
    finally:
        for client in server.clients:
            client.close()
        server.stop()


@pytest.fixture(scope="package")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(obey) as opened:
        yield opened


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Iterator[Server]:
    with server_in(tmp_path_factory.mktemp("serve"), endpoint) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    opened = server.client()
    yield opened
    opened.close()


def key(server: Server, max_cost: str) -> OpenAI:
    """A client with a key that has this limit."""
    secret = server.agent("keys", "create", "office", "--max-cost", max_cost).out.strip()
    return client_of(server, secret)


def client_of(server: Server, secret: str, **more: Any) -> OpenAI:
    opened = OpenAI(base_url=server.url, api_key=secret, **({"max_retries": 0, "timeout": 30} | more))
    server.clients.append(opened)
    return opened


def function(name: str) -> JSON:
    parameters = {"type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


PRICES = [function("price"), function("weight")]


def assistant(client: OpenAI, *tools: JSON, **more: Any) -> str:
    return client.beta.assistants.create(model="any", tools=list(tools), **more).id  # pyright: ignore


@pytest.fixture(scope="session")
def full_sandbox(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where code cannot be run as the code interpreter needs it."""
    try:
        open_sandbox(tmp_path_factory.mktemp("sandbox"), level="full").close()
    except SandboxError as error:
        pytest.skip(f"no code interpreter here: {error}")


def thread(client: OpenAI, *messages: str) -> str:
    return client.beta.threads.create(messages=[{"role": "user", "content": text} for text in messages]).id  # pyright: ignore


def texts(client: OpenAI, thread_id: str) -> list[str]:
    """What was said in the thread, oldest first."""
    listed = client.beta.threads.messages.list(thread_id, order="asc")  # pyright: ignore[reportDeprecated]
    return [part.text.value for message in listed for part in message.content if part.type == "text"]


def wait_until(done: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def events_of(body: str) -> list[tuple[str, Any]]:
    """Names and data of what was streamed; the end has no data."""
    blocks = [block.splitlines() for block in body.split("\n\n") if block.startswith("event: ")]
    found = [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in blocks]
    return [(name, None if data == "[DONE]" else json.loads(data)) for name, data in found]
