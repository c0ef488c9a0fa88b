"""A server as a process of its own, and the official client in both its forms."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

from agentrunner.journal import open_journal
from agentrunner.server.keys import create_key
from agentrunner.server.storage.schema import prepare
from tests.support.program import Agent


class Running:
    """A server that listens on `url`, with its home."""

    def __init__(self, agent: Agent, process: subprocess.Popen[bytes], url: str, database_url: str | None) -> None:
        self.agent, self.process, self.url, self.database_url = agent, process, url, database_url

    @property
    def home(self) -> Path:
        return self.agent.home

    def new_key(self, name: str) -> str:
        with contextlib.closing(open_journal(self.home, self.database_url)) as journal:
            prepare(journal.database)
            return journal.database.write(lambda execute: create_key(execute, name, 1))[1]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=20)
        return self.process.returncode


def start(agent: Agent, *arguments: str, env: Mapping[str, str] | None = None) -> Running:
    """Start `agent serve` and wait until it says where it listens."""
    process = agent.start("serve", "--dry-run", "--port", "0", *arguments, env=env)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(rb"http://[\w.:\[\]-]+:\d+", line):
            return Running(agent, process, found[0].decode(), (env or {}).get("AGENT_DATABASE_URL"))
    assert process.stderr is not None
    raise AssertionError(process.stderr.read().decode())


@contextlib.contextmanager
def serving(agent: Agent, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    running = start(agent, *arguments, env=env)
    try:
        yield running
    finally:
        running.stop()


class Plain:
    """Either client, used as if it were the synchronous one: what the asynchronous one promises is waited for."""

    def __init__(self, of: Any, runner: asyncio.Runner) -> None:
        self._of, self._runner = of, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if type(found).__module__.startswith("openai.resources"):
            return Plain(found, self._runner)
        return self._waiting(found) if callable(found) else found

    def _waiting(self, method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            return self._runner.run(_settled(result)) if inspect.isawaitable(result) else result

        return call

    def everything(self, page: Any) -> list[Any]:
        """All objects of a listing, page after page."""
        return (
            list(page) if hasattr(page, "__iter__") and not hasattr(page, "__aiter__") else self._runner.run(_all(page))
        )


async def _settled(result: Any) -> Any:
    return await result


async def _all(page: Any) -> list[Any]:
    return [each async for each in page]


@contextlib.contextmanager
def connected(kind: str, url: str, key: str, **options: Any) -> Iterator[Any]:
    """A client of this kind ("sync" or "async") that checks every answer against its own models."""
    make: Any = OpenAI if kind == "sync" else AsyncOpenAI
    options = {"max_retries": 0, "timeout": 30.0, "_strict_response_validation": True} | options
    client = make(base_url=f"{url}/v1", api_key=key, **options)
    with asyncio.Runner() as runner:
        plain = Plain(client, runner)
        try:
            yield plain
        finally:
            plain.close()
