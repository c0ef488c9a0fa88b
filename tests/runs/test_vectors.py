"""Vector stores with vectors: what means the same is found, whatever fails nothing is lost, and no limit is passed."""
# pyright: reportDeprecated=false, reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from agentrunner.journal import open_journal
from agentrunner.types import Event
from tests.runs.conftest import JSON, Server, assistant, client_of, key, server_in, texts, thread, wait_until
from tests.runs.vectors import Embedding, endpoint
from tests.support.program import Agent

FILES = {
    "cars.md": "The automobile of the north is fast.",
    "fruit.md": "Pears ripen late in autumn.",
    "birds.md": "A kingfisher dives for small fish.",
}
MEANINGS = {"vehicle": "automobile"}


@contextlib.contextmanager
def serving(folder: Path, vectors: Embedding, *arguments: str, **env: str) -> Iterator[Server]:
    arguments = arguments if "--embedding-model" in arguments else ("--embedding-model", "first", *arguments)
    with endpoint(vectors) as opened, server_in(folder, opened, *arguments, **env) as server:
        yield server


def stored(client: OpenAI, files: dict[str, str] = FILES) -> str:
    """A store with these files, all of them indexed."""
    ids = [client.files.create(file=(name, text.encode()), purpose="assistants").id for name, text in files.items()]
    store = client.vector_stores.create(name="s")
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=ids, poll_interval_ms=50)
    assert batch.file_counts.completed == len(files)
    return store.id


def entries(client: OpenAI, store_id: str) -> list[Any]:
    return list(client.vector_stores.files.list(store_id))


def searched(client: OpenAI, store_id: str, query: str, **weights: float) -> tuple[list[str], str]:
    """The names of the files found, and what is to be known of the search."""
    options: Any = {"hybrid_search": weights} if weights else {}
    raw = client.vector_stores.with_raw_response.search(
        store_id, query=query, max_num_results=1, ranking_options=options
    )
    return [one.filename for one in raw.parse()], raw.headers.get("x-search-remark", "")


def asks(client: OpenAI, store_id: str, query: str, **options: Any) -> Any:
    """A run that searches, and repeats what it is told."""
    tool: JSON = {"type": "file_search", **({"file_search": options} if options else {})}
    made = assistant(client, tool, tool_resources={"file_search": {"vector_store_ids": [store_id]}})
    return client.beta.threads.runs.create_and_poll(
        thread_id=thread(client, f"search {query}"), assistant_id=made, poll_interval_ms=50
    )


def journal_of(server: Server, run_id: str) -> list[Event]:
    with contextlib.closing(open_journal(server.agent.home)) as journal:
        return journal.load(run_id)


def test_what_means_the_same_is_found_by_a_search_and_by_a_run(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS)
    with serving(tmp_path, vectors) as server:
        client = server.client()
        store_id = stored(client)
        assert sorted(vectors.texts()) == sorted(FILES.values())
        assert [entry.last_error for entry in entries(client, store_id)] == [None] * 3

        assert searched(client, store_id, "vehicle") == (["cars.md"], "")
        assert searched(client, store_id, "vehicle", embedding_weight=1, text_weight=0) == (["cars.md"], "")
        assert searched(client, store_id, "vehicle", embedding_weight=0, text_weight=1) == ([], "")
        # Words and vectors disagree, and the weights say who is right.
        both = "kingfisher automobile automobile vehicle"
        assert searched(client, store_id, both, embedding_weight=1, text_weight=0)[0] == ["cars.md"]

        asked = len(vectors.asked)
        run = asks(client, store_id, "vehicle")
        assert run.status == "completed"
        assert "automobile" in texts(client, run.thread_id)[-1]
        assert len(vectors.asked) == asked + 1
        words = {"ranking_options": {"score_threshold": 0, "hybrid_search": {"embedding_weight": 0, "text_weight": 1}}}
        run = asks(client, store_id, "vehicle", **words)
        assert "Nothing was found" in texts(client, run.thread_id)[-1]
        assert len(vectors.asked) == asked + 1, "what does not count is not bought"
        assert server.agent("replay", run.id).code == 0
        assert len(vectors.asked) == asked + 1, "a replay asks nobody"
        with pytest.raises(BadRequestError, match="must be above 0"):
            searched(client, store_id, "vehicle", embedding_weight=0, text_weight=0)


