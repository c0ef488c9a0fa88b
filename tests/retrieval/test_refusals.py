"""Files that are too much, hidden or broken are refused with one sentence that says what to do."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib

import openpyxl
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrunner.retrieval.chunk import chunks
from agentrunner.retrieval.documents import Limits, Unreadable
from agentrunner.retrieval.parse import Parser
from tests.retrieval import made

ENTITIES = (
    """<!DOCTYPE w [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>"""
)


def refusal(data: bytes, name: str, limits: Limits | None = None) -> str:
    with Parser(limits=limits) as parser:
        with pytest.raises(Unreadable) as refused:
            parser.parse_bytes(data, name)
        assert parser.parse_bytes(b"<p>the next one", "page.html").text == "the next one\n"
    sentence = refused.value.sentence
    assert sentence.startswith(f"{name!r} ")
    assert "\n" not in sentence
    assert "; " in sentence
    return sentence


def test_a_scanned_pdf_says_that_it_has_no_text_layer() -> None:
    assert "has no text layer" in refusal(made.pdf(["", ""]), "scan.pdf")


def test_a_pdf_of_ten_thousand_pages_is_refused() -> None:
    assert "has 10,000 pages, more than the 2,000" in refusal(made.pdf(["words"] * 10_000, shared=True), "law.pdf")


def test_a_pdf_behind_a_password_is_refused() -> None:
    writer = pypdf.PdfWriter(io.BytesIO(made.pdf(["some words"])))
    writer.encrypt(user_password="secret", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    assert "password" in refusal(out.getvalue(), "secret.pdf")


@pytest.mark.parametrize("cut", [9, 100, 200])
def test_a_pdf_that_was_cut_off_is_refused(cut: int) -> None:
    assert "is damaged" in refusal(made.pdf(["some words"])[:cut], "cut.pdf")


def test_a_page_that_unpacks_to_far_too_much_is_left_out() -> None:
    packed = zlib.compress(b"(a) Tj " * 12_000_000, 9)

    def bomb(*pages: str) -> bytes:
        """The first of the pages becomes one."""
        head, _, rest = made.pdf(pages).partition(b"stream\n")
        head = head[: head.rindex(b"<< /Length")] + b"<< /Filter /FlateDecode /Length %d >>\n" % len(packed)
        return head + b"stream\n" + packed + rest[rest.index(b"\nendstream") :]

    assert "no page of it can be read" in refusal(bomb("boom"), "bomb.pdf")
    with Parser() as parser:
        document = parser.parse_bytes(bomb("boom", "some words"), "bombs.pdf")
    assert document.text.strip() == "some words"
    assert document.notes == ("damaged and left out: page 1",)


def test_a_document_that_unpacks_to_many_times_its_size_is_refused() -> None:
    body = "<w:p/>" * 5_000_000
    assert "more than 200 times its size" in refusal(made.docx(body), "bomb.docx")
    assert "unpacks to 30 MB, more than the 17 MB" in refusal(
        made.docx(body), "bomb.docx", Limits(max_expanded_bytes=16 << 20)
    )


def test_a_document_that_lies_about_its_size_is_not_unpacked_further() -> None:
    body = made.paragraph("a") * 500_000
    data = bytearray(made.docx(body))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        size = archive.getinfo("word/document.xml").file_size
    for _ in range(2):  # in the local header and in the directory
        at = bytes(data).index(struct.pack("<I", size))
        data[at : at + 4] = struct.pack("<I", 1_000)
    assert "is damaged" in refusal(bytes(data), "liar.docx")


@pytest.mark.parametrize("name", ["entities.docx", "entities.xlsx"])
def test_a_document_that_declares_entities_is_refused(name: str) -> None:
    main = "word/document.xml" if name.endswith("docx") else "xl/workbook.xml"
    parts = {"_rels/.rels": made.relations(("officeDocument", main)), main: ENTITIES + "<w>&c;</w>"}
    assert "declares entities" in refusal(made.package(parts), name)


def test_an_archive_within_an_archive_is_not_looked_into() -> None:
    inner = made.package({"word/document.xml": "<w/>"})
    assert "is a ZIP archive" in refusal(made.package({"inner.zip": inner}), "outer.zip")
    assert "is not an Office document" in refusal(made.package({"inner.zip": inner}), "outer.docx")


def test_a_sheet_whose_last_row_claims_a_number_beyond_all_is_refused() -> None:
    workbook = openpyxl.Workbook()
    workbook.worksheets[0].append(["a", "b"])
    out = io.BytesIO()
    workbook.save(out)
    with zipfile.ZipFile(out) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace(b'<row r="1"', b'<row r="999999999999"').replace(b'r="A1"', b"")
    assert "more than 1,048,576 rows" in refusal(made.package(parts), "tall.xlsx")


@pytest.mark.parametrize("name", ["cut.docx", "cut.pptx", "cut.xlsx"])
def test_an_office_document_that_was_cut_off_is_refused(name: str) -> None:
    assert "cut off" in refusal(made.docx(made.paragraph("some words"))[:400], name)


def test_broken_xml_is_refused() -> None:
    assert "is damaged" in refusal(made.docx("<w:p>"), "broken.docx")


def test_whatever_became_of_a_file_it_is_read_or_refused() -> None:
    whole = {
        "a.pdf": made.pdf(["some words", "more"]),
        "a.docx": made.docx(made.paragraph("some words", "Titel1")),
        "a.pptx": made.pptx([["a"], ["b"]], {1: "note"}),
        "a.html": b"<h1>a</h1><table><tr><td>1</table><pre>x\n</pre>&amp;<!-- c --><![CDATA[x]]>",
        "a.csv": b'a,b\n"x\ny",2\n',
        "a.txt": "Zo\xeb, \u65e5\u672c".encode(),
    }
    changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=6)), min_size=1, max_size=5)

    @settings(max_examples=300)
    @given(st.sampled_from(sorted(whole)), changes, st.booleans())
    def read(name: str, changes: list[tuple[float, int, bytes]], inside: bool) -> None:
        data = whole[name]
        if inside and data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                parts = {part: archive.read(part) for part in archive.namelist()}
            changed = sorted(parts)[int(changes[0][0] * (len(parts) - 1))]
            data = made.package({**parts, changed: damaged(parts[changed], changes)})
        else:
            data = damaged(data, changes)
        sentence = ""
        try:
            document = parser.parse_bytes(data, name)
            assert all(chunk.place for chunk in chunks(document))
            document.text.encode("utf-8")
        except Unreadable as unreadable:
            sentence = unreadable.sentence
        if sentence:
            assert sentence.startswith(repr(name))
            assert "; " in sentence
            assert not any(words in sentence for words in ("crashes", "longer", "nonsense", "\n"))

    with Parser(timeout_s=20) as parser:
        read()


def damaged(data: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """At these places (from 0, the beginning, to 1) some bytes are taken away and others put there."""
    for place, gone, new in changes:
        at = int(place * len(data))
        data = data[:at] + new + data[at + gone :]
    return data


def test_a_missing_library_is_named_with_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pypdf'] = None; sys.argv = ['child', '{}']; "
        "from agentrunner.retrieval.child import main; main()"
    )
    request = b'{"kind": "pdf", "bytes": 5, "timeout_s": 5}\n%PDF-'
    done = subprocess.run([sys.executable, "-c", program], input=request, capture_output=True, check=True)
    assert b"needs pypdf to be read; install it with: pip install 'agentrunner[files]'" in done.stdout
