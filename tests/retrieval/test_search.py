"""What a search finds, in which order, and that no query can break it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.retrieval.index import Index
from agentrunner.retrieval.search import search
from tests.retrieval.parts import chunk, names, put


def test_what_says_more_of_the_query_comes_first() -> None:
    index = Index()
    put(index, both="the capital of France", one="the capital of Peru", none="a recipe for bread")
    hits = search(index, "What is the capital of France?", stores=["notes"])
    assert names(hits) == ["both", "one"]
    assert 1 >= hits[0].score > hits[1].score > 0


def test_words_are_found_whatever_their_ending_case_or_accent() -> None:
    index = Index()
    put(index, a="Measurements were taken in a CAFÉ", b="ﬁnancial reports", c="हिन्दी में लिखा", d="２０２６年")
    for query, found in (
        ("measuring cafes", "a"),
        ("cafe\u0301", "a"),
        ("financial", "b"),
        ("हिन्दी", "c"),
        ("2026", "d"),
    ):
        assert names(search(index, query, stores=["notes"])) == [found], query


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("北京", ["zh"]),
        ("京", ["zh", "ja"]),
        ("北京在哪里", ["zh"]),
        ("東京タワー", ["ja"]),
        ("서울에", ["ko"]),
        ("กรุงเทพ", ["th"]),
        ("首都は", ["zh", "ja"]),
        ("海", []),
    ],
)
def test_scripts_without_blanks_are_found_by_any_part(query: str, found: list[str]) -> None:
    index = Index()
    put(
        index,
        zh="中国的首都是北京",
        ja="日本の首都は東京です",
        ko="서울은한국의수도이다",
        th="กรุงเทพมหานครเป็นเมืองหลวง",
        en="capital",
    )
    assert sorted(names(search(index, query, stores=["notes"]))) == sorted(found)


def test_the_title_is_searched_like_the_text() -> None:
    index = Index()
    index.put("notes", "7f3a", [chunk("numbers"), chunk("more numbers", 8)], version="1", title="Annual report")
    index.put("notes", "reports/annual-2024.md", [chunk("words")], version="1")
    assert sorted(names(search(index, "annual", stores=["notes"]))) == ["7f3a", "7f3a", "reports/annual-2024.md"]


def test_a_query_of_stopwords_alone_is_searched_as_it_is() -> None:
    index = Index()
    put(index, hamlet="to be or not to be", other="something else")
    assert names(search(index, "to be or not", stores=["notes"])) == ["hamlet"]


def test_words_that_most_passages_hold_count_only_when_there_is_nothing_else() -> None:
    index = Index()
    put(index, **{f"n{n}": f"die Straße Nummer {n}" for n in range(150)}, odd="ein Haus")
    assert names(search(index, "die Straße Nummer 7", stores=["notes"])) == ["n7"]
    assert len(search(index, "die Straße xyzzy", stores=["notes"], limit=200)) == 150


def test_scores_say_how_much_of_the_query_was_found_in_small_stores_too() -> None:
    index = Index()
    put(index, only="population of France")
    (whole,) = search(index, "population France", stores=["notes"])
    (half,) = search(index, "population Germany", stores=["notes"])
    assert whole.score > 0.4
    assert whole.score > 2 * half.score > 0.1


def test_several_stores_are_searched_as_one() -> None:
    index = Index()
    put(index, "small", mine="the population of France")
    put(index, "large", **{f"about {n}": f"population of town {n}" for n in range(50)})
    hits = search(index, "population France", stores=["large", "small", "nowhere", "small"], limit=3)
    assert names(hits)[0] == "mine"
    assert len(hits) == 3
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_what_scores_below_the_threshold_is_left_out() -> None:
    index = Index()
    put(index, both="apples and pears", one="apples and plums", other="nothing")
    hits = search(index, "apples pears", stores=["notes"])
    assert names(search(index, "apples pears", stores=["notes"], score_threshold=hits[0].score)) == ["both"]
    assert search(index, "apples pears", stores=["notes"], score_threshold=1.0) == []


def test_limits_hold() -> None:
    index = Index()
    put(index, **{f"n{n}": f"apples {n}" for n in range(60)})
    assert [len(search(index, "apples", stores=["notes"], limit=limit)) for limit in (0, 1, 50, 100)] == [0, 1, 50, 60]


OPERATORS = [
    "AND",
    "OR",
    "NOT",
    "NEAR(",
    ")",
    '"',
    "*",
    "^",
    ":",
    "-",
    "+",
    "{",
    "}",
    "title",
    "words_1",
    "'",
    ";",
    "--",
]


@given(
    st.one_of(
        st.text(st.characters(exclude_categories=())),
        st.lists(st.sampled_from([*OPERATORS, "apples", "\0", "\ud800", "京"])).map(" ".join),
        st.lists(st.sampled_from([*OPERATORS, "apples", "\0", "\ud800", "京"])).map("".join),
    )
)
def test_any_text_is_a_query(query: str) -> None:
    index = Index()
    put(index, a="apples and pears", b="東京 x", c="AND OR NOT NEAR")
    for hit in search(index, query, stores=["notes"]):
        assert 0 < hit.score <= 1
    assert index.stores() == ["notes"]
    assert sorted(index.versions("notes")) == ["a", "b", "c"]


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_text_can_be_kept_found_and_forgotten(text: str) -> None:
    index = Index()
    index.put("notes", text, [chunk(text)], version="1", title="title")
    for hit in search(index, text, stores=["notes"]):
        assert hit.chunk == chunk(text)
    if any(letter.isascii() and letter.isalnum() for letter in text):
        assert names(search(index, text, stores=["notes"])) == [text]
    index.drop("notes", text)
    assert search(index, text, stores=["notes"]) == []
    assert index.read(lambda execute: list(execute("INSERT INTO words_1 (words_1) VALUES ('integrity-check')"))) == []


@pytest.mark.parametrize(
    "query",
    [
        "apples " * 150_000,
        " ".join(f"w{n}" for n in range(150_000)),
        "a" * 1_000_000,
        "京" * 1_000_000,
        '"' * 1_000_000,
        "\0" * 1_000_000,
        "\ud800" * 1_000_000,
        "é" * 1_000_000,
    ],
    ids=lambda query: repr(query[:8]),
)
def test_a_megabyte_is_searched_in_bounded_time(query: str) -> None:
    index = Index()
    put(index, **{f"n{n}": f"apples w{n} 京都" for n in range(300)})
    before = time.process_time()
    search(index, query, stores=["notes"])
    assert time.process_time() - before < 1
