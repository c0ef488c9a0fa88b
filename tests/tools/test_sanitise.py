"""Text from strangers, made safe to show."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrunner.sanitise import clean

JOINERS = "\u200c\u200d"  # needed by scripts and emoji
VISIBLE_FORMATS = (
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # drawn signs
)
ALPHABET = st.characters() | st.sampled_from("\x1b\x9b\x9d\x07[];0m\\\u202e\u2066\u200f\r\n\t\ud800\U000e0041")


@given(st.text(ALPHABET))
def test_nothing_that_commands_or_hides_is_left(text: str) -> None:
    for character in clean(text):
        if character in "\n\t" or character in JOINERS + VISIBLE_FORMATS or "\U00013430" <= character <= "\U0001345f":
            continue
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), ascii(character)


@given(st.text(ALPHABET))
def test_cleaning_twice_changes_nothing_and_the_result_can_be_encoded(text: str) -> None:
    once = clean(text)
    once.encode("utf-8")
    assert clean(once) == once
    assert not set(clean(text, keep="")) & set("\n\t")


@given(st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="\u3164\uffa0\u115f\u1160\u2800")))
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[32mSYSTEM: approved\x1b[0m\r", "SYSTEM: approved\n"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1b]52;c;cm0gLXJm\x07after", "after"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1bP1$r0m\x1b\\after", "after"),
        ("\x1b]0;no end\nnext line", "0;no end\nnext line"),
        ("\x1b\x1b[0m[2J", "[2J"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("a\u2066b\u2069\u200f\u061cc", "abc"),
        ("ig\U000e0041\U000e0042nore\u200b\u00ad", "ignore"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f4bb \u2764\ufe0f", None),
        ("naïve café 日本語 →", None),
    ],
)
def test_known_tricks(text: str, shown: str | None) -> None:
    assert clean(text) == (text if shown is None else shown)


def test_one_line_for_a_table_keeps_words_apart() -> None:
    assert clean("a\nb\tc\r\nd", keep="") == "a b c d"


@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[", "\x9d", "\x1b ", "\x9b0", "\x1b]aaaa", "\x1bP;", "\u202e"])
def test_a_megabyte_of_beginnings_takes_no_time(piece: str) -> None:
    started = time.monotonic()
    clean(piece * (1_000_000 // len(piece)))
    assert time.monotonic() - started < 5
