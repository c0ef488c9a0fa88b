"""Vector stores, through the official client: files in and out, batches, search."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import openai
import pytest

ANIMALS = {
    "penguins.txt": b"Penguins are birds that swim. They live in the south and eat krill.",
    "foxes.md": b"# Foxes\n\nThe fox is a small hunter with a red tail. It eats mice.",
    "bears.html": b"<html><body><p>Bears sleep through the winter in a den.</p></body></html>",
}


@pytest.fixture
def files(client: Any) -> list[str]:
    return [client.files.create(file=each, purpose="assistants").id for each in ANIMALS.items()]


def ready(client: Any, **options: Any) -> Any:
    """A store whose files have all been read."""
    return settled(client, client.vector_stores.create(**options).id)


def settled(client: Any, store_id: str) -> Any:
    deadline = time.monotonic() + 30
    while (store := client.vector_stores.retrieve(store_id)).file_counts.in_progress:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return store


def test_a_store_lives_from_its_creation_to_its_end(client: Any, files: list[str]) -> None:
    made = client.vector_stores.create(
        name="animals", file_ids=files, metadata={"a": "b"}, expires_after={"anchor": "last_active_at", "days": 3}
    )
    assert made.id.startswith("vs_")
    assert made.file_counts.total == 3
    assert made.expires_at == made.last_active_at + 3 * 86_400
    store = settled(client, made.id)
    assert (store.status, store.file_counts.completed, store.file_counts.failed) == ("completed", 3, 0)
    assert store.usage_bytes > 150

    changed = client.vector_stores.update(made.id, name="beasts", expires_after=None, metadata={})
    assert (changed.name, changed.expires_at, changed.metadata) == ("beasts", None, {})
    assert [each.id for each in client.everything(client.vector_stores.list())] == [made.id]
    assert client.vector_stores.delete(made.id).object == "vector_store.deleted"
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.search(made.id, query="fox")


def test_a_search_finds_the_passage_and_says_where_it_is_from(client: Any, files: list[str]) -> None:
    store = ready(client, file_ids=files)
    (first, *_) = client.everything(client.vector_stores.search(store.id, query="what do penguins eat"))
    assert (first.file_id, first.filename) == (files[0], "penguins.txt")
    assert "krill" in first.content[0].text
    assert 0 < first.score <= 1
    page = client.vector_stores.search(store.id, query=["den in winter", "red tail"], max_num_results=2)
    assert {each.filename for each in client.everything(page)} == {"foxes.md", "bears.html"}
    strict = client.vector_stores.search(store.id, query="fox", ranking_options={"score_threshold": 1.0})
    assert client.everything(strict) == []
    assert client.everything(client.vector_stores.search(store.id, query='") OR * NEAR(')) == []


def test_a_search_can_be_kept_to_files_with_certain_attributes(client: Any, files: list[str]) -> None:
    store = ready(client)
    for file_id, legs in zip(files, (2, 4, 4), strict=True):
        client.vector_stores.files.create_and_poll(
            file_id, vector_store_id=store.id, attributes={"legs": legs, "bird": legs == 2, "kind": "animal"}
        )

    def found(filters: Any) -> set[str]:
        page = client.vector_stores.search(store.id, query="penguins fox bears", filters=filters)
        return {each.filename for each in client.everything(page)}

    assert found({"type": "eq", "key": "bird", "value": True}) == {"penguins.txt"}
    assert found({"type": "gt", "key": "legs", "value": 2}) == {"foxes.md", "bears.html"}
    changed = client.vector_stores.files.update(files[1], vector_store_id=store.id, attributes={"legs": 3})
    assert changed.attributes == {"legs": 3}
    both = [{"type": "gte", "key": "legs", "value": 3}, {"type": "ne", "key": "legs", "value": 4}]
    assert found({"type": "and", "filters": both}) == {"foxes.md"}
    with pytest.raises(openai.BadRequestError, match="filter"):
        found({"type": "like", "key": "legs", "value": 3})


def test_files_are_put_in_looked_at_and_taken_out(client: Any, files: list[str]) -> None:
    store = ready(client)
    of_store = client.vector_stores.files
    file = of_store.create_and_poll(
        files[1],
        vector_store_id=store.id,
        chunking_strategy={"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}},
    )
    assert (file.id, file.status, file.last_error) == (files[1], "completed", None)
    assert file.chunking_strategy.static.max_chunk_size_tokens == 100
    assert of_store.retrieve(files[1], vector_store_id=store.id) == file
    (text,) = client.everything(of_store.content(files[1], vector_store_id=store.id))
    assert "red tail" in text.text
    listed = client.everything(of_store.list(vector_store_id=store.id, filter="completed"))
    assert [each.id for each in listed] == [files[1]]
    assert client.everything(of_store.list(vector_store_id=store.id, filter="failed")) == []

    assert of_store.delete(files[1], vector_store_id=store.id).object == "vector_store.file.deleted"
    assert client.everything(client.vector_stores.search(store.id, query="fox")) == []
    assert client.vector_stores.retrieve(store.id).usage_bytes == 0
    assert client.files.retrieve(files[1]).filename == "foxes.md"
    assert of_store.create_and_poll(files[1], vector_store_id=store.id).status == "completed"


def test_a_file_that_cannot_be_read_says_why_and_the_others_are_not_kept_waiting(client: Any, files: list[str]) -> None:
    image = client.files.create(file=("a.png", b"\x89PNG\r\n\x1a\n" + bytes(100)), purpose="assistants").id
    empty = client.files.create(file=("empty.txt", b"  \n"), purpose="assistants").id
    fake = client.files.create(file=("fake.pdf", b"%PDF-1.4 nonsense"), purpose="assistants").id
    store = client.vector_stores.create()
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=[image, empty, fake, *files])
    counts = batch.file_counts
    assert (counts.failed, counts.completed, counts.in_progress, counts.total) == (3, 3, 0, 6)
    codes = {
        each.id: each.last_error
        for each in client.everything(
            client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
        )
    }
    assert codes[image].code == "unsupported_file"
    assert "image" in codes[image].message
    assert codes[empty].code == codes[fake].code == "invalid_file"
    assert "no text" in codes[empty].message


def test_a_batch_may_give_each_file_its_own_options(client: Any, files: list[str]) -> None:
    store = client.vector_stores.create()
    batch = client.vector_stores.file_batches.create_and_poll(
        store.id, files=[{"file_id": id_, "attributes": {"n": n}} for n, id_ in enumerate(files)]
    )
    assert (batch.object, batch.status) == ("vector_store.files_batch", "completed")
    assert batch.id.startswith("vsfb_")
    listed = client.everything(
        client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, order="asc")
    )
    assert [(each.id, each.attributes["n"]) for each in listed] == list(zip(files, range(3), strict=True))


def test_files_are_uploaded_and_put_in_by_the_client(client: Any) -> None:
    store = client.vector_stores.create()
    batch = client.vector_stores.file_batches.upload_and_poll(store.id, files=list(ANIMALS.items()))
    assert batch.file_counts.completed == 3
    file = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("new.txt", b"A new whale."))
    assert file.status == "completed"


def test_a_batch_that_is_cancelled_leaves_nothing_in_progress(client: Any) -> None:
    many = [
        client.files.create(file=(f"{n}.txt", f"whale {n} ".encode() * 20_000), purpose="assistants").id
        for n in range(12)
    ]
    store = client.vector_stores.create()
    batch = client.vector_stores.file_batches.create(store.id, file_ids=many)
    cancelled = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    assert cancelled.status == "cancelled"
    assert cancelled.file_counts.in_progress == 0
    assert cancelled.file_counts.cancelled > 0
    again = client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    assert again.file_counts == cancelled.file_counts
    time.sleep(0.5)  # whoever was reading a file then is done now
    found = {each.file_id for each in client.everything(client.vector_stores.search(store.id, query="whale"))}
    listed = client.everything(client.vector_stores.files.list(vector_store_id=store.id, filter="cancelled"))
    assert not found & {each.id for each in listed}


def test_a_file_that_is_deleted_is_gone_from_all_stores(client: Any, files: list[str]) -> None:
    first, second = ready(client, file_ids=files), ready(client, file_ids=files[:1])
    client.files.delete(files[0])
    for store in (first, second):
        assert not any(
            each.file_id == files[0]
            for each in client.everything(client.vector_stores.search(store.id, query="penguins krill"))
        )
    assert client.vector_stores.retrieve(second.id).file_counts.total == 0


def test_the_server_says_how_soon_to_ask_again(http: httpx2.Client, one: Any) -> None:
    file = one.files.create(file=("a.txt", b"x"), purpose="assistants").id
    store = one.vector_stores.create().id
    batch = http.post(f"/vector_stores/{store}/file_batches", json={"file_ids": [file]})
    paths = (f"file_batches/{batch.json()['id']}", f"files/{file}")
    answers = [batch, *(http.get(f"/vector_stores/{store}/{path}") for path in paths)]
    assert {answer.headers["openai-poll-after-ms"] for answer in answers} == {"100"}


def test_two_files_with_the_same_content_are_two_files(one: Any) -> None:
    ids = [one.files.create(file=(name, b"The same whale."), purpose="assistants").id for name in ("a.txt", "b.txt")]
    store = ready(one, file_ids=ids)
    found = list(one.vector_stores.search(store.id, query="whale"))
    assert {each.filename for each in found} == {"a.txt", "b.txt"}
    one.files.delete(ids[0])
    assert [each.filename for each in one.vector_stores.search(store.id, query="whale")] == ["b.txt"]