def test_an_endpoint_that_fails_costs_no_word_and_is_asked_again_later(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS, fails=1_000)
    with serving(tmp_path, vectors) as server:
        client = server.client()
        store_id = stored(client)
        for entry in entries(client, store_id):
            assert (entry.status, entry.last_error.code) == ("completed", "server_error")
            assert "it is found by its words alone, since it could not be embedded" in entry.last_error.message
            assert "no vectors today" in entry.last_error.message
        alone = "searched by words alone: their vectors are not made yet"
        assert searched(client, store_id, "kingfisher") == (["birds.md"], alone)
        assert searched(client, store_id, "vehicle") == ([], alone)
        server.stop()
        vectors.fails = 0
        server.start()
        client = server.client()
        wait_until(lambda: all(entry.last_error is None for entry in entries(client, store_id)))
        assert searched(client, store_id, "vehicle") == (["cars.md"], "")

        vectors.fails = 1_000
        names, remark = searched(client, store_id, "kingfisher")
        assert names == ["birds.md"]
        assert remark.startswith("searched by words alone: the embedding model 'first' could not be asked")
        run = asks(client, store_id, "kingfisher")
        assert run.status == "completed"
        assert "(searched by words alone: the embedding model 'first'" in texts(client, run.thread_id)[-1]


def test_another_model_gets_vectors_of_its_own(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS)
    with serving(tmp_path, vectors) as server:
        client = server.client()
        store_id = stored(client)
        before = len(vectors.asked)
        server.stop()
        server.arguments = ("--embedding-model", "short")
        vectors.fails = 1_000
        server.start()
        client = server.client()
        wait_until(lambda: any(entry.last_error is not None for entry in entries(client, store_id)))
        alone = "searched by words alone: their vectors are not made yet"
        assert searched(client, store_id, "kingfisher") == (["birds.md"], alone)
        assert searched(client, store_id, "vehicle") == ([], alone)
        assert len(vectors.asked) == before + 2, "while it is away it is not asked for every file"
        server.stop()
        vectors.fails = 0
        server.start()
        client = server.client()
        wait_until(lambda: all(entry.last_error is None for entry in entries(client, store_id)))
        wait_until(lambda: searched(client, store_id, "vehicle") == (["cars.md"], ""))
        assert {request["model"] for request in vectors.asked[before:]} == {"short"}

        server.stop()
        server.arguments = ()
        server.start()
        asked = len(vectors.asked)
        client = server.client()
        assert searched(client, store_id, "vehicle") == ([], "")
        assert searched(client, store_id, "kingfisher") == (["birds.md"], "")
        assert len(vectors.asked) == asked, "without a model nothing is asked"


def test_a_restart_and_an_index_that_was_lost_pay_for_nothing_twice_that_is_still_there(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS)
    with serving(tmp_path, vectors) as server:
        client = server.client()
        store_id = stored(client)
        assert len(vectors.texts()) == 3
        server.kill()
        server.start()
        client = server.client()
        assert searched(client, store_id, "vehicle") == (["cars.md"], "")
        assert len(vectors.texts()) == 4
        server.stop()
        for path in server.agent.home.glob("stores.db*"):
            path.unlink()
        server.start()
        client = server.client()
        wait_until(lambda: searched(client, store_id, "vehicle")[0] == ["cars.md"])


def test_servers_that_share_a_home_pay_for_a_text_once(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS, delay_s=0.3)
    with serving(tmp_path, vectors) as first:
        second = Server(first.agent, first.endpoint, first.arguments)
        second.start()
        try:
            stored(first.client())
            store_id = stored(second.client())
            assert sorted(vectors.texts()) == sorted([*FILES.values()] * 2)
            assert searched(first.client(), store_id, "vehicle") == (["cars.md"], "")
        finally:
            for client in second.clients:
                client.close()
            second.stop()


