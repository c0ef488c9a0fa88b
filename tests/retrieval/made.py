"""Small files of the formats that are parsed, made by hand so that tests can make them wrong."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = f'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="{_RELATIONS}"'
_SHOW = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    f'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:r="{_RELATIONS}"'
)


def pdf(pages: Sequence[str], *, shared: bool = False) -> bytes:
    """A PDF with these lines of text on its pages. `shared`: all pages show the text of the first."""
    objects: list[bytes] = []
    first = 3 + 1
    kids = [first + 2 * number for number in range(len(pages))]
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    objects.append(f"<< /Type /Pages /Count {len(pages)} /Kids [{listed}] >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, page in enumerate(pages):
        stream = first + 1 if shared else first + 2 * number + 1
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {stream} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        shown = "".join(f"({line}) Tj T* " for line in page.split("\n")) if page else ""
        drawn = f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET".encode("latin-1") if shown else b""
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn))
    out, places = io.BytesIO(), list[int]()
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
    return out.getvalue()


def package(parts: Mapping[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def relations(*targets: tuple[str, str]) -> str:
    """(type, target), with ids rId1, rId2, ..."""
    listed = "".join(
        f'<Relationship Id="rId{number}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, 1)
    )
    return (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f"{listed}</Relationships>"
    )


def paragraph(text: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def docx(body: str, *, footnotes: str = "", more: Mapping[str, str | bytes] | None = None) -> bytes:
    """`body` is WordprocessingML. The style Titel1 is a heading of the first level, as a German Word calls it."""
    styles = '<w:style w:styleId="Titel1"><w:name w:val="heading 1"/></w:style>'
    related = [("styles", "styles.xml"), *([("footnotes", "/word/footnotes.xml")] if footnotes else [])]
    return package(
        {
            "_rels/.rels": relations(("officeDocument", "word/document.xml")),
            "word/_rels/document.xml.rels": relations(*related),
            "word/styles.xml": f"<w:styles {_WORD}>{styles}</w:styles>",
            "word/document.xml": f"<w:document {_WORD}><w:body>{body}</w:body></w:document>",
            **({"word/footnotes.xml": f"<w:footnotes {_WORD}>{footnotes}</w:footnotes>"} if footnotes else {}),
            **(more or {}),
        }
    )


def pptx(slides: Sequence[Sequence[str]], notes: Mapping[int, str]) -> bytes:
    """Slides with their paragraphs, kept in the package in reverse; notes by number of the slide."""
    count = len(slides)
    files = [f"slides/slide{count - number}.xml" for number in range(count)]
    listed = "".join(f'<p:sldId r:id="rId{number}" id="{255 + number}"/>' for number in range(1, count + 1))
    parts: dict[str, str | bytes] = {
        "_rels/.rels": relations(("officeDocument", "ppt/presentation.xml")),
        "ppt/_rels/presentation.xml.rels": relations(*[("slide", file) for file in files]),
        "ppt/presentation.xml": f"<p:presentation {_SHOW}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
    }
    for number, (file, lines) in enumerate(zip(files, slides, strict=True), 1):
        text = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in lines)
        parts[f"ppt/{file}"] = f"<p:sld {_SHOW}><p:txBody>{text}</p:txBody></p:sld>"
        if number in notes:
            name = file.rpartition("/")[2]
            counted = '<a:p><a:fld type="slidenum"><a:t>7</a:t></a:fld></a:p>'
            said = f"<a:p><a:r><a:t>{notes[number]}</a:t></a:r></a:p>{counted}"
            parts[f"ppt/slides/_rels/{name}.rels"] = relations(("notesSlide", f"../notesSlides/{name}"))
            parts[f"ppt/notesSlides/{name}"] = f"<p:notes {_SHOW}><p:txBody>{said}</p:txBody></p:notes>"
    return package(parts)
