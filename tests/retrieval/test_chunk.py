"""Passages: each is found where it says, none is too long, together they are all of the text."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.retrieval.chunk import chunks, tokens_of
from agentrunner.retrieval.documents import Document
from agentrunner.retrieval.formats.building import Builder
from agentrunner.retrieval.places import Part

TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(["\n", "\n\n", "\n# A heading\n", " ", "日本語" * 200, "word " * 300, "x" * 2_000, "é" * 500,
                         "\u0301" * 40, "a\u200db" * 30, "\n" * 900, "One. Two! Three?\n" * 50]),
    ),
    max_size=25,
).map("".join)  # fmt: skip
SIZES = st.integers(100, 4_096).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most // 2)))


@given(TEXTS, SIZES)
def test_passages_are_pieces_of_the_text_and_together_all_of_it(text: str, sizes: tuple[int, int]) -> None:
    found = list(chunks(Document(text), max_tokens=sizes[0], overlap_tokens=sizes[1]))
    covered = 0
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.text.strip() == chunk.text != ""
        assert tokens_of(chunk.text) <= sizes[0]
        assert not text[covered : chunk.start].strip()
        covered = chunk.end
    assert not text[covered:].strip()
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(found))


@given(TEXTS, SIZES)
def test_the_place_of_a_passage_locates_it(text: str, sizes: tuple[int, int]) -> None:
    lines = text.split("\n")
    for chunk in chunks(Document(text), max_tokens=sizes[0], overlap_tokens=sizes[1]):
        place = re.fullmatch(r"lines? (\d+)(?:-(\d+))?(?:, characters (\d+)-(\d+))?", chunk.place)
        assert place
        first, last, left, right = (int(number) if number else 0 for number in place.groups())
        if left:
            assert lines[first - 1][left - 1 : right] == chunk.text
        else:
            assert chunk.text in "\n".join(lines[first - 1 : last or first])
            assert chunk.text.count("\n") == (last or first) - first


@given(st.lists(st.text(max_size=600), min_size=1, max_size=12), SIZES)
def test_the_pages_of_a_passage_are_those_that_it_stands_on(pages: list[str], sizes: tuple[int, int]) -> None:
    builder = Builder(10**6)
    for number, page in enumerate(pages, 1):
        builder.block(page, "page", number)
    document = builder.document("pdf")
    starts = [part.start for part in document.parts]
    for chunk in chunks(document, max_tokens=sizes[0], overlap_tokens=sizes[1]):
        on = [
            number
            for number, (start, end) in enumerate(pairwise([*starts, len(document.text)]), 1)
            if start < chunk.end and chunk.start < end
        ]
        assert chunk.place == (f"page {on[0]}" if len(on) == 1 else f"pages {on[0]}-{on[-1]}")


def test_passages_end_at_paragraphs_and_overlap_by_about_half() -> None:
    text = "\n\n".join(f"Paragraph {number}. " + "Some words follow here. " * 12 for number in range(60))
    found = list(chunks(Document(text)))
    assert len(found) > 3
    for a, b in pairwise(found):
        assert text[a.end :].lstrip().startswith("Paragraph")
        assert b.text.startswith("Paragraph")
        assert 250 < tokens_of(text[b.start : a.end]) <= 400


def test_a_heading_near_the_end_begins_the_next_passage() -> None:
    text = "Words of the first part.\n\n" * 105 + "## Second\n\n" + "Words of the second part.\n\n" * 100
    first = next(chunks(Document(text)))
    assert text[first.end :].lstrip().startswith("## Second")


def test_a_page_that_ends_near_the_end_ends_the_passage() -> None:
    text = "word " * 600 + "word " * 600
    document = Document(text, (Part(0, "page", 1), Part(3_000, "page", 2)), "pdf")
    assert [chunk.place for chunk in chunks(document, overlap_tokens=0)] == ["page 1", "page 2"]


def test_scripts_without_spaces_count_one_token_for_each_character() -> None:
    assert tokens_of("日本語" * 100) == 300
    assert tokens_of("word" * 100) == 100
    assert tokens_of("🙂" * 100) == 100


def test_an_accent_stays_with_its_letter() -> None:
    text = "e\u0301" * 3_000
    for chunk in chunks(Document(text), max_tokens=101, overlap_tokens=33):
        assert chunk.text[0] == "e"
        assert chunk.text[-1] == "\u0301"


def test_blank_text_has_no_passages() -> None:
    assert list(chunks(Document(" \n" * 10_000))) == []
    assert list(chunks(Document(""))) == []


@pytest.mark.parametrize(("most", "overlap"), [(99, 0), (4_097, 0), (800, 401), (800, -1)])
def test_sizes_out_of_range_are_refused(most: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="must be from"):
        chunks(Document("text"), max_tokens=most, overlap_tokens=overlap)