PRICED = ("--embedding-price", "1000", "--price", "0,0")
"""A thousandth of a dollar for each token."""


def test_a_run_pays_for_its_searches_out_of_its_own_limit(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS, tokens=7)
    with serving(tmp_path, vectors, *PRICED, "--max-cost", "0.05") as server:
        client = server.client()
        store_id = stored(client)
        asked = len(vectors.asked)
        run = asks(client, store_id, "vehicle")
        assert "automobile" in texts(client, run.thread_id)[-1]
        assert run.usage.cost_usd == pytest.approx(0.007)
        events = journal_of(server, run.id)
        kinds = [event.type for event in events]
        bought = kinds.index("purchase.booked")
        assert kinds[bought - 1 : bought + 3] == [
            "tool.started",
            "purchase.booked",
            "purchase.settled",
            "tool.finished",
        ]
        assert events[bought].data["usd"] == pytest.approx((len("vehicle") + 8) / 1000)
        assert server.agent("replay", run.id).code == 0

        run = asks(client, store_id, "kingfisher " + "vehicle " * 10)
        assert (run.status, getattr(run.usage, "cost_usd", 0)) == ("completed", 0)
        said = texts(client, run.thread_id)[-1]
        assert "A kingfisher dives" in said
        assert "(searched by words alone: a vector of the query was not bought: it does not fit into what" in said
        assert len(vectors.asked) == asked + 1


def test_a_key_pays_for_its_files_and_searches_and_no_more_than_it_may(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS, tokens=7)
    with serving(tmp_path, vectors, *PRICED) as server:
        # A file is booked with 2 attempts of some 45 tokens, and costs 7.
        client = key(server, "0.12")

        def spent() -> float:
            return json.loads(server.agent("keys", "list", "--json").out)["spent_usd"]

        store_id = stored(client, {"cars.md": FILES["cars.md"]})
        assert spent() == pytest.approx(0.007)
        assert searched(client, store_id, "vehicle") == (["cars.md"], "")
        assert spent() == pytest.approx(0.014)
        large = stored(client, {"large.md": "Pears ripen late. " * 10})
        [entry] = entries(client, large)
        assert entry.status == "completed"
        assert "it does not fit into what is left of the $0.12 of this key" in entry.last_error.message
        assert spent() == pytest.approx(0.014)
        assert searched(client, large, "pears")[0] == ["large.md"]

        run = asks(client, store_id, "vehicle")
        assert "automobile" in texts(client, run.thread_id)[-1]
        assert spent() == pytest.approx(0.021)
        assert server.agent("keys", "limit", "office", "--max-cost", "0.03").code == 0
        run = asks(client, store_id, "automobile")
        assert "searched by words alone: a vector of the query was not bought" in texts(client, run.thread_id)[-1]
        names, remark = searched(client, store_id, "automobile")
        assert names == ["cars.md"]
        assert remark.endswith("it does not fit into what is left of the $0.03 of this key")
        assert spent() == pytest.approx(0.021)
        assert len(vectors.asked) == 3


def test_a_search_that_a_kill_cut_off_stays_booked_and_the_run_goes_on(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS, tokens=7)
    with serving(tmp_path, vectors, *PRICED) as server:
        client = key(server, "0.15")
        store_id = stored(client, {"cars.md": FILES["cars.md"]})
        made = assistant(
            client, {"type": "file_search"}, tool_resources={"file_search": {"vector_store_ids": [store_id]}}
        )
        vectors.hangs = 1
        run = client.beta.threads.runs.create(thread_id=thread(client, "search vehicle"), assistant_id=made)
        wait_until(lambda: len(vectors.asked) == 2)
        server.kill()
        server.start()
        client = client_of(server, client.api_key)
        run = client.beta.threads.runs.poll(run.id, thread_id=run.thread_id)
        assert run.status == "completed"
        assert "automobile" in texts(client, run.thread_id)[-1]
        *_, end = journal_of(server, run.id)
        assert end.data["spent_usd"] == pytest.approx((len("vehicle") + 8) / 1000 + 0.007)
        [office] = [json.loads(line) for line in server.agent("keys", "list", "--json").out.splitlines()]
        assert office["spent_usd"] == pytest.approx(0.007 + end.data["spent_usd"])
        assert server.agent("replay", run.id).code == 0
        assert len(vectors.asked) == 3


