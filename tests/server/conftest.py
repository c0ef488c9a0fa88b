"""One server for all tests that only need one; each test has a key, and so a tenant, of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.limits import MADE
from tests.server.running import Running, connected, serving
from tests.support.program import Agent

_NAMES = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The client warns that what it calls is gone; here it is not."""
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    agent = Agent(tmp_path_factory.mktemp("server"))
    with serving(agent) as running:
        running.new_key("first")
        yield running


@pytest.fixture
def key(shared: Running) -> str:
    return shared.new_key(f"test {next(_NAMES)}")


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, shared: Running, key: str) -> Iterator[Any]:
    with connected(request.param, shared.url, key) as opened:
        yield opened


@pytest.fixture
def one(shared: Running, key: str) -> Iterator[Any]:
    """A client, for tests that are about the server alone."""
    with connected("sync", shared.url, key) as opened:
        yield opened


@pytest.fixture
def http(shared: Running, key: str) -> Iterator[httpx2.Client]:
    """Requests that no client would send."""
    with httpx2.Client(base_url=f"{shared.url}/v1", headers={"authorization": f"Bearer {key}"}, timeout=30) as opened:
        yield opened


@pytest.fixture
def fill(http: httpx2.Client) -> Callable[[Any], Any]:
    """Puts the ids of objects in the place of their kinds."""
    made: dict[str, str] = {}

    def make(kind: str) -> str:
        if kind == "file":
            return http.post("/files", files={"file": ("a.txt", b"x")}, data={"purpose": "assistants"}).json()["id"]
        path, body = MADE[kind]
        return http.post(filled(path), json=filled(body)).json()["id"]

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        for kind in (*MADE, "file"):
            if isinstance(value, str) and f"{{{kind}}}" in value:
                made[kind] = made.get(kind) or make(kind)
                value = value.replace(f"{{{kind}}}", made[kind])
        return value

    return filled
