"""PDF, Office documents and tables become text that says where in the file it stands."""

import datetime as dt
import io
from typing import Any

import openpyxl
import pypdf
import pytest

from agentrunner.retrieval.chunk import chunks
from agentrunner.retrieval.documents import Document
from agentrunner.retrieval.parse import Parser
from tests.retrieval import made


def read(data: bytes, name: str) -> Document:
    with Parser() as parser:
        return parser.parse_bytes(data, name)


def place_of(document: Document, words: str) -> str:
    start = document.text.index(words)
    return document.place(start, start + len(words))


def xlsx(sheets: dict[str, list[list[Any]]]) -> bytes:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.worksheets[0])
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def test_a_pdf_is_read_page_by_page() -> None:
    document = read(made.pdf(["Tea is grown\nin the hills.", "Coffee is not."]), "drinks.pdf")
    assert " ".join(document.text.split()) == "Tea is grown in the hills. Coffee is not."
    assert place_of(document, "in the hills.") == "page 1"
    assert place_of(document, "Coffee") == "page 2"
    assert document.place(0, len(document.text)) == "pages 1-2"
    assert [chunk.place for chunk in chunks(document)] == ["pages 1-2"]


def test_pages_without_text_are_named() -> None:
    document = read(made.pdf(["", "some words", "", "", "more words", ""]), "mixed.pdf")
    assert document.notes == ("no text was found on pages 1, 3-4, 6",)
    assert place_of(document, "more words") == "page 5"


def test_a_pdf_that_only_forbids_printing_is_read() -> None:
    writer = pypdf.PdfWriter(io.BytesIO(made.pdf(["some words"])))
    writer.encrypt(user_password="", owner_password="owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    assert read(out.getvalue(), "locked.pdf").text.strip() == "some words"


def test_a_word_document_is_read_with_its_tables_and_notes() -> None:
    body = (
        made.paragraph("Before all.")
        + made.paragraph("Results & more", "Titel1")
        + made.paragraph("Tea was better.")
        + "<w:p><w:ins><w:r><w:t>Added</w:t><w:tab/><w:t>later.</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>Gone.</w:delText></w:r></w:del></w:p>"
        "<w:tbl><w:tr><w:tc>" + made.paragraph("Tea") + "</w:tc>"
        "<w:tc>" + made.paragraph("two") + made.paragraph("minutes") + "</w:tc></w:tr></w:tbl>"
        "<w:sdt><w:sdtContent>" + made.paragraph("In a form.") + "</w:sdtContent></w:sdt>"
    )  # fmt: skip
    document = read(made.docx(body, footnotes=made.paragraph("See page 3.")), "report.docx")
    assert document.text.splitlines() == [
        "Before all.", "# Results & more", "Tea was better.", "Added later.", "Tea | two minutes", "In a form.",
        "See page 3."]  # fmt: skip
    assert place_of(document, "Before all.") == "paragraph 1"
    assert place_of(document, "Tea was better.\nAdded") == 'section "Results & more", paragraphs 3-4'
    assert place_of(document, "all.\n# Results") == 'paragraph 1 to section "Results & more", paragraph 2'
    assert place_of(document, "See page") == "footnotes, paragraph 1"


def test_text_of_a_box_is_read_once() -> None:
    box = "<w:txbxContent>" + made.paragraph("In the box.") + "</w:txbxContent>"
    shape = f"<Alternate><Choice>{box}</Choice><Fallback>{box}</Fallback></Alternate>"
    body = f"<w:p><w:r><w:t>Around.</w:t>{shape}</w:r></w:p>"
    assert read(made.docx(body), "box.docx").text == "Around.\nIn the box.\n"


def test_a_presentation_is_read_in_the_order_of_its_slides_with_their_notes() -> None:
    document = read(made.pptx([["First", "a point"], ["Second"], ["Third"]], {2: "say this slowly"}), "show.pptx")
    assert document.text.split("\n\n") == ["First\na point", "Second", "Notes:\nsay this slowly", "Third", ""]
    assert place_of(document, "a point") == "slide 1"
    assert place_of(document, "slowly") == "slide 2"
    assert place_of(document, "Second\n\nNotes:\nsay this slowly\n\nThird") == "slides 2-3"


def test_a_workbook_is_read_with_the_names_of_its_columns() -> None:
    sales: list[list[Any]] = [
        ["Day", "Item", "Sold"],
        [dt.date(2026, 11, 2), "tea", 12.0],
        [],
        [dt.datetime.fromisoformat("2026-11-03T09:30"), "line\nbreak", 0.5],
        [None, None, True],
    ]
    document = read(xlsx({"Sales": sales, "Notes": [["just a remark"], [1, 2]]}), "shop.xlsx")
    assert document.text.splitlines() == [
        "Day | Item | Sold",
        "Day: 2026-11-02; Item: tea; Sold: 12",
        "Day: 2026-11-03T09:30:00; Item: line break; Sold: 0.5",
        "Sold: TRUE",
        "just a remark",
        "1 | 2",
    ]
    assert place_of(document, "tea") == "sheet Sales, row 2"
    assert place_of(document, "line break; Sold: 0.5\nSold") == "sheet Sales, rows 4-5"
    assert place_of(document, "Sold: TRUE\njust") == "sheet Sales, row 5 to sheet Notes, row 1"


@pytest.mark.parametrize(("separator", "name"), [(",", "a.csv"), (";", "a.csv"), ("\t", "a.tsv")])
def test_rows_of_a_table_stand_for_themselves(separator: str, name: str) -> None:
    rows = ["city|note", 'Köln|"two', 'lines, and ""quotes"""', "", "Rom|x; y" if separator == "," else "Rom|x, y"]
    document = read("\n".join(rows).replace("|", separator).encode(), name)
    lines = document.text.splitlines()
    assert lines[:2] == ["city | note", 'city: Köln; note: two lines, and "quotes"']
    assert place_of(document, "Rom") == "row 4"


def test_a_table_of_numbers_has_no_names() -> None:
    assert read(b"1,2\n3,4\n", "n.csv").text == "1 | 2\n3 | 4\n"


def test_the_content_tells_the_format_when_the_name_does_not() -> None:
    assert read(made.pdf(["some words"]), "download").kind == "pdf"
    assert read(made.docx(made.paragraph("some words")), "download.zip").kind == "docx"
    assert read(b"<!DOCTYPE html><p>some words", "download").kind == "html"
