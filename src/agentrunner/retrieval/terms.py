"""Text as the index keeps it, and queries as terms. It knows no table, and nothing that it returns is syntax.

SQLite's `unicode61` takes what stands between blanks for a word. Scripts that are written without them are cut here,
into overlapping pairs of characters, as is usual for Chinese and Japanese: three at a time (SQLite's `trigram`) would
never find the many words of two.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

MAX_QUERY_CHARACTERS = 50_000
"""What follows is ignored. Longer than any question; a whole document as a query says what it is about before that."""

MAX_TERMS = 256
"""Distinct terms of a query that are looked up at all: those that come first."""

MAX_TERM_CHARACTERS = 200
"""Longer "words" are encoded data. The longest word that is a word has fewer than 200."""

_UNSPACED = re.compile(
    "(["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"  # Japanese syllables, Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uac00-\ud7af"  # Korean: written with blanks, but endings cling to its words
    "]+)"
)
_ASCII_SEPARATORS = re.compile(r"[^\w]+")
_UNSEEN = re.compile("[\u00ad\u200c\u200d\u2060\ufeff]")
"""What may stand within a word without parting it: soft hyphens, joiners."""

_STOPWORDS = (
    "a about after all also am an and any are as at be because been being but by can could did do does doing for from"
    " had has have having he her here him his how i if in into is it its just me more most my no nor not of on once"
    " only or other our out over own same she should so some such than that the their them then there these they this"
    " those through to too under until up very was we were what when where which while who whom why will with would"
    " you your"
)
STOPWORDS = frozenset(_STOPWORDS.split())
"""Words that an English question is made of and its answer need not have."""


class Term(NamedTuple):
    """Letters, digits and marks, nothing else. `prefix`: what begins with them is meant too."""

    text: str
    prefix: bool = False

    @property
    def match(self) -> str:
        """As an expression for FTS5. In quotation marks nothing is an operator."""
        quoted = '"' + self.text.replace('"', '""') + '"'
        return f"{quoted}*" if self.prefix else quoted


def indexed(text: str) -> str:
    """What FTS5 is given in place of `text`: plain letters in plain words, and unspaced scripts in pairs."""
    return _UNSPACED.sub(lambda run: f" {_pairs(run[0])} ", _plain(text))


def terms(query: str) -> list[Term]:
    """The distinct terms of a query in the order they come, stopwords left out where anything else is there."""
    found = dict.fromkeys(_terms(_plain(query[:MAX_QUERY_CHARACTERS])))
    telling = [term for term in found if term.text not in STOPWORDS]
    return (telling or list(found))[:MAX_TERMS]


def _terms(text: str) -> list[Term]:
    found: list[Term] = []
    for i, part in enumerate(_UNSPACED.split(text)):
        if i % 2 == 0:
            words = part.lower().replace("_", " ").split()
            found += [Term(word) for word in words if len(word) <= MAX_TERM_CHARACTERS]
        elif len(part) == 1:
            # Every character of a run begins a pair, or is its last and stands alone.
            found.append(Term(part, prefix=True))
        else:
            found += [Term(part[at : at + 2]) for at in range(len(part) - 1)]
    return found


def _plain(text: str) -> str:
    """Nothing but words and blanks: where a word ends is for both sides to see alike, so it is not left to SQLite,
    which goes by an older Unicode than Python. Ligatures, full-width letters and capitals become plain letters."""
    if text.isascii():
        return _ASCII_SEPARATORS.sub(" ", text)
    plain = unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).casefold()
    return _separators().sub(" ", unicodedata.normalize("NFKC", plain))


@cache
def _separators() -> re.Pattern[str]:
    """Whatever is neither letter, digit nor mark. Marks are vowels in Indic scripts and tones in Thai, and Python
    counts them out. It takes some milliseconds, so it is made when it is needed."""
    marks = (letter for letter in map(chr, range(0x300, 0x20000)) if unicodedata.category(letter)[0] == "M")
    return re.compile(f"[^\\w{''.join(marks)}]+")


def _pairs(run: str) -> str:
    return " ".join([run[at : at + 2] for at in range(len(run) - 1)] + [run[-1]])