def test_what_may_have_been_billed_is_counted_also_when_no_vector_came(tmp_path: Path) -> None:
    vectors = Embedding(MEANINGS)
    with serving(tmp_path, vectors, *PRICED) as server:
        client = key(server, "5")
        vectors.fails = 1
        text = FILES["cars.md"]
        store_id = stored(client, {"cars.md": text})
        [entry] = entries(client, store_id)
        assert entry.last_error is None
        # Neither the attempt that failed nor the one that was answered says what it costs.
        [office] = [json.loads(line) for line in server.agent("keys", "list", "--json").out.splitlines()]
        assert office["spent_usd"] == pytest.approx(2 * (len(text) + 8) / 1000)


def test_an_endpoint_of_its_own_gets_its_own_key_and_no_other(tmp_path: Path) -> None:
    chats, vectors = Embedding(), Embedding(MEANINGS)
    with endpoint(chats) as first, endpoint(vectors, key="sk-vectors") as second:
        arguments = ("--embedding-model", "first", "--embedding-base-url", second.base_url)
        keys = {"OPENAI_API_KEY": "sk-chats", "AGENT_EMBEDDING_API_KEY": "sk-vectors"}
        with server_in(tmp_path / "a", first, *arguments, **keys) as server:
            client = server.client()
            store_id = stored(client)
            assert searched(client, store_id, "vehicle") == (["cars.md"], "")
            run = asks(client, store_id, "vehicle")
            assert run.status == "completed"
            created = journal_of(server, run.id)[0].data
            assert "sk-vectors" not in json.dumps(created)
        assert not chats.asked
        with server_in(tmp_path / "b", first, *arguments, OPENAI_API_KEY="sk-chats") as server:
            client = server.client()
            [entry] = entries(client, stored(client, {"cars.md": FILES["cars.md"]}))
            assert "401" in entry.last_error.message
        sent = {request.headers.get("authorization") for request in second.requests}
    assert sent == {"Bearer sk-vectors", None}


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (("--embedding-base-url", "https://vectors.example/v1"), {}, "set AGENT_EMBEDDING_API_KEY"),
        (
            ("--embedding-base-url", "https://vectors.example/v1"),
            {"AGENT_EMBEDDING_API_KEY": "sk-x"},
            "the price of the embedding model 'unheard-of' is not known",
        ),
        (("--embedding-price", "much"), {}, "embedding-price"),
    ],
)
def test_what_cannot_work_or_be_paid_is_said_before_the_server_listens(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    agent = Agent(tmp_path)
    base = ("serve", "--port", "0", "--base-url", "http://127.0.0.1:9/v1", "--embedding-model", "unheard-of")
    done = agent(*base, *arguments, env=env)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err


def test_a_price_that_nobody_knows_is_no_price_under_a_limit(tmp_path: Path) -> None:
    """The endpoint's name is not local, and leads nowhere: nothing may be sent there."""
    vectors = Embedding()
    arguments = ("--embedding-base-url", "http://vectors.invalid/v1", "--allow-unpriced", "--embedding-model", "odd")
    with serving(tmp_path, vectors, *arguments, AGENT_EMBEDDING_API_KEY="sk-x") as server:
        client = key(server, "1")
        [entry] = entries(client, stored(client, {"cars.md": FILES["cars.md"]}))
    assert entry.last_error.message.endswith("its price is not known, so the limit of this key could not be held")
