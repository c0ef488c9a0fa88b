"""Runs whose time is up, by a clock that the test moves, and what a killed server or a full disk left of others."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentrunner.config import load
from agentrunner.errors import JournalFull
from agentrunner.journal import SessionLock
from agentrunner.server.faults import ApiError
from agentrunner.server.feed import server_sent
from agentrunner.server.ids import new_id
from agentrunner.server.runs import accept_outputs, add_run, ask_to_cancel
from agentrunner.server.serve import opened
from agentrunner.server.services import Services
from agentrunner.server.stores import make_store
from agentrunner.server.threads import create_thread
from agentrunner.server.wire.assistants import new_assistant
from agentrunner.server.wire.runs import create_run
from agentrunner.server.wire.threads import CREATE_THREAD
from tests.runs.conftest import PRICES, events_of, obey
from tests.support.endpoint import Endpoint

JSON = dict[str, Any]
OWNER = "default"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def at_work(folder: Path, endpoint: Endpoint, clock: Clock) -> AsyncGenerator[Services]:
    given = {"base_url": endpoint.base_url}
    settings = load(given, cwd=folder, environ={"AGENT_HOME": str(folder / "home"), "HOME": str(folder)}).settings
    with opened(settings) as services:
        services.clock = clock
        working = asyncio.create_task(services.worker.run())
        try:
            yield services
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await services.pool.aclose()


async def new_run(
    services: Services, text: str, tools: Any = PRICES, resources: JSON | None = None, *, stream: bool = False
) -> JSON:
    now = services.now
    body = CREATE_THREAD({"messages": [{"role": "user", "content": text}]}, "")

    def work(t: Any) -> JSON:
        made = new_assistant(new_id("assistant"), now, {"model": "any", "tools": tools}, resources or {})
        t.add("assistant", made)
        thread = create_thread(t, body, now)
        return add_run(t, thread["id"], create_run({"assistant_id": made["id"], "stream": stream}, ""), now)[0]

    return await services.store.write(OWNER, work)


async def until(services: Services, run: JSON, wanted: Callable[[JSON], bool]) -> JSON:
    async with asyncio.timeout(15):
        while True:
            await services.worker.write_out(OWNER, run["thread_id"])  # as every request does
            found = await services.store.read(OWNER, lambda t: t.need("run", run["id"], run["thread_id"]))
            if wanted(found):
                return found
            await asyncio.sleep(0.02)


async def steps_of(services: Services, run: JSON) -> list[str]:
    await services.worker.write_out(OWNER, run["thread_id"])
    steps = await services.store.read(OWNER, lambda t: t.all("step", parent=run["id"]))
    return [step["status"] for step in steps]


def has(status: str) -> Callable[[JSON], bool]:
    return lambda run: run["status"] == status


def test_a_run_whose_client_never_answers_expires_after_ten_minutes(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            run = await new_run(services, "call price")
            services.worker.begin(OWNER, run)
            await until(services, run, has("requires_action"))
            clock.now += 599
            await asyncio.sleep(0.6)
            assert (await until(services, run, lambda _: True))["status"] == "requires_action"
            clock.now += 1
            ended = await until(services, run, has("expired"))
            assert (ended["expires_at"], ended["required_action"]) == (None, None)
            assert await steps_of(services, run) == ["expired"]
            thread = await services.store.read(OWNER, lambda t: t.need("thread", run["thread_id"]))
            assert (await new_run(services, "hi"))["status"] == "queued"
            assert thread["id"] == run["thread_id"]

    asyncio.run(check())


def test_a_run_whose_model_takes_too_long_expires_too(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            before = len(endpoint.requests)
            run = await new_run(services, "wait 30")
            services.worker.begin(OWNER, run)
            async with asyncio.timeout(10):
                while len(endpoint.requests) == before:
                    await asyncio.sleep(0.02)
            clock.now += 600
            assert (await until(services, run, has("expired")))["usage"] is not None

    asyncio.run(check())


def test_a_run_that_still_waits_for_another_of_its_thread_expires_too(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            first = await new_run(services, "call price")
            services.worker.begin(OWNER, first)
            await until(services, first, has("requires_action"))
            clock.now += 300
            body = create_run({"assistant_id": first["assistant_id"], "on_active_run": "queue"}, "")
            second, _ = await services.store.write(OWNER, lambda t: add_run(t, first["thread_id"], body, services.now))
            services.worker.begin(OWNER, second)
            clock.now += 300
            await until(services, first, has("expired"))
            # Its own ten minutes are not over: now it is its turn.
            await until(services, second, has("requires_action"))
            third, _ = await services.store.write(
                OWNER, lambda t: add_run(t, first["thread_id"], body, services.now - 600)
            )
            services.worker.begin(OWNER, third)
            ended = await until(services, third, has("expired"))
            assert (ended["started_at"], ended["usage"]["total_tokens"]) == (None, 0)

    asyncio.run(check())


def test_a_stream_says_that_its_run_expired_and_what_with_it(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            run = await new_run(
                services, "stall these words come before the time is up, the others do not", stream=True
            )
            live, begun = services.worker.begin(OWNER, run), clock.now
            came = ""
            async with asyncio.timeout(15):
                async for piece in server_sent(live.feed, live.feed.follow()):
                    came += piece.decode()
                    if "thread.message.created" in came and clock.now < begun + 600:
                        clock.now += 600
            told = events_of(came)[:-1]
            assert [name for name, _ in told[-3:]] == [
                "thread.message.incomplete",
                "thread.run.step.expired",
                "thread.run.expired",
            ]
            message, step, ended = (data for _, data in told[-3:])
            assert message["incomplete_details"] == {"reason": "run_expired"}
            assert (step["status"], step["expired_at"] is not None) == ("expired", True)
            assert (ended["status"], ended["expires_at"]) == ("expired", None)

    asyncio.run(check())


def test_a_run_that_is_over_cannot_be_cancelled_for_having_expired(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            run = await new_run(services, "call price")
            services.worker.begin(OWNER, run)
            waiting = await until(services, run, has("requires_action"))
            assert waiting["expires_at"] == waiting["created_at"] + 600
            clock.now += 600
            await until(services, run, has("expired"))
            [call] = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
            given = {"tool_outputs": [{"tool_call_id": call["id"], "output": "too late"}]}
            for late, said in (
                (lambda t: ask_to_cancel(t, run["thread_id"], run["id"]), "Cannot cancel run with status 'expired'."),
                (lambda t: accept_outputs(t, run["thread_id"], run["id"], given), "do not accept tool outputs"),
            ):
                with pytest.raises(ApiError, match=said):
                    await services.store.write(OWNER, late)

    asyncio.run(check())


def test_a_run_on_a_vector_store_that_has_expired_fails(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            after = {"expires_after": {"anchor": "last_active_at", "days": 1}}
            store = await services.store.write(OWNER, lambda t: make_store(t, after, services.now))
            clock.now += 86_401
            resources = {"file_search": {"vector_store_ids": [store["id"]]}}
            run = await new_run(services, "hi", [{"type": "file_search"}], resources)
            services.worker.begin(OWNER, run)
            ended = await until(services, run, has("failed"))
            assert f"Vector store {store['id']} has expired" in ended["last_error"]["message"]

    asyncio.run(check())


def test_a_server_that_is_stopped_ends_no_run(tmp_path: Path) -> None:
    async def check(endpoint: Endpoint) -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            run = await new_run(services, "wait 2.5")
            services.worker.begin(OWNER, run)
            await until(services, run, has("in_progress"))
        async with at_work(tmp_path, endpoint, clock) as services:
            await until(services, run, has("completed"))

    with Endpoint(obey) as own:
        asyncio.run(check(own))


def test_outputs_that_were_accepted_before_a_crash_are_used_after_it(tmp_path: Path, endpoint: Endpoint) -> None:
    async def check() -> None:
        clock = Clock()
        async with at_work(tmp_path, endpoint, clock) as services:
            run = await new_run(services, "call price")
            services.worker.begin(OWNER, run)
            waiting = await until(services, run, has("requires_action"))
            [call] = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
            given = {"tool_outputs": [{"tool_call_id": call["id"], "output": "7"}]}
            await services.store.write(OWNER, lambda t: accept_outputs(t, run["thread_id"], run["id"], given))
        async with at_work(tmp_path, endpoint, clock) as services:
            await until(services, run, has("completed"))
            assert await steps_of(services, run) == ["completed", "completed"]

    asyncio.run(check())


def test_a_run_that_another_process_works_on_is_left_to_it_until_that_is_gone(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    async def check() -> None:
        before = len(endpoint.requests)
        async with at_work(tmp_path, endpoint, Clock()) as services:
            run = await new_run(services, "hi")
            with SessionLock(services.home, run["id"]):
                live = services.worker.begin(OWNER, run)
                assert live.task is not None
                await live.task
                assert (await until(services, run, lambda _: True))["status"] == "queued"
                assert len(endpoint.requests) == before
            # That process is gone: whoever looks next takes the run up.
            await until(services, run, has("completed"))

    asyncio.run(check())


def test_a_run_that_a_full_disk_cut_off_goes_on_when_there_is_room(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise JournalFull("the disk is full")

    async def check() -> None:
        unheard: list[JSON] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        async with at_work(tmp_path, endpoint, Clock()) as services:
            run = await new_run(services, "say still here")
            with monkeypatch.context() as cut:
                cut.setattr(services.store, "write", full)
                cut.setattr(services.sessions, "append", full)
                services.worker.begin(OWNER, run)
                while services.worker.live(run["id"]):
                    await asyncio.sleep(0.02)
            await until(services, run, has("completed"))
        gc.collect()
        assert not unheard

    asyncio.run(check())
    assert "cannot be kept: the disk is full" in capsys.readouterr().err
