"""The embeddings of an endpoint: what is sent, what is read, and what happens when it fails."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentrunner.errors import ProviderError
from agentrunner.llm import embeddings
from agentrunner.llm.embeddings import EmbeddingModel
from agentrunner.retrieval.embedding import Embedder
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.passages import Chunk
from agentrunner.retrieval.search import search
from agentrunner.retrieval.vectors import embed_missing
from tests.support.endpoint import Answer, Endpoint, error

JSONObject = dict[str, Any]


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(embeddings, "MAX_WAIT_S", 0.01)


def letters(text: str) -> list[float]:
    """A vector that says which letters there are."""
    return [float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]


def said(*items: object, **more: object) -> Answer:
    return Answer(body=json.dumps({"object": "list", "data": list(items), **more}).encode())


def embedded(request: JSONObject) -> Answer:
    """Backwards, as an endpoint may that says where each belongs."""
    items = [{"index": at, "embedding": letters(text)} for at, text in enumerate(request["input"])]
    return said(*reversed(items), usage={"prompt_tokens": 7, "total_tokens": 7})


def model(endpoint: Endpoint, **more: Any) -> EmbeddingModel:
    return EmbeddingModel("small", base_url=endpoint.base_url, api_key=endpoint.key, **more)


def test_vectors_come_in_the_order_of_the_texts() -> None:
    used: list[int] = []
    with Endpoint(embedded, key="sk-right") as endpoint:
        assert model(endpoint, on_usage=used.append, dimensions=26)(["ab", "b \ud800"]) == [letters("ab"), letters("b")]
    (request,) = endpoint.requests
    assert request.path == "/v1/embeddings"
    assert request.json == {"model": "small", "input": ["ab", "b \ufffd"], "encoding_format": "float", "dimensions": 26}
    assert used == [7]


def test_no_texts_ask_nobody() -> None:
    with Endpoint(embedded) as endpoint:
        assert model(endpoint)([]) == []
    assert endpoint.requests == []


def test_azure_has_the_deployment_in_its_path() -> None:
    with Endpoint(embedded, azure=True, key="right") as endpoint:
        assert model(endpoint, azure=True)(["a"]) == [letters("a")]
    assert endpoint.requests[0].path == f"/openai/deployments/small/embeddings?api-version={embeddings.AZURE_VERSION}"


@pytest.mark.parametrize(
    "fault", [error(429, retry_after=0.001), error(503), Answer(fault="drop")], ids=["429", "503", "drop"]
)
def test_what_may_pass_is_tried_again(fault: Answer) -> None:
    with Endpoint([fault, fault, embedded]) as endpoint:
        assert model(endpoint)(["a"]) == [letters("a")]
    assert len(endpoint.requests) == 3


def test_who_pays_hears_of_every_attempt_and_says_how_many_there_are() -> None:
    failed: list[tuple[int, bool]] = []
    used: list[int] = []
    hooks: Any = {"on_failure": lambda e: failed.append((e.status, e.may_be_billed)), "on_usage": used.append}
    with Endpoint([error(503), error(429, retry_after=0.001), embedded, error(503), embedded]) as endpoint:
        assert model(endpoint, attempts=3, **hooks)(["a"]) == [letters("a")]
        with pytest.raises(ProviderError, match="scripted 503"):
            model(endpoint, attempts=1, **hooks)(["a"])
    assert failed == [(503, True), (429, False), (503, True)]
    assert used == [7]
    assert len(endpoint.requests) == 4


def test_an_endpoint_that_stays_busy_is_given_up_with_a_sentence() -> None:
    with (
        Endpoint(lambda _: error(429, "slow down")) as endpoint,
        pytest.raises(ProviderError, match=r"'small'.*slow down"),
    ):
        model(endpoint)(["a"])
    assert len(endpoint.requests) == embeddings.ATTEMPTS


def test_a_wrong_key_is_said_once_and_not_shown() -> None:
    with Endpoint(embedded, key="sk-right") as endpoint, pytest.raises(ProviderError, match="401") as caught:
        EmbeddingModel("small", base_url=endpoint.base_url, api_key="sk-wrong-and-secret")(["a"])
    assert len(endpoint.requests) == 1
    assert "sk-wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>not found</html>"),
        Answer(body=b"[]"),
        Answer(body=b"{}"),
        said(),
        said({"index": 0, "embedding": [1.0]}),
        said({"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}),
        said({"embedding": "AACAPw=="}, {"embedding": "AACAPw=="}),
        said({"embedding": [1.0]}, {"embedding": [True]}),
        said({"embedding": [1.0]}, {"embedding": [float("nan")]}),
        said({"embedding": [1.0]}, 7),
    ],
    ids=range(10),
)
def test_what_is_not_one_vector_for_each_text_is_refused(answer: Answer) -> None:
    used: list[int] = []
    with Endpoint([answer]) as endpoint, pytest.raises(ProviderError, match="not with a model's answer"):
        model(endpoint, on_usage=used.append)(["a", "b"])
    assert used == []


@pytest.mark.parametrize("call", [lambda m, t: m(t), lambda m, t: asyncio.run(m.embed(t))], ids=["thread", "loop"])
def test_a_search_by_an_endpoints_vectors(call: Callable[[EmbeddingModel, Any], list[list[float]]]) -> None:
    index = Index()
    for text in ("aaa bbb", "xxx yyy"):
        index.put("notes", text, [Chunk(text, 0, 7, "line 1")], version="1")
    with Endpoint(embedded) as endpoint:
        small = model(endpoint)
        embedder = Embedder("small", lambda texts: call(small, texts))
        assert embed_missing(index, "notes", embedder) == 2
        hits = search(index, "yx", stores=["notes"], embedder=embedder)
    assert [hit.source for hit in hits] == ["xxx yyy", "aaa bbb"]
    assert [request.json["input"] for request in endpoint.requests] == [["aaa bbb", "xxx yyy"], ["yx"]]
