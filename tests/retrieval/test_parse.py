"""Text, Markdown, code and HTML become documents; what cannot be read is refused with a sentence."""

import os
from pathlib import Path

import pytest

from agentrunner.retrieval.documents import Document, Limits, Unreadable
from agentrunner.retrieval.parse import Parser, parse


def read(data: bytes, name: str = "notes.txt") -> Document:
    with Parser() as parser:
        return parser.parse_bytes(data, name)


def refusal(data: bytes, name: str) -> str:
    with pytest.raises(Unreadable) as refused:
        read(data, name)
    assert refused.value.sentence.startswith(repr(name))
    return refused.value.sentence


def place_of(document: Document, words: str) -> str:
    start = document.text.index(words)
    return document.place(start, start + len(words))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_every_encoding_that_says_which_it_is(encoding: str) -> None:
    document = read("Zoë\r\n日本\r\n".encode(encoding))
    assert document.text == "Zoë\n日本\n"
    assert not document.notes


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Das Café in Köln hat über Mittag geschlossen. Die Straße führt am Fluß entlang.", "cp1252"),
        ("Zoë is here.\n", "utf-16-le"),
        ("Zoë is here.\n", "utf-16-be"),
        ("Café", "cp1252"),
        ("a naïve résumé", "cp1252"),
        ("Привет, как дела? Сегодня хорошая погода, и мы идём гулять в парк.", "cp1251"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "cp932"),
    ],
)
def test_an_older_encoding_is_guessed_and_the_guess_is_said(text: str, encoding: str) -> None:
    document = read(text.encode(encoding))
    assert document.text == text
    assert document.notes == (f"its encoding is not given and was taken to be {encoding}",)


def test_a_few_broken_bytes_do_not_make_a_log_another_encoding() -> None:
    document = read(("grüße\n" * 100).encode() + b"\xff\n")
    assert document.text == "grüße\n" * 100 + "\N{REPLACEMENT CHARACTER}\n"
    assert "not UTF-8" in document.notes[0]


def test_lines_of_an_old_macintosh_file_are_counted() -> None:
    assert place_of(read(b"one\rtwo\rthree"), "two") == "line 2"


def test_a_piece_of_a_long_line_is_found_by_its_characters() -> None:
    document = read(b"first\n" + b"x" * 10_000 + b"needle" + b"y" * 10_000 + b"\nlast")
    assert place_of(document, "needle") == "line 2, characters 10001-10006"
    assert place_of(document, "last") == "line 3"
    assert document.place(0, 7) == "lines 1-2"


def test_a_page_of_html_is_read_as_it_is_shown_and_cited_by_its_source() -> None:
    page = b"""<!doctype html>
<html><head><title>Tea</title><style>p { color: red }</style>
<script>var hidden = "<p>not shown</p>";</script></head>
<body><nav><a href="/">Home</a></nav>
<h1>Green &amp; black</h1>
<p>Steep for <b>three</b>
minutes &lt; 80&deg;.</p>
<pre>
a = 1
  b = 2
</pre>
<table><tr><th>Tea</th><th>Minutes</th></tr>
<tr><td>Sencha</td><td>2</td></tr></table>
</body></html>"""
    document = read(page, "tea.html")
    shown = [line for line in document.text.splitlines() if line]
    assert shown == ["Tea", "# Green & black", "Steep for three", "minutes < 80°.", "a = 1", "  b = 2", "Tea | Minutes",
                     "Sencha | 2"]  # fmt: skip
    assert place_of(document, "minutes <") == "line 7"
    assert place_of(document, "Steep for three\nminutes") == "lines 6-7"
    assert place_of(document, "b = 2") == "line 10"
    assert place_of(document, "Sencha") == "line 13"


def test_code_that_speaks_of_formats_is_code() -> None:
    code = b'if head.startswith(b"%PDF-") or b"<html>" in head or b"PK\\x03\\x04" in head:\n    pass\n'
    assert read(code, "kinds.py").text == code.decode()


def test_a_page_whose_navigation_is_never_closed_is_read_all_the_same() -> None:
    assert read(b"<nav><p>all that there is", "page.html").text == "all that there is\n"


def test_a_page_is_read_past_what_is_no_html() -> None:
    page = b"<p>one<![if !IE]><p>two<![endif]><p>three<![unknown[x]]><p a=<b>four</c></p><p>five"
    assert read(page, "page.html").text.split() == ["one", "two", "three", "four", "five"]


def test_a_page_is_read_in_the_encoding_that_it_declares() -> None:
    page = '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>Привет'
    assert read(page.encode("cp1251"), "page.htm").text == "Привет\n"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "photo.txt", "is an image"),
        (b"\x7fELF" + b"\x00" * 60, "program", "is binary"),
        (b"\x01\x00\x02\x00" * 60, "sound.raw", "is binary"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 60, "old.doc", "save it as .docx"),
        (b"PK\x03\x04" + b"\x00" * 60, "things.zip", "unpack it"),
        (b"just words", "report.docx", "not what its name says"),
        (b"{\\rtf1 hello}", "letter.rtf", "Rich Text"),
    ],
)
def test_what_is_no_text_is_refused_with_what_to_do(data: bytes, name: str, words: str) -> None:
    assert words in refusal(data, name)


def test_files_that_would_be_waited_for_or_are_missing_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "is not a file"), ("missing", "No such file"), (".", "is not a file")):
        with pytest.raises(Unreadable, match=words):
            parse(tmp_path / name)


def test_a_file_over_a_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    with big.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Unreadable, match=r"'big.txt' is 1,099,511.6 MB, more than"):
        parse(big)
    with Parser(limits=Limits(max_chars=10)) as parser, pytest.raises(Unreadable, match="more than 10 characters"):
        parser.parse_bytes(b"a" * 11, "a.txt")
    with Parser(limits=Limits(max_chars=10)) as parser, pytest.raises(Unreadable, match="more than 10 characters"):
        parser.parse_bytes(b"<p>abcde<p>fghij", "a.html")


def test_an_empty_file_is_an_empty_document() -> None:
    assert read(b"").text == ""
    assert read(b"", "empty.html").text == ""
