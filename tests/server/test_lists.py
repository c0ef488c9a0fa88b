"""Listings: order, pages in both directions, filters, and objects that go away in between."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest


@pytest.fixture
def made(one: Any) -> list[str]:
    """Seven assistants, most of them of the same second."""
    return [one.beta.assistants.create(model="m", name=str(n)).id for n in range(7)]


def ids(page: Any) -> list[str]:
    return [each.id for each in page.data]


def test_the_newest_come_first_unless_told_otherwise(one: Any, made: list[str]) -> None:
    listing = one.beta.assistants.list
    assert ids(listing()) == made[::-1]
    assert ids(listing(order="asc")) == made
    assert ids(listing(limit=3)) == made[:-4:-1]
    assert listing(limit=7).has_more is False
    assert listing(limit=6).has_more is True


def test_pages_go_forwards_and_backwards(one: Any, made: list[str]) -> None:
    listing = one.beta.assistants.list
    for order, expected in (("asc", made), ("desc", made[::-1])):
        assert ids(listing(order=order, limit=2, after=expected[1])) == expected[2:4]
        assert ids(listing(order=order, limit=2, before=expected[4])) == expected[2:4]
        assert ids(listing(order=order, after=expected[0], before=expected[6])) == expected[1:6]
        assert ids(listing(order=order, after=expected[6])) == []
        assert ids(listing(order=order, before=expected[0])) == []
        first = listing(order=order, limit=2, before=expected[2])
        assert (ids(first), first.has_more) == (expected[:2], False)
        assert listing(order=order, limit=2, before=expected[3]).has_more is True


def test_the_client_goes_through_all_pages_while_it_deletes_what_it_finds(client: Any) -> None:
    made = [client.beta.threads.create().id for _ in range(3)] and [
        client.beta.assistants.create(model="m").id for _ in range(5)
    ]
    seen: list[str] = []
    page = client.beta.assistants.list(limit=2)
    while page.data:
        for each in page.data:
            seen.append(each.id)
            client.beta.assistants.delete(each.id)
        page = client.beta.assistants.list(limit=2, after=seen[-1])
    assert seen == made[::-1]


def test_the_envelope_names_its_ends(http: httpx2.Client) -> None:
    empty = http.get("/assistants").json()
    assert empty == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}
    made = [http.post("/assistants", json={"model": "m"}).json()["id"] for _ in range(2)]
    full = http.get("/assistants?order=asc&after=&before=").json()
    assert (full["first_id"], full["last_id"]) == (made[0], made[1])


def test_threads_can_be_listed(http: httpx2.Client) -> None:
    made = [http.post("/threads", json={}).json()["id"] for _ in range(3)]
    assert [each["id"] for each in http.get("/threads?limit=2").json()["data"]] == made[:0:-1]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=99999999999999999999999", "limit"),
        ("order=up", "order"),
        ("after=asst_unknown", "after"),
        ("before=%00", "before"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(http: httpx2.Client, query: str, param: str) -> None:
    answer = http.get(f"/assistants?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_list_is_as_long_as_documented_and_not_one_longer(http: httpx2.Client) -> None:
    assert http.get("/assistants?limit=100").status_code == 200
    assert http.get("/files?limit=10000").status_code == 200
    assert http.get("/files?limit=10001").status_code == 400
    assert http.get("/vector_stores?limit=101").status_code == 400


def test_messages_are_found_by_their_run(one: Any) -> None:
    thread = one.beta.threads.create(messages=[{"role": "user", "content": "x"}])
    assert one.beta.threads.messages.list(thread.id, run_id="run_" + "a" * 24).data == []
    with pytest.raises(openai.BadRequestError, match="begins with 'run'"):
        one.beta.threads.messages.list(thread.id, run_id="x y")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/assistants/asst_x", 404, "No assistant found with id 'asst_x'."),
        ("/threads/thread_x", 404, "No thread found with id 'thread_x'."),
        (
            "/threads/undefined",
            400,
            "Invalid 'thread_id': 'undefined'. Expected an ID that begins with 'thread'.",
        ),
        ("/files/file-x", 404, "No such File object: file-x"),
        ("/vector_stores/vs_x", 404, "No vector store found with id 'vs_x'."),
        ("/assistants/asst_%00", 404, "No assistant found"),
        ("/nonsense", 404, "Invalid URL (GET /v1/nonsense)"),
        ("/threads/", 404, "Invalid URL (GET /v1/threads/)"),
    ],
)
def test_what_is_not_there_is_named(http: httpx2.Client, path: str, status: int, said: str) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_models_are_listed_and_any_name_is_one(one: Any) -> None:
    (model,) = one.models.list().data
    assert model.id == "gpt-5-mini"
    assert one.models.retrieve("ft:any/name:1").id == "ft:any/name:1"
    with pytest.raises(openai.NotFoundError):
        one.models.delete("gpt-4o")
