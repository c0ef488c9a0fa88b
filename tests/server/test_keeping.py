"""What is kept, on both databases: across restarts, until it expires, whatever happens at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentrunner.errors import JournalError
from agentrunner.journal import open_journal
from agentrunner.server.expiry import sweep
from agentrunner.server.keys import create_key
from agentrunner.server.storage.blobs import Incoming
from agentrunner.server.storage.schema import prepare
from agentrunner.server.storage.store import Store
from agentrunner.server.storage.tables import Tenant
from agentrunner.server.threads import active_run
from tests.server.parts import Clock, server, settled, upload

HOUR_S, DAY_S = 3_600, 86_400


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").new_schema()


def test_everything_is_there_after_a_restart(home: Path, url: str | None) -> None:
    async def first() -> dict[str, Any]:
        async with server(home, Clock(), url) as (client, _):
            file = await upload(client, "a.txt", b"whales sing")
            store = (await client.post("/vector_stores", json={"file_ids": [file]})).json()["id"]
            await settled(client, store)
            thread = (await client.post("/threads", json={"messages": [{"role": "user", "content": "\x00x"}]})).json()
            assistant = (await client.post("/assistants", json={"model": "m"})).json()
            return {
                f"/threads/{thread['id']}": thread,
                f"/threads/{thread['id']}/messages": (await client.get(f"/threads/{thread['id']}/messages")).json(),
                f"/assistants/{assistant['id']}": assistant,
                f"/files/{file}": (await client.get(f"/files/{file}")).json(),
                f"/vector_stores/{store}": (await client.get(f"/vector_stores/{store}")).json(),
            }

    async def second(kept: dict[str, Any]) -> None:
        async with server(home, Clock(), url) as (client, _):
            for path, expected in kept.items():
                assert (await client.get(path)).json() == expected
            store = next(path for path in kept if path.startswith("/vector_stores"))
            found = (await client.post(f"{store}/search", json={"query": "whales"})).json()["data"]
            assert found[0]["content"][0]["text"] == "whales sing"

    asyncio.run(second(asyncio.run(first())))


def test_indexing_goes_on_after_a_restart(home: Path, url: str | None) -> None:
    async def first() -> str:
        async with server(home, Clock(), url, indexing=False) as (client, _):
            ids = [await upload(client, f"{n}.txt", f"whale {n}".encode()) for n in range(3)]
            store = (await client.post("/vector_stores", json={"file_ids": ids})).json()
            assert (store["status"], store["file_counts"]["in_progress"]) == ("in_progress", 3)
            return store["id"]

    async def second(store: str) -> None:
        async with server(home, Clock(), url) as (client, _):
            assert (await settled(client, store))["completed"] == 3

    asyncio.run(second(asyncio.run(first())))


def test_an_index_that_was_lost_is_made_again(home: Path) -> None:
    async def first() -> str:
        async with server(home, Clock()) as (client, _):
            file = await upload(client, "a.txt", b"whales sing")
            store = (await client.post("/vector_stores", json={"file_ids": [file]})).json()["id"]
            await settled(client, store)
            return store

    async def second(store: str) -> None:
        async with server(home, Clock()) as (client, _):
            for _ in range(100):
                found = (await client.post(f"/vector_stores/{store}/search", json={"query": "whales"})).json()["data"]
                if found:
                    break
                await asyncio.sleep(0.05)
            assert found
            assert (await client.get(f"/vector_stores/{store}")).json()["usage_bytes"] == len("whales sing")

    store = asyncio.run(first())
    for left in home.glob("stores.db*"):
        left.unlink()
    asyncio.run(second(store))


def test_a_store_expires_when_nobody_used_it(home: Path, url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        async with server(home, clock, url) as (client, services):
            file = await upload(client, "a.txt", b"whales sing")
            after = {"anchor": "last_active_at", "days": 2}
            body = {"file_ids": [file], "expires_after": after}
            path = f"/vector_stores/{(await client.post('/vector_stores', json=body)).json()['id']}"
            await settled(client, path.rpartition("/")[2])
            clock.now += 2 * DAY_S - 1
            await sweep(services)
            assert (await client.post(f"{path}/search", json={"query": "whales"})).json()["data"]  # this is a use
            clock.now += 2 * DAY_S - 1
            assert (await client.get(path)).json()["status"] == "completed"
            clock.now += 1
            for _ in range(2):
                shown = (await client.get(path)).json()
                assert (shown["status"], shown["expires_at"]) == ("expired", int(clock.now))
                for route, json in (("search", {"query": "whales"}), ("files", {"file_id": file}), ("", {"name": "x"})):
                    answer = await client.post(f"{path}/{route}".rstrip("/"), json=json)
                    assert answer.status_code == 400
                    assert "expired" in answer.json()["error"]["message"]
                await sweep(services)
            assert services.indexer.index.stores() == []

    asyncio.run(work())


def test_a_store_that_was_made_for_attachments_is_kept_for_seven_days(home: Path, url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        async with server(home, clock, url) as (client, _):
            file = await upload(client, "a.txt", b"whales sing")
            attachment = {"file_id": file, "tools": [{"type": "file_search"}]}
            message = {"role": "user", "content": "x", "attachments": [attachment]}
            thread = (await client.post("/threads", json={"messages": [message]})).json()
            (store,) = thread["tool_resources"]["file_search"]["vector_store_ids"]
            await settled(client, store)
            clock.now += 7 * DAY_S - 1
            assert (await client.get(f"/vector_stores/{store}")).json()["status"] == "completed"
            clock.now += 1
            assert (await client.get(f"/vector_stores/{store}")).json()["status"] == "expired"

    asyncio.run(work())


def test_a_file_expires_with_its_content_and_its_passages(home: Path, url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        async with server(home, clock, url) as (client, services):
            fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
            file = await upload(client, "a.txt", b"whales sing", **fields)
            other = await upload(client, "b.txt", b"whales sing")
            store = (await client.post("/vector_stores", json={"file_ids": [file, other]})).json()["id"]
            await settled(client, store)
            clock.now += HOUR_S - 1
            assert (await client.get(f"/files/{file}")).json()["expires_at"] == int(clock.now) + 1
            clock.now += 1
            assert (await client.get(f"/files/{file}/content")).status_code == 404
            await sweep(services)
            found = (await client.post(f"/vector_stores/{store}/search", json={"query": "whales"})).json()["data"]
            assert [each["file_id"] for each in found] == [other]
            assert (await client.get(f"/files/{other}/content")).content == b"whales sing"
            await client.delete(f"/files/{other}")
            assert list((home / "files").glob("*/*")) == []

    asyncio.run(work())


def test_an_upload_expires_with_its_parts(home: Path, url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        async with server(home, clock, url) as (client, services):
            body = {"filename": "a", "bytes": 3, "purpose": "assistants", "mime_type": "a/b"}
            upload = (await client.post("/uploads", json=body)).json()["id"]
            parts: list[str] = []
            for content in (b"ab", b"c"):
                parts.append((await client.post(f"/uploads/{upload}/parts", files={"data": content})).json()["id"])
                clock.now += HOUR_S - 1 if len(parts) == 1 else 1
            for _ in range(2):
                answer = await client.post(f"/uploads/{upload}/complete", json={"part_ids": parts})
                assert "is expired" in answer.json()["error"]["message"]
                await sweep(services)
            assert list((home / "files").glob("*/*")) == []

    asyncio.run(work())


def test_a_thread_takes_no_messages_while_a_run_is_active(home: Path, url: str | None) -> None:
    async def work() -> None:
        async with server(home, Clock(), url) as (client, services):
            thread = (await client.post("/threads", json={})).json()["id"]
            run = {"id": "run_" + "a" * 24, "created_at": 1, "status": "queued"}
            await services.store.write("default", lambda t: t.add("run", run, parent=thread))
            message = {"role": "user", "content": "x"}
            for status, code in (
                ("queued", 400), ("in_progress", 400), ("requires_action", 400), ("cancelling", 400),
                ("completed", 200), ("failed", 200), ("expired", 200), ("incomplete", 200), ("cancelled", 200),
            ):  # fmt: skip
                run["status"] = status
                await services.store.write("default", lambda t: t.save("run", run, parent=thread))
                answer = await client.post(f"/threads/{thread}/messages", json=message)
                assert answer.status_code == code
                if code == 400:
                    said = answer.json()["error"]["message"]
                    assert said == f"Can't add messages to {thread} while a run {run['id']} is active."
                found = await services.store.read("default", lambda t: active_run(t, thread))
                assert found == (run["id"] if code == 400 else None)
            await client.delete(f"/threads/{thread}")
            assert await services.store.read("default", lambda t: t.get("run", run["id"], thread)) is None

    asyncio.run(work())


def test_a_thread_keeps_its_order_when_the_clock_is_set_back(home: Path, url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        clock.now = 4_000_000_000.0  # long after the time at which the run will do its work
        async with server(home, clock, url) as (client, services):
            assistant = (await client.post("/assistants", json={"model": "m"})).json()["id"]
            thread = (await client.post("/threads", json={"messages": [{"role": "user", "content": "1"}]})).json()["id"]
            for text in ("2", "3"):
                clock.now -= 10
                await client.post(f"/threads/{thread}/messages", json={"role": "user", "content": text})
                run = (await client.post(f"/threads/{thread}/runs", json={"assistant_id": assistant})).json()["id"]
                live = services.worker.live(run)
                if live is not None and live.task is not None:
                    await live.task
            listed = (await client.get(f"/threads/{thread}/messages?order=asc")).json()["data"]
            said = [each["content"][0]["text"]["value"] if each["role"] == "user" else "answer" for each in listed]
            assert said == ["1", "2", "answer", "3", "answer"]
            runs = (await client.get(f"/threads/{thread}/runs?order=asc")).json()["data"]
            assert [run["id"] for run in runs] == [each["run_id"] for each in listed if each["run_id"]]

    asyncio.run(work())


def test_changes_at_the_same_time_are_all_kept(home: Path, url: str | None) -> None:
    """Two connections, as of two servers: what each reads to change it, the other does not change meanwhile."""

    async def work() -> None:
        journals = [open_journal(home, url) for _ in range(2)]
        stores = [Store(journal.database) for journal in journals]
        await stores[0].write("me", lambda t: t.add("thread", {"id": "thread_x", "created_at": 1, "n": 0}))

        def one_more(t: Tenant) -> None:
            thread = t.lock("thread", "thread_x")
            t.save("thread", thread | {"n": thread["n"] + 1})

        await asyncio.gather(*(stores[n % 2].write("me", one_more) for n in range(60)))
        assert (await stores[0].read("me", lambda t: t.need("thread", "thread_x")))["n"] == 60
        assert await stores[0].read("you", lambda t: t.get("thread", "thread_x")) is None
        for store, journal in zip(stores, journals, strict=True):
            store.close()
            journal.close()

    asyncio.run(work())


def test_what_raises_leaves_nothing_behind(home: Path, url: str | None) -> None:
    async def work() -> None:
        async with server(home, Clock(), url, indexing=False) as (client, _):
            good = await upload(client, "a.txt", b"x")
            body = {"messages": [{"role": "user", "content": "x", "attachments": [
                {"file_id": good, "tools": [{"type": "file_search"}]},
                {"file_id": "file-unknown", "tools": [{"type": "file_search"}]},
            ]}]}  # fmt: skip
            assert (await client.post("/threads", json=body)).status_code == 404
            for path in ("/threads", "/vector_stores"):
                assert (await client.get(path)).json()["data"] == []

    asyncio.run(work())


def test_tables_of_a_newer_program_are_left_alone(home: Path, url: str | None) -> None:
    journal = open_journal(home, url)
    prepare(journal.database)
    journal.database.write(lambda execute: execute("INSERT INTO server_format VALUES (99)"))
    with pytest.raises(JournalError, match="format 99"):
        prepare(journal.database)
    journal.close()


def test_a_store_has_as_many_files_as_documented_and_not_one_more(home: Path) -> None:
    async def work() -> None:
        async with server(home, Clock(), indexing=False) as (client, services):
            store = (await client.post("/vector_stores", json={})).json()["id"]
            entry = {"created_at": 1, "status": "completed", "usage_bytes": 0}

            def fill(t: Tenant) -> None:
                for n in range(9_999):
                    t.add("store_file", {"id": f"file-{n}", **entry}, parent=store)

            await services.store.write("default", fill)
            ids = [await upload(client, f"{n}.txt", b"x") for n in range(2)]
            path = f"/vector_stores/{store}"
            assert (await client.post(f"{path}/file_batches", json={"file_ids": ids})).status_code == 400
            assert (await client.post(f"{path}/files", json={"file_id": ids[0]})).status_code == 200
            assert (await client.post(f"{path}/files", json={"file_id": ids[0]})).status_code == 200  # it is there
            assert (await client.post(f"{path}/files", json={"file_id": ids[1]})).status_code == 400
            assert (await client.get(path)).json()["file_counts"]["total"] == 10_000

    asyncio.run(work())


def test_a_full_disk_is_said_and_nothing_is_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Incoming, piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def work() -> None:
        async with server(home, Clock(), indexing=False) as (client, _):
            monkeypatch.setattr(Incoming, "write", full)
            sent = {"files": {"file": ("a", b"x")}, "data": {"purpose": "assistants"}}
            answer = await client.post("/files", **sent)
            assert answer.status_code == 500
            assert "No space left" in answer.json()["error"]["message"]
            assert (await client.get("/files")).json()["data"] == []
            assert list((home / "files").iterdir()) == []

    asyncio.run(work())


def test_only_who_needs_no_key_is_told_of_places_on_this_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Incoming, piece: bytes) -> None:
        raise OSError(28, "No space left on device", str(home))

    async def work() -> None:
        async with server(home, Clock(), indexing=False) as (client, services):
            monkeypatch.setattr(Incoming, "write", full)
            sent: Any = {"files": {"file": ("a", b"x")}, "data": {"purpose": "assistants"}}
            assert str(home) in (await client.post("/files", **sent)).text
            _, key = await services.store.write_all(lambda execute: create_key(execute, "office", 1))
            answer = await client.post("/files", headers={"authorization": f"Bearer {key}"}, **sent)
            assert answer.status_code == 500
            assert answer.json()["error"]["type"] == "server_error"
            assert str(home) not in answer.text

    asyncio.run(work())


def test_what_the_original_refused_is_read_unless_the_server_is_to_be_as_strict(home: Path) -> None:
    async def reads(*, strict: bool) -> dict[str, int]:
        async with server(home / str(strict), Clock(), strict_file_types=strict) as (client, _):
            ids = [await upload(client, name, b"fn sing() {}") for name in ("a.rs", "a.txt")]
            store = (await client.post("/vector_stores", json={"file_ids": ids})).json()["id"]
            counts = await settled(client, store)
            failed = (await client.get(f"/vector_stores/{store}/files?filter=failed")).json()["data"]
            assert [each["last_error"]["code"] for each in failed] == ["unsupported_file"] * strict
            return counts

    assert asyncio.run(reads(strict=False))["completed"] == 2
    assert asyncio.run(reads(strict=True))["failed"] == 1


def test_pages_and_references_are_the_same_on_both_databases(home: Path, url: str | None) -> None:
    async def work() -> None:
        clock = Clock()
        async with server(home, clock, url, indexing=False) as (client, _):
            store = (await client.post("/vector_stores", json={})).json()["id"]
            resources = {"file_search": {"vector_store_ids": [store]}}
            made: list[str] = []
            for n in range(6):
                clock.now += n % 2  # pairs of the same second
                made.append((await client.post("/threads", json={"tool_resources": resources})).json()["id"])
            for order, expected in (("asc", made), ("desc", made[::-1])):
                for query, part in (
                    (f"after={expected[1]}&limit=2", expected[2:4]),
                    (f"before={expected[4]}&limit=2", expected[2:4]),
                    (f"after={expected[0]}&before={expected[5]}", expected[1:5]),
                ):
                    answer = (await client.get(f"/threads?order={order}&{query}")).json()
                    assert [each["id"] for each in answer["data"]] == part
            await client.delete(f"/threads/{made[3]}")
            answer = (await client.get(f"/threads?order=asc&after={made[3]}")).json()
            assert [each["id"] for each in answer["data"]] == made[4:]
            await client.delete(f"/vector_stores/{store}")
            for thread in (await client.get("/threads")).json()["data"]:
                assert thread["tool_resources"] == {"file_search": {"vector_store_ids": []}}

    asyncio.run(work())


def test_a_file_that_has_expired_cannot_be_used_any_more(home: Path) -> None:
    async def work() -> None:
        clock = Clock()
        async with server(home, clock, indexing=False) as (client, _):
            fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
            file = await upload(client, "a.txt", b"x", **fields)
            store = (await client.post("/vector_stores", json={})).json()["id"]
            clock.now += HOUR_S
            attachment = {"file_id": file, "tools": [{"type": "code_interpreter"}]}
            image = {"type": "image_file", "image_file": {"file_id": file}}
            for path, body in (
                (f"/vector_stores/{store}/files", {"file_id": file}),
                ("/threads", {"messages": [{"role": "user", "content": "x", "attachments": [attachment]}]}),
                ("/threads", {"messages": [{"role": "user", "content": [image]}]}),
                ("/threads", {"tool_resources": {"code_interpreter": {"file_ids": [file]}}}),
            ):
                answer = await client.post(path, json=body)
                assert answer.status_code == 404
                assert answer.json()["error"]["message"] == f"No such File object: {file}"

    asyncio.run(work())
