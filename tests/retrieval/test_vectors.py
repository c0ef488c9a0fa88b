"""Vectors: paid for once, never mixed, and fused with the words."""

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentrunner.errors import UsageError
from agentrunner.retrieval import vectors
from agentrunner.retrieval.embedding import Embedder
from agentrunner.retrieval.index import Index
from agentrunner.retrieval.search import search
from agentrunner.retrieval.vectors import drop_vectors, embed_missing, spaces, without_vectors
from tests.retrieval.parts import chunk, names, put
from tests.support.hashing import HASHING, NOISE, embed


class Counting:
    """A model that remembers what it was asked."""

    def __init__(self, model: str = "counting") -> None:
        self.batches: list[list[str]] = []
        self.embedder = Embedder(model, self)

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        self.batches.append(list(texts))
        return embed(texts)

    def asked(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


def test_what_shares_no_word_is_found_by_its_vector() -> None:
    index = Index()
    put(index, a="photosynthesising plants", b="stock markets")
    assert not search(index, "photosynthesis", stores=["notes"])
    embed_missing(index, "notes", HASHING)
    hits = search(index, "photosynthesis", stores=["notes"], embedder=HASHING)
    assert names(hits)[0] == "a"
    only = search(index, "photosynthesis", stores=["notes"], embedder=HASHING, text_weight=0)
    assert only[0].score == pytest.approx(0.7, abs=0.2)
    assert names(search(index, "photosynthesis", stores=["notes"], embedder=HASHING, embedding_weight=0)) == []


def test_one_source_is_embedded_at_a_time_where_that_is_wanted() -> None:
    model, index = Counting(), Index()
    put(index, a="one two", b="two three")
    assert spaces(index, ["notes", "nowhere"]) == {"notes": None}
    assert without_vectors(index, "notes") == ["a", "b"]
    assert embed_missing(index, "notes", model.embedder, "b") == 1
    assert model.asked() == ["two three"]
    assert without_vectors(index, "notes") == ["a"]
    assert embed_missing(index, "notes", model.embedder, "nothing") == 0
    assert embed_missing(index, "notes", model.embedder) == 1
    assert without_vectors(index, "notes") == without_vectors(index, "nowhere") == []
    space = spaces(index, ["notes"])["notes"]
    assert space is not None
    assert (space.model, space.normalisation) == ("counting", "l2")


def test_no_text_is_embedded_twice(tmp_path: Path) -> None:
    model = Counting()
    index = Index(tmp_path / "index.db")
    index.put("notes", "a", [chunk("one"), chunk("two"), chunk("two"), chunk(" \n")], version="1")
    assert embed_missing(index, "notes", model.embedder) == 2
    index.put("notes", "a", [chunk("two"), chunk("three")], version="2")
    put(index, b="two", c="three")
    index.close()
    index = Index(tmp_path / "index.db")
    assert embed_missing(index, "notes", model.embedder) == 1
    assert embed_missing(index, "notes", model.embedder) == 0
    assert embed_missing(index, "nowhere", model.embedder) == 0
    assert model.asked() == ["one", "two", "three"]
    assert sorted(names(search(index, "two", stores=["notes"], embedder=model.embedder, text_weight=0))[:2]) == [
        "a",
        "b",
    ]


def test_vectors_of_texts_that_are_gone_are_forgotten() -> None:
    index = Index()
    put(index, a="one", b="two")
    embed_missing(index, "notes", HASHING)
    index.drop("notes", "a")
    put(index, version="2", b="three")
    assert names(search(index, "one", stores=["notes"], embedder=HASHING, text_weight=0)) == []
    assert index.read(lambda execute: execute("SELECT count(*) FROM vectors").fetchone()) == (0,)


def test_batches_that_came_are_kept_when_the_next_one_fails() -> None:
    index = Index()
    put(index, **{f"n{n}": f"text {n}" for n in range(vectors.BATCH_TEXTS * 2 + 1)})
    model = Counting()

    def fails_at_second(texts: Sequence[str]) -> list[list[float]]:
        if model.batches:
            raise ConnectionError
        return model(texts)

    with pytest.raises(ConnectionError):
        embed_missing(index, "notes", Embedder("counting", fails_at_second))
    assert embed_missing(index, "notes", model.embedder) == vectors.BATCH_TEXTS + 1
    assert [len(batch) for batch in model.batches] == [vectors.BATCH_TEXTS, vectors.BATCH_TEXTS, 1]
    assert len(set(model.asked())) == len(model.asked())


def test_long_texts_make_small_batches() -> None:
    index = Index()
    put(index, **{f"n{n}": f"{n} " + "x" * (vectors.BATCH_CHARACTERS // 2) for n in range(4)})
    model = Counting()
    assert embed_missing(index, "notes", model.embedder) == 4
    assert [len(batch) for batch in model.batches] == [1, 1, 1, 1]


def test_vectors_of_two_models_are_never_mixed() -> None:
    index = Index()
    put(index, a="apples")
    embed_missing(index, "notes", HASHING)
    put(index, b="pears")
    for other in (Counting("other").embedder, Embedder("hashing", embed, normalisation="none")):
        with pytest.raises(UsageError, match=r"has vectors of 'hashing' \(512 dimensions.*drop its vectors and embed"):
            embed_missing(index, "notes", other)
        with pytest.raises(UsageError, match="cannot be compared"):
            search(index, "apples", stores=["notes"], embedder=other)
    shorter = Embedder("hashing", lambda texts: [vector[:100] for vector in embed(texts)])
    with pytest.raises(UsageError, match="cannot be compared with those of 'hashing' \\(100 dimensions"):
        embed_missing(index, "notes", shorter)
    with pytest.raises(UsageError, match="cannot be compared"):
        search(index, "apples", stores=["notes"], embedder=shorter)
    drop_vectors(index, "notes")
    assert embed_missing(index, "notes", shorter) == 2
    assert names(search(index, "apples", stores=["notes"], embedder=shorter))[0] == "a"


def test_a_model_of_another_kind_is_refused_before_it_is_asked() -> None:
    index, model = Index(), Counting("other")
    put(index, a="apples")
    embed_missing(index, "notes", HASHING)
    put(index, b="pears")
    for attempt in (
        lambda: embed_missing(index, "notes", model.embedder),
        lambda: search(index, "a", stores=["notes"], embedder=model.embedder),
    ):
        with pytest.raises(UsageError):
            attempt()
    assert model.asked() == []


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [[1.0]],
        [[1.0], [1.0, 2.0]],
        [[1.0], ["x"]],
        [[1.0], [math.nan]],
        [[1.0], [math.inf]],
        [[], []],
        7,
        None,
        [[[1.0]], [[1.0]]],
    ],
    ids=repr,
)
def test_an_answer_that_is_no_vectors_is_refused_with_a_sentence(answer: object) -> None:
    index = Index()
    put(index, a="apples", b="pears")
    with pytest.raises(UsageError, match="the embedding model 'odd' answered with"):
        embed_missing(index, "notes", Embedder("odd", lambda _: answer))  # pyright: ignore[reportArgumentType]
    assert index.read(lambda execute: execute("SELECT count(*) FROM vectors").fetchone()) == (0,)


def test_the_model_is_not_asked_where_there_is_nothing_to_compare() -> None:
    index, model = Index(), Counting()
    put(index, a="apples")
    assert names(search(index, "apples", stores=["notes"], embedder=model.embedder)) == ["a"]
    embed_missing(index, "notes", HASHING)
    assert search(index, " \n", stores=["notes"], embedder=HASHING) == []
    assert names(search(index, "apples", stores=["notes"], embedder=model.embedder, embedding_weight=0)) == ["a"]
    assert model.asked() == []


def test_at_weight_0_vectors_change_nothing() -> None:
    index = Index()
    put(index, **{f"n{n}": f"apples {n} " + "pears " * (n % 7) for n in range(60)})
    by_words = search(index, "apples pears", stores=["notes"], limit=30)
    embed_missing(index, "notes", NOISE)
    assert search(index, "apples pears", stores=["notes"], limit=30, embedder=NOISE, embedding_weight=0) == by_words


def test_fused_scores_say_how_far_up_something_stands() -> None:
    index = Index()
    put(index, both="apples and pears", word="apples", near="applesauce and pearsauce", far="stock markets")
    embed_missing(index, "notes", HASHING)
    hits = search(index, "apples and pears", stores=["notes"], embedder=HASHING)
    assert hits[0].source == "both"
    assert hits[0].score == 1.0
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    half = [hit for hit in hits if hit.source == "near"]
    assert half[0].score <= 0.5


def test_filters_and_limits_hold_for_vectors() -> None:
    index = Index()
    for n in range(20):
        index.put("notes", f"n{n}", [chunk(f"apples {n}")], version="1", attributes={"even": n % 2 == 0})
    embed_missing(index, "notes", HASHING)
    even = {"type": "eq", "key": "even", "value": True}
    for text_weight in (0.0, 1.0):
        hits = search(
            index, "apples", stores=["notes"], embedder=HASHING, filters=even, limit=7, text_weight=text_weight
        )
        assert len(hits) == 7
        assert all(hit.attributes == {"even": True} for hit in hits)


def test_what_another_process_put_in_is_found_though_vectors_are_kept_in_memory(tmp_path: Path) -> None:
    one, two = Index(tmp_path / "index.db"), Index(tmp_path / "index.db")
    put(one, a="apples")
    embed_missing(one, "notes", HASHING)
    assert names(search(one, "apples", stores=["notes"], embedder=HASHING, text_weight=0)) == ["a"]
    put(two, b="apples again")
    embed_missing(two, "notes", HASHING)
    assert names(search(one, "apples", stores=["notes"], embedder=HASHING, text_weight=0)) == ["a", "b"]
    two.drop("notes", "a")
    assert names(search(one, "apples", stores=["notes"], embedder=HASHING, text_weight=0)) == ["b"]


def test_vectors_of_a_file_that_was_made_again_are_not_taken_for_those_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    index = Index(path)
    for text in ("apples", "pears"):
        put(index, a=text, b="plums")
        embed_missing(index, "notes", HASHING)
        hits = search(index, text, stores=["notes"], embedder=HASHING, text_weight=0)
        assert (hits[0].chunk.text, hits[0].score) == (text, pytest.approx(1))
        path.unlink()


def test_memory_for_vectors_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "KEPT_BYTES", 3 * 512 * 4)
    index = Index()
    for n in range(6):
        put(index, f"store {n}", a="apples")
        embed_missing(index, f"store {n}", HASHING)
    hits = search(index, "apples", stores=[f"store {n}" for n in range(6)], embedder=HASHING, text_weight=0)
    assert len(hits) == 6
    assert len(index.matrices) == 3


@pytest.mark.parametrize("weights", [(0, 0), (-1, 2), (math.nan, 1), (math.inf, 1)])
def test_weights_that_leave_nothing_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        search(Index(), "a", stores=[], embedder=HASHING, embedding_weight=weights[0], text_weight=weights[1])


def test_searching_by_words_does_not_import_numpy() -> None:
    code = (
        "from agentrunner.retrieval.index import Index\nfrom agentrunner.retrieval.search import search\n"
        "search(Index(), 'apples', stores=['a'])\nimport sys; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_numpy_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index()
    put(index, a="apples")
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(UsageError, match=r"pip install 'agentrunner\[retrieval\]'"):
        embed_missing(index, "notes", Embedder("any", lambda texts: [[1.0] for _ in texts]))
